"""A leader stalls with a write in its hands: when it wakes up it goes on with it, and the server refuses that."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from bus.nats_wire import WRONG_SEQUENCE
from bus.permissions import inbox_prefix
from bus.users import controller_user
from meshctl.client import Mesh
from schemas.liveness import ControllerBeat
from schemas.subjects import CONTROLLER_ALL
from schemas.wire import decode
from tests.e2e.faults import line_of, muted, signal_all
from tests.e2e.site import Site, worker
from tests.e2e.wiretap import Asked, Wiretap, tapped

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

LAST_WORDS = "\n".join(f"{number} " + 250 * "x" for number in range(10))
"""What its tasks say when they end: the record about it is told by its size from all else that a leader says."""

BEGUN = 2600
"""Bytes on their way: the first message of such a record's batch is among them."""

TRIES = 5
"""It wakes up with two things to do: to go on with its write, and to hear that another leads. Mostly the first wins."""


def stalls_in_mid_write(site: Site, leader: str) -> bool:
    """Stop the leader when it has begun to write what replaces a task, and has no answer yet."""
    victim = site.containers("late_web")[0]
    with muted(site.lab, leader):
        site.lab.engine(victim.engine).signal(victim.id, "SIGUSR1")
        until = time.monotonic() + 0.8  # later it takes the server for dead, and turns to another
        while time.monotonic() < until:
            line = line_of(site.lab, leader)
            if line is not None and line.unsent > BEGUN:
                signal_all(site.lab, leader, signal.SIGSTOP)
                return True
    return False


def late_writes(tap: Wiretap, leader: str, before: int) -> list[Asked]:
    """What the old leader has sent since, and wants an answer to."""
    inboxes = inbox_prefix(controller_user(leader))
    return [each for each in tap.asked[before:] if each.inbox.startswith(f"{inboxes}.")]


def refusals(site: Site) -> list[tuple[str, int]]:
    """One stall and what came of it: the keys that were written late, and the answers (0: none, or it was stored)."""
    old = site.eye.leader()
    log: Path = site.lab.log(old.holder, "controller")
    told = log.stat().st_size
    with tapped(site.lab.credentials(), old.holder) as tap:
        if not stalls_in_mid_write(site, old.holder):
            return []
        try:
            site.wait("another leads", lambda: site.eye.leader(1.0).epoch > old.epoch)
            before = len(tap.asked)
        finally:
            signal_all(site.lab, old.holder, signal.SIGCONT)
        site.wait("it says that it lost", lambda: "leadership.lost" in log.read_text()[told:])
        time.sleep(1)
        late = late_writes(tap, old.holder, before)
        print(f"{old.holder} led by {old.epoch}: {late}, refused: {tap.refused}", lines_of(log, told))
    assert site.eye.leader().holder != old.holder
    follows(site, old.holder)
    return [(each.key, tap.refused.get(each.inbox, 0)) for each in late]


def lines_of(log: Path, told: int) -> list[str]:
    """What its log says of rounds and leadership."""
    lines = [json.loads(line) for line in log.read_text()[told:].splitlines() if line.startswith("{")]
    return [f"{line['event']} {line.get('outcome', line.get('why', ''))}" for line in lines]


def follows(site: Site, controller: str) -> None:
    """Wait until it has taken in what the new leader wrote, and leads nothing."""
    until_now = site.eye.leader().highest

    async def beat(mesh: Mesh) -> ControllerBeat:
        async with mesh.bus.core.subscribe(CONTROLLER_ALL) as beats:
            async for message in beats:
                found = decode(message.data, ControllerBeat)
                if found.name == controller:
                    return found
        raise AssertionError("the subscription ended")

    def caught_up() -> bool:
        found = site.ask(beat)
        return not found.leads and not found.trouble and found.sequence >= until_now

    site.wait(f"{controller} follows", caught_up)


def test_a_write_that_a_leader_had_in_its_hands_when_it_stalled_is_refused_and_it_follows(site: Site) -> None:
    script = "trap 'echo \"$$WORDS\"; exit 0' USR1; while :; do sleep 0.1; done"
    site.deploy("late", web=worker(script, replicas=6, init=False, environment={"WORDS": LAST_WORDS}))
    late: list[tuple[str, int]] = []
    for _ in range(TRIES):
        late += refusals(site)
        site.settle("late_web", 6)
        if late:
            break
    assert late, f"in {TRIES} stalls nothing was written late: the leader was never stopped in mid-write"
    assert {code for _, code in late} == {WRONG_SEQUENCE}, f"not refused: {late}"
    assert len(site.containers("late_web")) == 6
