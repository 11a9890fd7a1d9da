"""Programs of the mesh die at bad moments: nothing is lost, nothing is doubled, no container notices."""

from __future__ import annotations

import threading
import time

import pytest

from tests.e2e.faults import leads_still
from tests.e2e.site import PATIENCE, Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


def test_a_leader_killed_during_a_deploy_of_thirty_loses_and_doubles_nothing(site: Site) -> None:
    epoch = site.eye.leader().epoch
    site.deploy("many", "-d", web=worker(replicas=30))
    site.wait("the first ones run", lambda: len(site.containers("many_web")) >= 3)
    dead = site.lab.kill("leader")
    assert len(site.containers("many_web")) < 30, "the leader was killed too late to prove anything"
    site.settle("many_web", 30)
    assert site.eye.leader().epoch > epoch
    assert site.eye.leader().holder != dead
    ever = site.containers("many_web", every=True)
    assert sorted(int(found.slot) for found in ever) == list(range(1, 31)), "a slot was filled twice"
    began = time.monotonic()
    while time.monotonic() - began < 3:
        assert len(site.containers("many_web")) == 30
    assert site.spread("many_web") == {"node-1": 10, "node-2": 10, "node-3": 10}


def test_agents_are_restarted_and_killed_and_the_containers_stay_the_same(site: Site) -> None:
    began = time.time()
    site.deploy("stay", web=worker(replicas=6))
    before, started = site.ids("stay_web"), times(site)
    site.lab.stop("node-1", only="agent")
    site.lab.start("node-1", only="agent")
    site.lab.kill("node-2", only="agent")  # after the other: nobody must be away for long enough to be taken for down
    site.lab.start("node-2", only="agent")
    site.all_ready()
    site.settle("stay_web", 6)
    assert site.ids("stay_web") == before
    assert times(site) == started
    if not site.events(began, kinds=("node.down",)):  # an agent that takes seconds to start is replaced meanwhile
        assert len(site.containers("stay_web", every=True)) == 6


def times(site: Site) -> dict[str, str]:
    """Container -> when it was started."""
    return {
        found.id: site.lab.engine(found.engine).inspect(found.id)["State"]["StartedAt"]
        for found in site.containers("stay_web")
    }


def test_an_exit_while_the_agent_is_dead_is_told_and_answered_once(site: Site) -> None:
    began = time.time()
    script = "trap 'echo a word before the end; exit 7' USR1; while :; do sleep 0.1; done"
    site.deploy("exit", web=worker(script, init=False, deploy={"placement": {"constraints": ["node.id == node-2"]}}))
    (first,) = site.containers("exit_web")
    site.lab.kill("node-2", only="agent")
    engine = site.lab.engine("node-2")
    engine.signal(first.id, "SIGUSR1")
    site.wait("it has ended", lambda: not engine.inspect(first.id)["State"]["Running"])
    site.lab.start("node-2", only="agent")
    site.wait("another runs in its place", lambda: site.ids("exit_web") - {first.id} != set())
    site.settle("exit_web", 1)
    (ended,) = [task for task in site.tasks("exit_web", ended=True) if task.id == first.task]
    assert (ended.state, ended.exit_code) == ("failed", 7)
    assert "a word before the end" in ended.log_tail
    ends = [each for each in site.events(began, kinds=("task.failed",), service="exit_web") if each.task == first.task]
    assert len(ends) == 1
    assert len(site.containers("exit_web", every=True)) == 2


def test_an_engine_is_restarted_and_each_slot_runs_again_once(site: Site) -> None:
    site.deploy("engine", web=worker(replicas=6))
    elsewhere = {found.id for found in site.containers("engine_web") if found.engine != "node-3"}
    site.lab.stop("node-3", only="engine")
    site.wait("it is told", lambda: "node-3" not in site.ready())
    site.lab.start("node-3", only="engine")
    site.all_ready()
    site.settle("engine_web", 6)
    assert elsewhere <= site.ids("engine_web")


def test_an_engine_is_killed_while_a_stack_comes(site: Site) -> None:
    site.deploy("mid", "-d", web=worker(replicas=9))
    site.wait("the first one runs", lambda: len(site.containers("mid_web")) >= 1)
    site.lab.kill("node-1", only="engine")
    time.sleep(1)
    site.lab.start("node-1", only="engine")
    site.settle("mid_web", 9)


def test_what_ends_well_because_its_engine_ends_it_has_failed_and_what_ends_by_itself_has_not(site: Site) -> None:
    """An engine that is stopped, or comes back after a kill -9, ends its containers: many with exit code 0."""
    here = {"placement": {"constraints": ["node.id == node-3"]}, "restart_policy": {"condition": "on-failure"}}
    site.deploy("told", web=worker("trap 'exit 0' TERM; while :; do sleep 0.1; done", init=False, deploy=here))
    site.deploy("work", "-d", job=worker("sleep 4; exit 0", deploy=here))
    site.wait("the job runs", lambda: bool(site.containers("work_job")))
    for end in (site.lab.kill, site.lab.stop):
        (before,) = site.containers("told_web")
        end("node-3", only="engine")
        time.sleep(5)
        site.lab.start("node-3", only="engine")
        site.wait("it runs again", lambda first=before: bool(site.ids("told_web") - {first.id}))
        (ended,) = [task for task in site.tasks("told_web", ended=True) if task.id == before.task]
        assert (ended.state, ended.exit_code) == ("failed", 0)
        assert ended.error.startswith("stopped from outside the mesh")
        site.all_ready()
        site.settle("told_web", 1)
    assert [(job.state, job.exit_code) for job in site.tasks("work_job", ended=True)] == [("exited", 0)]
    assert len(site.containers("work_job", every=True)) == 1


def test_work_goes_on_while_a_nats_server_is_dead(site: Site) -> None:
    leader = site.eye.leader()
    for server in ("nats-1", "nats-3"):
        site.lab.kill(server)
        site.deploy("bus", "--timeout", "60s", web=worker(replicas=3, environment={"DEAD": server}))
        site.settle("bus_web", 3)
        site.lab.start(server)
        site.all_ready()
        leads_still(site, leader)


def test_a_node_without_power_comes_back_and_nothing_runs_twice(site: Site) -> None:
    site.deploy("power", web=worker(replicas=6))
    site.lab.kill("node-3")
    site.settle("power_web", 6)
    assert "node-3" not in site.spread("power_web")
    site.lab.start("node-3")
    site.all_ready()
    site.settle("power_web", 6)
    assert len(site.containers("power_web")) == 6


def test_every_event_is_read_once_by_its_cursor_whatever_dies(site: Site) -> None:
    """A reader with a named cursor is stopped and started again while controllers and servers die."""
    began = time.time()
    cursor = f"test-{time.time_ns()}"
    seen: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.extend(some_events(site, cursor, began))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        site.deploy("tell", "-d", web=worker(replicas=6))
        site.lab.kill("leader")
        site.settle("tell_web", 6)
        site.lab.kill("nats-2")
        site.meshctl("service", "scale", "tell_web=2")
        site.lab.mend()
        site.all_ready()
        site.settle("tell_web", 2)
        site.meshctl("service", "rm", "tell_web")
        site.wait("it is gone", lambda: bool(site.events(began, kinds=("service.gone",), service="tell_web")))
        told = [event.id for event in site.events(began)]
        site.wait("the reader has read all of it", lambda: set(told) <= set(seen), PATIENCE)
    finally:
        stop.set()
        reader.join(30)
    kinds = [event.kind for event in site.events(began, service="tell_web")]
    assert kinds.count("task.assigned") == 6
    assert kinds.count("service.created") == 1
    assert kinds.count("service.gone") == 1
    again = {id_ for id_ in seen if seen.count(id_) > 1}
    assert len(again) <= 3, "only what was read and not confirmed when the reader was stopped may come again"


def some_events(site: Site, cursor: str, began: float) -> list[str]:
    """The ids of the next events of a cursor, as one process of a reader gets them within 2 seconds."""
    return [event.id for event in site.read(cursor=cursor, since=began, seconds=2.0)]
