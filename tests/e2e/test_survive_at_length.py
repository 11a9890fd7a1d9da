"""Faults that last: half a minute of a stalled leader or server, a minute of a hanging engine or a flapping link."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from bus.port import Entry
from meshctl.client import Mesh
from schemas.assignment import Assignment
from schemas.records import EpochRecord
from schemas.subjects import EPOCH, desired_key
from schemas.wire import decode
from tests.e2e.faults import signal_all, stream_leader
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.soak, pytest.mark.timeout(400)]

STALL, HANG, FLAP = 30.0, 60.0, 60.0


def during(seconds: float, look: Callable[[], None]) -> None:
    """Look again and again for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        look()
        time.sleep(0.5)


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


def test_an_engine_that_hangs_for_a_minute_makes_its_node_not_ready_and_hurts_nobody_else(site: Site) -> None:
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
        during(max(5.0, HANG - (time.monotonic() - stalled)), look)
    finally:
        signal_all(site.lab, "node-2", signal.SIGCONT, "engine")
    assert {status for status, _ in seen} == {"not-ready"}
    assert all("engine" in why for _, why in seen), seen[-1]
    site.all_ready()
    site.settle("hang_web", 3)
    assert site.ids("hang_web") == before
    assert not site.events(began, kinds=("node.down",))


def test_a_link_that_flaps_for_a_minute_causes_a_bounded_number_of_moves_and_each_is_told(site: Site) -> None:
    began = time.time()
    site.deploy("flap", web=worker(replicas=6))
    until = time.monotonic() + FLAP
    while time.monotonic() < until:
        site.lab.cut("node-3")
        time.sleep(1)
        site.lab.heal("node-3")
        time.sleep(1)
    site.all_ready()
    site.settle("flap_web", 6)
    moves = site.events(began, kinds=("task.assigned",), service="flap_web")[6:]
    downs = site.events(began, kinds=("node.down",), node="node-3")
    print(f"{len(moves)} moves, {len(downs)} times down")
    assert len(moves) <= 8, f"{len(moves)} moves"
    assert len(site.containers("flap_web")) == 6


@pytest.mark.parametrize("which", ["the leader of the store", "another"])
def test_a_server_that_stalls_for_half_a_minute_loses_nothing_and_changes_go_on(site: Site, which: str) -> None:
    """Who sits on it moves in time: no node is taken for down, nobody deposes the leader; nor when it wakes up."""
    began = time.time()
    site.deploy("serve", web=worker(replicas=3))
    before = site.ids("serve_web")
    leads, leader = stream_leader(site), site.eye.leader()
    server = leads if which != "another" else next(name for name in ("nats-1", "nats-2", "nats-3") if name != leads)
    signal_all(site.lab, server, signal.SIGSTOP)
    stalled = time.monotonic()
    try:
        site.meshctl("service", "scale", "--detach", "serve_web=5")
        writes = time.monotonic() - stalled
        site.settle("serve_web", 5)
        during(STALL - (time.monotonic() - stalled), lambda: None)
    finally:
        signal_all(site.lab, server, signal.SIGCONT)
    during(5, lambda: None)  # now it tells who has left it half a minute ago
    site.all_ready()
    site.settle("serve_web", 5)
    downs = [event.node for event in site.events(began, kinds=("node.down",))]
    now = site.eye.leader()
    print(f"changed after {writes:.1f} s; epoch {leader.epoch} -> {now.epoch}; taken for down: {downs}")
    assert not downs
    assert (now.holder, now.epoch) == (leader.holder, leader.epoch), "somebody else leads"
    assert before <= site.ids("serve_web"), "what ran was replaced"
    assert len(site.containers("serve_web")) == 5
    # The store is without a leader for 4 to 9 s where its own stalls: JetStream's, whoever asks.
    assert writes < (8 if which == "another" else 12)
