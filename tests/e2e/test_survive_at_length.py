"""Faults that last: half a minute of a stalled leader or server, a minute of a hanging engine or a flapping node.

Each is told short in every run, and in full by `-m soak`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from _pytest.mark import ParameterSet

from bus.port import Entry
from meshctl.client import Mesh
from schemas.assignment import Assignment
from schemas.records import EpochRecord
from schemas.subjects import EPOCH, desired_key
from schemas.wire import decode
from tests.e2e.faults import leads_still, server_of_leader, signal_all, stream_leader
from tests.e2e.flapping import Census, flap_link, flap_power
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(400)]

STALL = 30.0
soak = pytest.mark.soak


def lasting(short: float, full: float) -> list[ParameterSet]:
    """How many seconds a fault lasts: in every run, and in full."""
    return [pytest.param(short, id=f"{short:g} s"), pytest.param(full, id=f"{full:g} s", marks=soak)]


def during(seconds: float, look: Callable[[], None]) -> None:
    """Look again and again for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        look()
        time.sleep(0.5)


def follower_of_store(site: Site) -> str:
    """A nats-server that does not lead the store."""
    leads = stream_leader(site)
    return next(name for name in ("nats-1", "nats-2", "nats-3") if name != leads)


def assignments(site: Site) -> tuple[int, dict[str, tuple[int, int]]]:
    """The epoch that holds; node -> (sequence of its assignment, epoch that it carries)."""

    async def read(mesh: Mesh) -> tuple[int, dict[str, tuple[int, int]]]:
        entries = (await mesh.bus.state.snapshot()).entries
        found: dict[str, tuple[int, int]] = {}
        takeover = 0
        for entry in entries:
            assert isinstance(entry, Entry)
            if entry.key == EPOCH:
                takeover = decode(entry.value, EpochRecord).number(entry.sequence) if entry.value else 0
            elif entry.key.startswith(desired_key("")) and entry.value:
                found[entry.key] = (entry.sequence, decode(entry.value, Assignment).epoch)
        return takeover, found

    return site.ask(read)


@soak
def test_a_leader_that_stalls_for_half_a_minute_writes_nothing_when_it_wakes_up(site: Site) -> None:
    site.deploy("long", web=worker(replicas=3))
    before, old = site.ids("long_web"), site.eye.leader()
    log = site.lab.log(old.holder, "controller")
    told = log.stat().st_size
    site.meshctl("service", "scale", "--detach", "long_web=9")  # it stalls with work in its hands
    signal_all(site.lab, old.holder, signal.SIGSTOP)
    try:
        site.wait("another leads", lambda: site.eye.leader(1.0).epoch > old.epoch)
        site.settle("long_web", 9)
        site.meshctl("service", "scale", "long_web=5")
        during(STALL, lambda: None)
    finally:
        signal_all(site.lab, old.holder, signal.SIGCONT)
    site.wait("it says that it lost", lambda: "leadership.lost" in log.read_text()[told:])
    during(5, lambda: None)
    takeover, found = assignments(site)
    late = {key: pair for key, pair in found.items() if pair[0] > takeover and pair[1] != takeover}
    assert not late, f"written after the takeover {takeover} under another epoch: {late}"
    site.settle("long_web", 5)
    assert site.ids("long_web") & before, "what ran was replaced"
    assert site.eye.leader().holder != old.holder
    assert site.eye.leader().epoch == takeover, "it stood against the one that leads"


@pytest.mark.parametrize("hang", lasting(10.0, 60.0))
def test_an_engine_that_hangs_makes_its_node_not_ready_and_hurts_nobody_else(site: Site, hang: float) -> None:
    began = time.time()
    site.deploy("hang", web=worker(replicas=3))
    before = site.ids("hang_web")
    seen: list[tuple[str, str]] = []

    def look() -> None:
        view = next(node for node in site.eye.nodes() if node.node == "node-2")
        seen.append((view.status, view.why))

    signal_all(site.lab, "node-2", signal.SIGSTOP, "engine")
    stalled = time.monotonic()
    try:
        site.wait("it is told", lambda: "node-2" not in site.ready(), 90)
        site.deploy("other", "--timeout", "40s", web=worker(replicas=4))
        assert "node-2" not in {task.node for task in site.tasks("other_web")}
        during(max(5.0, hang - (time.monotonic() - stalled)), look)
    finally:
        signal_all(site.lab, "node-2", signal.SIGCONT, "engine")
    assert {status for status, _ in seen} == {"not-ready"}
    assert all("engine" in why for _, why in seen), seen[-1]
    site.all_ready()
    site.settle("hang_web", 3)
    assert site.ids("hang_web") == before
    assert not site.events(began, kinds=("node.down",))


@pytest.mark.parametrize("lasts", lasting(8.0, 60.0))
@pytest.mark.parametrize("flap", [flap_link, flap_power], ids=["link", "power"])
def test_a_node_that_flaps_causes_a_bounded_number_of_moves_and_each_is_told(
    site: Site, flap: Callable[[Site, str], None], lasts: float
) -> None:
    began = time.time()
    site.deploy("flap", web=worker(replicas=6))
    elsewhere = {found.id for found in site.containers("flap_web") if found.engine != "node-3"}
    assigned = {event.task for event in site.events(began, kinds=("task.assigned",), service="flap_web")}
    census = Census(site, "flap_web")
    until = time.monotonic() + lasts
    while time.monotonic() < until:
        flap(site, "node-3")
        census.look()
    site.all_ready()
    site.settle("flap_web", 6)
    census.look()
    told = {event.task for event in site.events(began, kinds=("task.assigned",), service="flap_web")} - assigned
    downs = site.events(began, kinds=("node.down",), node="node-3")
    print(f"{len(census.made)} made, {len(told)} moves told, {len(downs)} times down")
    untold = {id_: found for id_, found in census.made.items() if found.task not in told}
    assert not untold, "containers that nobody has told of"
    assert len({found.task for found in census.made.values()}) == len(census.made), "a task was made twice"
    assert len(told) <= 8, f"{len(told)} moves"
    assert elsewhere <= site.ids("flap_web"), "what was not on it was moved"
    assert site.ids("flap_web") <= census.first | census.made.keys()
    if flap is flap_power:
        assert len(census.made) >= 2, "what ran on it was not replaced"


@pytest.mark.parametrize("lasts", lasting(6.0, STALL))
@pytest.mark.parametrize(
    "which",
    [
        pytest.param(stream_leader, id="the leader of the store"),
        pytest.param(server_of_leader, id="the leader's own", marks=soak),
        pytest.param(follower_of_store, id="another", marks=soak),
    ],
)
def test_a_server_that_stalls_loses_nothing_and_changes_go_on(
    site: Site, which: Callable[[Site], str], lasts: float
) -> None:
    """Who sits on it moves in time: no node is taken for down, nobody deposes the leader; nor when it wakes up."""
    began = time.time()
    site.deploy("serve", web=worker(replicas=3))
    before = site.ids("serve_web")
    store, leader, server = stream_leader(site), site.eye.leader(), which(site)
    signal_all(site.lab, server, signal.SIGSTOP)
    stalled = time.monotonic()
    try:
        site.meshctl("service", "scale", "--detach", "serve_web=5")
        writes = time.monotonic() - stalled
        site.settle("serve_web", 5)
        during(lasts - (time.monotonic() - stalled), lambda: None)
    finally:
        signal_all(site.lab, server, signal.SIGCONT)
    during(5, lambda: None)  # now it tells who has left it
    site.all_ready()
    site.settle("serve_web", 5)
    downs = [event.node for event in site.events(began, kinds=("node.down",))]
    print(f"changed after {writes:.1f} s; epoch {leader.epoch}; taken for down: {downs}")
    assert not downs
    leads_still(site, leader)
    assert before <= site.ids("serve_web"), "what ran was replaced"
    assert len(site.containers("serve_web")) == 5
    # The store is without a leader for 4 to 9 s where its own stalls: JetStream's, whoever asks.
    assert writes < (12 if server == store else 8)
