"""What is not Dockmesh's is never touched, nor what is another agent's; and what housekeeping throws away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import BUSYBOX, Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

AGENT = (sys.executable, "-m", "agent.main")


def as_node(site: Site, node: str, *, engine: str, data: Path | None = None) -> list[str]:
    """Arguments for an agent under a node's name, on some node's engine; with the node's own identity unless `data`."""
    paths = site.lab.paths
    files = ["--credentials", str(paths.credentials(node)), "--data", str(data or paths.data(node))]
    return ["--node", node, "--hostname", node, *files, "--engine", site.lab.engine_url(engine)]


def leave(site: Site, node: str) -> None:
    """Its agent stops, and the mesh knows it."""
    site.lab.stop(node, only="agent")
    site.wait(f"{node} is not ready", lambda: node not in site.ready())


def test_two_agents_share_an_engine_and_leave_each_others_containers_alone(site: Site) -> None:
    leave(site, "node-3")
    with site.program("node-3", "other-agent", *AGENT, *as_node(site, "node-3", engine="node-2")):
        site.all_ready()
        site.deploy("share", web=worker(replicas=6))
        found = site.containers("share_web", node="node-2")
        assert sorted(each.node for each in found) == ["node-2", "node-2", "node-3", "node-3"]
        theirs = {each.id for each in found if each.node == "node-3"}
        site.meshctl("node", "drain", "node-2")
        site.settle("share_web", 6)
        left = site.containers("share_web", node="node-2")
        assert {each.node for each in left} == {"node-3"}
        assert theirs < {each.id for each in left}
        site.meshctl("stack", "rm", "share")
        site.wait("all is gone", lambda: not site.containers())


def test_a_second_agent_under_a_nodes_name_is_refused_and_touches_nothing(site: Site, tmp_path: Path) -> None:
    site.deploy("name", web=worker(replicas=3))
    before = site.ids("name_web")
    arguments = as_node(site, "node-3", engine="node-3", data=tmp_path)
    with site.program("node-1", "other-agent", *AGENT, *arguments) as log:
        told = "node name node-3 is taken by another agent"
        site.wait("it is told why", lambda: told in log.read_text())
        site.meshctl("service", "scale", "name_web=6")
        assert before < site.ids("name_web")
        assert site.spread("name_web") == {"node-1": 2, "node-2": 2, "node-3": 2}


def test_an_agents_clock_is_an_hour_ahead(site: Site) -> None:
    shifted = (
        "import runpy, sys, time\n"
        "real, real_ns = time.time, time.time_ns\n"
        "time.time = lambda: real() + 3600\n"
        "time.time_ns = lambda: real_ns() + 3600 * 10**9\n"
        "runpy.run_module('agent.main', run_name='__main__')\n"
    )
    leave(site, "node-2")
    arguments = as_node(site, "node-2", engine="node-2")
    with site.program("node-2", "other-agent", sys.executable, "-c", shifted, *arguments):
        site.all_ready()
        site.deploy("hour", web=worker("date; exec sleep 100000", replicas=3))
        assert site.spread("hour_web") == {"node-1": 1, "node-2": 1, "node-3": 1}
        began = site.now() - 60
        (told,) = site.events(began, kinds=("node.clock_off",), node="node-2")
        assert "ahead of the leader's" in told.why
        assert told.data["seconds"] == pytest.approx(3600, abs=5)
        assert len(site.meshctl("service", "logs", "hour_web").out.splitlines()) == 3
        site.meshctl("service", "scale", "hour_web=6")
        assert site.spread("hour_web")["node-2"] == 2


def test_housekeeping_keeps_two_ended_containers_of_a_slot_and_what_is_not_ours(site: Site) -> None:
    engine = site.lab.engine("node-1")
    lookalike = {"mesh.id": "another", "mesh.node": "node-1", "mesh.task": "1-1", "mesh.service": "crash_web"}
    others = [
        engine.run(BUSYBOX, "sleep", "100000"),
        engine.run(BUSYBOX, "true"),
        engine.run(BUSYBOX, "sleep", "100000", name="crash_web.1.1-1"),
        engine.run(BUSYBOX, "sleep", "100000", labels={**lookalike, "mesh.slot": "1"}),
        engine.run(BUSYBOX, "true", labels={**lookalike, "mesh.slot": "1"}),
    ]
    site.wait("two have ended", lambda: sum(not state(site, each)["Running"] for each in others) == 2)
    before = {each: state(site, each) for each in others}
    try:
        there = {"placement": {"constraints": ["node.id == node-1"]}, "restart_policy": {"delay": "100ms"}}
        site.deploy("crash", "-d", web=worker("exit 1", deploy=there))
        site.wait("five have ended", lambda: len(ours(site)) >= 5)
        site.wait("only the last are left", lambda: len(ours(site)) <= 3, 120)
        site.meshctl("stack", "rm", "crash")
        site.lab.kill("node-1", only="agent")
        site.lab.start("node-1", only="agent")
        site.all_ready()
        assert {each: state(site, each) for each in others} == before
    finally:
        for each in others:
            engine.remove(each)


def state(site: Site, container: str) -> dict[str, Any]:
    """How a container on node-1 is."""
    found: dict[str, Any] = site.lab.engine("node-1").inspect(container)["State"]
    return found


def ours(site: Site) -> list[str]:
    """The ended containers of the service that fails, of this mesh."""
    labels = ("mesh.service=crash_web", f"mesh.id={site.lab.plan.mesh_id}")
    found = site.lab.engine("node-1").containers(*labels, every=True)
    return [each["Id"] for each in found if each["State"] == "exited"]
