"""What only an engine can tell: no such image or command, a port that is taken, a disk that is full."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.lab import Lab
from tests.e2e.site import BUSYBOX, Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


def test_an_image_that_nobody_has_fails_the_deploy_at_once(site: Site) -> None:
    began = time.monotonic()
    said = site.deploy("none", web=worker(image="registry.example/nothing:9"), code=6)
    assert time.monotonic() - began < 60
    assert "registry.example/nothing:9" in said.err
    assert "meshctl image push" in said.err
    assert "none" not in site.meshctl("stack", "ls", "--format", "{{.Name}}").out.split()


def test_a_command_that_is_not_in_the_image_fails_the_deploy_and_the_rest_runs_on(site: Site) -> None:
    site.deploy("good", web=worker(replicas=3))
    before, quickly = site.ids("good_web"), {"restart_policy": {"delay": "100ms"}}
    said = site.deploy("cmd", web={"image": BUSYBOX, "command": ["/no/such/program"], "deploy": quickly}, code=8)
    assert 'command "/no/such/program" is not in the image' in said.err
    assert site.ids("good_web") == before


def test_a_port_that_is_taken_is_told_and_the_other_nodes_serve(site: Site) -> None:
    """On node-1 another's container has it, on node-2 a program of the machine."""
    ports = {"PortBindings": {"80/tcp": [{"HostPort": "8099"}]}}
    other = site.lab.engine("node-1").run(BUSYBOX, "sleep", "100000", host=ports)
    listen = "import http.server as h; h.HTTPServer(('', 8099), h.BaseHTTPRequestHandler).serve_forever()"
    try:
        with site.program("node-2", "listener", sys.executable, "-I", "-c", listen):
            often = {"mode": "global", "restart_policy": {"delay": "100ms"}}
            service = worker(ports=[{"target": 80, "published": 8099, "mode": "host"}], deploy=often)
            site.deploy("port", "-d", web=service)
            site.wait("node-3 serves", lambda: site.spread("port_web").get("node-3") == 1)
            site.wait("node-1 says why not", lambda: "8099" in why(site, "node-1"))
            site.wait("node-2 says why not", lambda: "8099" in why(site, "node-2"))
            assert set(site.spread("port_web")) == {"node-3"}
        site.wait("node-2 serves, too, once it is free", lambda: set(site.spread("port_web")) == {"node-2", "node-3"})
    finally:
        site.lab.engine("node-1").remove(other)


def why(site: Site, node: str) -> str:
    """Why the slot of a node does not run."""
    tasks = [task for task in site.tasks("port_web", ended=True) if node in (task.slot, task.node)]
    return " ".join(f"{task.why} {task.error}" for task in tasks)


@pytest.fixture(scope="module")
def small(make_lab: Callable[..., Lab], archives: dict[str, Path]) -> Lab:
    """One node whose engine's disk has 48 MiB."""
    lab = make_lab(nodes=1, controllers=1, nats=1, disk_mib=48)
    lab.load_images([archives[BUSYBOX]])
    return lab


def test_a_full_disk_is_told_the_agent_lives_and_all_is_well_once_there_is_room(small: Lab, tmp_path: Path) -> None:
    engine, began = small.engine("node-1"), time.time()
    with small.eye() as eye:
        site = Site(small, eye, tmp_path)
        site.deploy("before", web=worker(replicas=2))
        running = site.ids("before_web")
        filling = engine.run(BUSYBOX, "sh", "-c", "dd if=/dev/zero of=/full bs=64k; sleep 100000", host={"Init": True})
        site.wait("the disk is full", lambda: room(small) == 0)
        web = worker(deploy={"restart_policy": {"delay": "100ms"}})
        said = site.deploy("full", "--timeout", "60s", web=web, code=8)
        assert "no space left on device" in said.err
        told = site.events(began, kinds=("task.failed",), service="full_web")
        assert told
        assert all("no space left on device" in event.why for event in told)
        assert site.ids("before_web") == running
        assert site.ready() == {"node-1"}
        engine.remove(filling)
        site.settle("full_web", 1)
        site.clear()
    small.down()


def room(lab: Lab) -> int:
    """Kilobytes that are free on the disk of the node's engine."""
    said = lab.exec("node-1", ["df", "--output=avail", str(lab.paths.machine("node-1") / "engine")])
    return int(said.stdout.split()[-1])
