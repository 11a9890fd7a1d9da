"""Leaders stall, are cut off and hand over: the next one decides, the old one's writes are refused."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.faults import signal_all
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


def leads_now(site: Site, epoch: int) -> bool:
    return site.eye.leader(1.0).epoch > epoch


def test_a_leader_that_stalled_and_wakes_up_is_refused_and_follows(site: Site) -> None:
    site.deploy("stall", web=worker(replicas=3))
    before, old = site.ids("stall_web"), site.eye.leader()
    log = site.lab.log(old.holder, "controller")
    told = log.stat().st_size
    signal_all(site.lab, old.holder, signal.SIGSTOP)
    try:
        site.wait("another leads", lambda: leads_now(site, old.epoch))
        site.meshctl("service", "scale", "stall_web=5")
        time.sleep(6)
    finally:
        signal_all(site.lab, old.holder, signal.SIGCONT)
    site.wait("it says that it lost", lambda: "leadership.lost" in log.read_text()[told:])
    site.settle("stall_web", 5)
    assert before < site.ids("stall_web")
    assert site.eye.leader().holder != old.holder
    assert len(site.containers("stall_web", every=True)) == 5, "a slot was filled twice"


def test_a_leader_that_is_cut_off_steps_down_without_harm(site: Site) -> None:
    site.deploy("cut", web=worker(replicas=3))
    before, old = site.ids("cut_web"), site.eye.leader()
    site.lab.cut(old.holder)
    site.wait("another leads", lambda: leads_now(site, old.epoch))
    site.meshctl("service", "scale", "cut_web=4")
    site.lab.heal(old.holder)
    site.settle("cut_web", 4)
    assert before < site.ids("cut_web")
    assert site.eye.leader().holder != old.holder


def test_a_leader_whose_machine_loses_power_is_followed_though_nobody_is_told(site: Site) -> None:
    """Its connections are never closed: cut first, killed then."""
    site.deploy("dark", web=worker(replicas=3))
    before, old = site.ids("dark_web"), site.eye.leader()
    site.lab.cut(old.holder)
    site.lab.kill(old.holder)
    site.wait("another leads", lambda: leads_now(site, old.epoch))
    site.meshctl("service", "scale", "dark_web=5")
    site.settle("dark_web", 5)
    assert before < site.ids("dark_web")
    site.lab.mend()
    site.settle("dark_web", 5)
    assert site.eye.leader().holder != old.holder
    assert len(site.containers("dark_web", every=True)) == 5


def test_a_leader_that_stops_hands_over_at_once(site: Site) -> None:
    old = site.eye.leader()
    site.lab.stop(old.holder)
    took = site.wait("another leads", lambda: leads_now(site, old.epoch))
    assert took < 10
    site.lab.start(old.holder)


def test_leader_and_node_are_lost_together_and_the_tasks_run_elsewhere(site: Site) -> None:
    site.deploy("both", web=worker(replicas=6))
    assert "node-2" in site.spread("both_web"), "nothing of it would be lost"
    stay = {found.id for found in site.containers("both_web") if found.engine != "node-2"}
    site.lab.kill("leader")
    site.lab.kill("node-2")
    site.settle("both_web", 6)
    assert stay < site.ids("both_web")
    assert "node-2" not in site.spread("both_web")
