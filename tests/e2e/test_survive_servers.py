"""nats-servers die and are all away: nothing stops, nothing is lost, what ends meanwhile is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.e2e.faults import leads_still, server_of_leader, stream_leader
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

ENDS = "trap 'exit 3' USR1; while :; do sleep 0.1; done"
SERVERS = ("nats-1", "nats-2", "nats-3")


@pytest.mark.parametrize("which", [stream_leader, server_of_leader], ids=["the store's leader", "the leader's server"])
def test_a_server_dies_and_no_node_is_taken_for_down_and_nobody_else_leads(
    site: Site, which: Callable[[Site], str]
) -> None:
    """Though it has to write while the store can't: a task ends just then."""
    began = time.time()
    site.deploy("serve", web=worker(ENDS, replicas=3, init=False, restart="always"))
    before, leader = site.containers("serve_web"), site.eye.leader()
    victim, *others = before
    site.lab.kill(which(site))
    killed = time.monotonic()
    site.lab.engine(victim.engine).signal(victim.id, "SIGUSR1")
    site.meshctl("service", "scale", "serve_web=5")
    assert time.monotonic() - killed < 40, "the aim for the next write is 8 s"
    site.settle("serve_web", 5)
    time.sleep(5)
    leads_still(site, leader)
    site.lab.mend()
    site.all_ready()
    leads_still(site, leader)
    assert {found.id for found in others} < site.ids("serve_web")
    assert not site.events(began, kinds=("task.retired",), service="serve_web")
    assert not site.events(began, kinds=("node.down",))
    assert not site.events(began, kinds=("leadership.taken",))


def test_all_servers_are_away_for_a_while_and_what_ends_meanwhile_is_replaced(site: Site) -> None:
    site.deploy("away", web=worker(ENDS, replicas=3, init=False, restart="always"))
    before = site.ids("away_web")
    victim = site.containers("away_web")[0]
    for server in SERVERS:
        site.lab.stop(server)
    site.lab.engine(victim.engine).signal(victim.id, "SIGUSR1")
    site.wait("a successor runs", lambda: len(site.ids("away_web") - {victim.id}) == 3)
    assert before - {victim.id} < site.ids("away_web")
    for server in SERVERS:
        site.lab.start(server)
    site.all_ready()
    site.settle("away_web", 3)
    assert before - {victim.id} < site.ids("away_web")
    assert len(site.containers("away_web", every=True)) == 4


def test_a_node_that_boots_while_the_servers_are_away_runs_its_tasks_again_and_they_are_adopted(site: Site) -> None:
    began = time.time()
    site.deploy("boot", web=worker(replicas=3, restart="always"))
    first = {found.slot: found for found in site.containers("boot_web")}
    (lost,) = [found for found in first.values() if found.engine == "node-2"]
    elsewhere = {found.id for found in first.values()} - {lost.id}
    for server in SERVERS:
        site.lab.stop(server)
    site.lab.kill("node-2")
    site.lab.start("node-2")
    site.wait("its slot runs again", lambda: len(site.containers("boot_web")) == 3)
    (successor,) = site.containers("boot_web", node="node-2")
    assert (successor.slot, successor.task) == (lost.slot, f"{lost.task}.r1")
    runs = site.ids("boot_web")
    assert runs == elsewhere | {successor.id}
    for server in SERVERS:
        site.lab.start(server)
    site.all_ready()
    site.settle("boot_web", 3)
    site.wait("it is adopted", lambda: successor.task in {task.id for task in site.tasks("boot_web") if task.current})
    time.sleep(5)
    assert site.ids("boot_web") == runs, "the successor is kept as it is"
    assert {found.id for found in site.containers("boot_web", every=True)} == runs | {lost.id}, "nothing else was made"
    told = {each.task: each.why for each in site.events(began, kinds=("task.assigned",), service="boot_web")}
    assert told.keys() == {found.task for found in first.values()} | {successor.task}
    assert told[successor.task] == f"its node restarted {lost.task} by itself"
    site.meshctl("service", "scale", "boot_web=4")
    site.settle("boot_web", 4)
    assert runs < site.ids("boot_web")
