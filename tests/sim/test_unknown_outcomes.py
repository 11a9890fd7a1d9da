"""A round of which nobody knows whether it was stored: nothing is decided before that is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bus.commits import Committed, Fence, Outcome, Write
from bus.memory_faults import LATE, CommitFault
from bus.writer import Writer
from schemas import subjects
from tests.sim.invariants import Violated, Watchman
from tests.sim.loop import run
from tests.sim.test_world import deploy, service, slots
from tests.sim.world import World, in_world, silence_logs

Judged = tuple[list[str], str]
"""Keys of a leader's batch, and what came of it."""


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


class Doubt:
    """The first assignments that a leader sends have an unknown outcome; `judged` is what the server judged since."""

    def __init__(self, world: World, fault: CommitFault) -> None:
        self.watchman = Watchman(world)
        self.judged: list[Judged] = []
        self._world = world
        self._fault = fault
        self._begun = False
        world.broker.state.on_send, self._sent = self._send, world.broker.state.on_send
        world.broker.state.on_commit, self._seen = self._judge, world.broker.state.on_commit

    def _send(self, batch: Sequence[Write], fence: Fence | None) -> None:
        assert self._sent is not None
        self._sent(batch, fence)
        if not self._begun and fence is not None and any(write.key.startswith("desired.") for write in batch):
            self._begun = True
            self._world.broker.faults.next_commits.append(self._fault)

    def _judge(self, user: str, batch: Sequence[Write], fence: Fence | None, outcome: Outcome) -> None:
        assert self._seen is not None
        self._seen(user, batch, fence, outcome)
        keys = sorted({write.key.partition(".")[0] for write in batch})
        if self._begun and (fence is not None or keys == ["election"]):
            self.judged.append((keys, type(outcome).__name__))


async def deployed_in_doubt(world: World, fault: CommitFault) -> Doubt:
    """Six slots run, though it was unknown what had become of their assignments; what comes late has come."""
    doubt = Doubt(world, fault)
    doubt.watchman.holder = world.leader()
    doubt.watchman.epoch = world.broker.state.existing().entries[subjects.EPOCH].sequence
    await deploy(world, service("shop_web"))
    await world.until(lambda: world.running("shop_web") == slots(6), 30, "six slots run")
    await asyncio.sleep(LATE[1])
    return doubt


@pytest.mark.parametrize("fault", ["unknown-stored", "unknown-not-stored", "unknown-stored-late"])
def test_the_leader_renews_its_fence_and_stores_something_before_it_looks_and_decides_again(fault: CommitFault) -> None:
    async def story(world: World) -> None:
        epoch = world.controllers[world.leader()].elector.election.epoch
        doubt = await deployed_in_doubt(world, fault)
        judged = doubt.judged
        rounds = [outcome for keys, outcome in judged if "desired" in keys]
        if fault == "unknown-stored":
            assert "desired" in judged.pop(0)[0]
        assert judged[0] == (["election"], "Committed"), "nothing else is stored before that"
        assert judged[1] == (["events"], "Committed"), "what comes next decides nothing"
        assert rounds.count("Fenced") == (fault == "unknown-stored-late"), "what comes late comes too late"
        doubt.watchman.raise_if_any()
        leader = world.controllers[world.leader()]
        assert leader.elector.election.epoch == leader.mirror.records.epoch[0] == epoch
        told = [event for event in world.broker.events.log if event.subject.startswith("mesh.event.leadership.taken.")]
        assert len(told) == 1

    run(in_world(61, story))


def test_without_a_new_fence_a_round_would_be_stored_over_newer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep(_writer: Writer, fence: Fence) -> Outcome:
        return Committed(fence.epoch, fence.epoch)

    async def story(world: World) -> None:
        doubt = await deployed_in_doubt(world, "unknown-stored-late")
        with pytest.raises(Violated, match="before something that is stored already"):
            doubt.watchman.raise_if_any()

    monkeypatch.setattr(Writer, "_renew", keep)
    run(in_world(61, story))
