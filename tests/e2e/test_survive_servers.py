"""nats-servers die and are all away: nothing stops, nothing is lost, what ends meanwhile is replaced."""

from __future__ import annotations

import time

import pytest

from tests.e2e.faults import stream_leader
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

SERVERS = ("nats-1", "nats-2", "nats-3")


def test_the_server_that_leads_the_store_dies_and_no_node_is_taken_for_down(site: Site) -> None:
    began = time.time()
    site.deploy("serve", web=worker(replicas=3))
    before = site.ids("serve_web")
    site.lab.kill(stream_leader(site))
    killed = time.monotonic()
    site.meshctl("service", "scale", "serve_web=5")
    assert time.monotonic() - killed < 40, "the aim for the next write is 8 s"
    site.settle("serve_web", 5)
    time.sleep(5)
    site.lab.mend()
    site.all_ready()
    assert before < site.ids("serve_web")
    assert not site.events(began, kinds=("task.retired",), service="serve_web")
    assert not site.events(began, kinds=("node.down",))


def test_all_servers_are_away_for_a_while_and_what_ends_meanwhile_is_replaced(site: Site) -> None:
    script = "trap 'exit 3' USR1; while :; do sleep 0.1; done"
    site.deploy("away", web=worker(script, replicas=3, init=False, restart="always"))
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


def test_a_node_that_boots_while_the_servers_are_away_runs_its_tasks_again(site: Site) -> None:
    site.deploy("boot", web=worker(replicas=3, restart="always"))
    elsewhere = {found.id for found in site.containers("boot_web") if found.engine != "node-2"}
    for server in SERVERS:
        site.lab.stop(server)
    site.lab.kill("node-2")
    site.lab.start("node-2")
    site.wait("its slot runs again", lambda: len(site.containers("boot_web")) == 3)
    assert elsewhere < site.ids("boot_web")
    for server in SERVERS:
        site.lab.start(server)
    site.all_ready()
    site.settle("boot_web", 3)
    assert elsewhere < site.ids("boot_web")
