"""What becomes of a controller that is deposed while much happens at once, and of one that renews its fence: in virtual
time on the bus in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from bus.commits import Committed, Put, Unknown
from bus.memory import LoopClock, MemoryBroker
from bus.memory_faults import Rule
from controller import election as rules
from controller.controller import Controller
from controller.elector import Elector, Fenced
from controller.highest import ForgetfulMemory, Highest
from controller.mirror import Mirror
from controller.standing import Candidate, Office
from schemas import subjects
from schemas.records import EpochRecord, MeshRecord
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import Mesh, mesh_of

ENDING = 0.5
"""Seconds that a part of the reign takes to end."""


class Reign:
    """As a leader's: parts in a group, of which one is told that another leads, and one takes its time to end."""

    def __init__(self) -> None:
        self.begun = 0
        self.refused = asyncio.Event()
        self.ending = asyncio.Event()

    async def __call__(self, epoch: int) -> None:
        self.begun += 1
        deposed = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                group.create_task(self._end_slowly())
        except* Fenced:
            deposed = True
        if deposed:
            raise Fenced

    async def _write(self) -> None:
        await self.refused.wait()
        self.refused.clear()
        raise Fenced

    async def _end_slowly(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await asyncio.sleep(ENDING)


async def in_office(story: Callable[[Reign, Elector, asyncio.Task[None]], Awaitable[None]]) -> None:
    """Tell the story of a controller that leads."""
    broker = MemoryBroker(random.Random(7), mesh_id="m1")
    bus = broker.connect("controller-x")
    reign, mirror = Reign(), Mirror(bus)
    office = Office("x", bus, mirror, LoopClock(), random.Random(1), ForgetfulMemory())
    elector = Elector(office, reign)
    async with asyncio.TaskGroup() as group:
        mirroring = group.create_task(mirror.run())
        running = group.create_task(elector.run())
        await until(lambda: reign.begun == 1)
        await story(reign, elector, running)
        mirroring.cancel()
        running.cancel()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_leader_that_hears_of_another_while_its_reign_ends_stands_again() -> None:
    async def story(reign: Reign, elector: Elector, _: asyncio.Task[None]) -> None:
        reign.refused.set()
        await reign.ending.wait()
        elector._feed(rules.Deposed())
        await until(lambda: reign.begun == 2)

    run(in_office(story))


def test_a_controller_that_is_to_end_at_the_moment_of_its_deposition_ends() -> None:
    async def story(reign: Reign, elector: Elector, running: asyncio.Task[None]) -> None:
        elector._feed(rules.Deposed())
        await reign.ending.wait()
        running.cancel()
        await asyncio.wait([running], timeout=20)
        assert running.cancelled()

    run(in_office(story))


async def renew(mesh: Mesh, leader: Controller) -> None:
    """A write of the leader has an unknown outcome, and the next one is stored under a new fence."""
    mesh.broker.faults.next_commits.append("unknown-not-stored")
    outcomes = [await leader.leader._writer.submit([Put("job.a", b"")]) for _ in range(2)]
    assert [type(outcome) for outcome in outcomes] == [Unknown, Committed]


def test_a_renewed_fence_deposes_nobody_and_moves_no_follower() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2) as mesh:
            leader = await mesh.led()
            follower = next(each for each in mesh.controllers.values() if each is not leader)
            epoch = leader.elector.election.epoch
            await mesh.until(lambda: follower.elector.election.epoch == epoch)
            for _ in range(3):
                await renew(mesh, leader)
                await asyncio.sleep(0.1)
                for each in (leader, follower):
                    assert each.mirror.records.sequence_of(subjects.EPOCH) > epoch
                    assert each.mirror.records.epoch[0] == epoch
                    assert (each.elector.election.epoch, each.elector.election.holder) == (epoch, leader.config.name)
            assert leader.leads
            assert not follower.leads

    run(scenario())


def test_who_stands_against_a_leader_that_has_renewed_its_fence_takes_over_from_the_last_record() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=2) as mesh:
            leader = await mesh.led()
            epoch = leader.elector.election.epoch
            await renew(mesh, leader)
            await mesh.kill(leader.config.name)
            other = await mesh.led()
            assert other.elector.election.epoch > epoch
            assert other.mirror.records.epoch[0] == other.elector.election.epoch

    run(scenario())


@pytest.mark.parametrize("seen", [True, False])
def test_a_leader_that_has_renewed_its_fence_hands_over(*, seen: bool) -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1) as mesh:
            leader = await mesh.led()
            epoch = leader.elector.election.epoch
            if not seen:
                mesh.broker.faults.add(Rule(f"{subjects.STATE_REPUBLISHED}>", fate="hold"))
            await renew(mesh, leader)
            assert (leader.mirror.records.sequence_of(subjects.EPOCH) > epoch) == seen
            async with asyncio.TaskGroup() as group:
                giving = group.create_task(leader.elector._candidate.give_away(epoch))
                await asyncio.sleep(0.05)
                mesh.broker.faults.clear()
                mesh.broker.release()
            assert isinstance(giving.result(), Committed)
            assert leader.mirror.records.epoch[0] > epoch

    run(scenario())


@pytest.mark.parametrize(("since", "lost"), [(0, True), (3, False)])
def test_a_record_that_only_renews_is_no_newer_epoch_to_who_stands(*, since: int, lost: bool) -> None:
    async def scenario() -> None:
        broker = MemoryBroker(random.Random(7), mesh_id="m1")
        bus = broker.connect("controller-x")
        office = Office("x", bus, Mirror(bus), LoopClock(), random.Random(1), ForgetfulMemory())
        record = EpochRecord(mesh_id="m1", holder="y", nonce="1", since=since)
        stored = await bus.state.commit([Put("job.a", b""), Put("job.b", b""), Put(subjects.EPOCH, encode(record))])
        assert isinstance(stored, Committed)
        mesh = MeshRecord(mesh_id="m1")
        found = await Candidate(office, lambda: "", Highest).take(mesh, known=3)
        assert isinstance(found, rules.Lost if lost else rules.Won)
        assert found.epoch == stored.sequence + (0 if lost else 1)

    run(scenario())


def test_what_is_stored_while_the_store_is_asked_for_its_end_makes_it_no_older_one() -> None:
    """Two stand at once: one reads the end, the other takes over, and the first one's mirror shows that."""

    async def scenario() -> None:
        broker = MemoryBroker(random.Random(7), mesh_id="m1")
        broker.faults.delay = (0.05, 0.05)
        bus, other = broker.connect("controller-x"), broker.connect("controller-y")
        office = Office("x", bus, Mirror(bus), LoopClock(), random.Random(1), ForgetfulMemory())

        def highest() -> Highest:
            return Highest(mesh_id="m1", generation=1, sequence=broker.state.existing().last)

        async with asyncio.TaskGroup() as group:
            standing = group.create_task(Candidate(office, lambda: "", highest).may_stand())
            before = highest()
            while not standing.done():
                await other.state.commit([Put("job.a", b"")])
            assert highest().sequence > before.sequence
        assert standing.result().mesh_id == "m1"

    run(scenario())


def test_a_reign_of_an_epoch_that_the_store_does_not_show_ends_before_it_begins() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1) as mesh:
            leader = await mesh.led()
            with pytest.raises(Fenced):
                await leader.leader.reign(leader.elector.election.epoch - 1)

    run(scenario())
