"""After a store was made anew: who has taken it in, and who still has to be waited for."""

from __future__ import annotations

import asyncio

import pytest

from bus.commits import Put
from bus.memory import MemoryBroker
from bus.memory_stream import MemoryStream
from bus.port import Bus
from meshctl.recovery import NewRecord, Recovery
from meshctl.restoring import laggards, look_around, persistently, restore_store
from schemas import subjects
from schemas.assignment import Applied
from schemas.backup import Backup, BackupHead
from schemas.errors import Unreachable
from schemas.liveness import ControllerBeat
from schemas.observation import Observation, ObservedTask
from schemas.records import MeshRecord
from schemas.wire import encode


async def beats(bus: Bus, name: str, *told: ControllerBeat) -> None:
    """What is told, every 0.1 s; the last of it for ever."""
    for number in range(100):
        await bus.core.publish(subjects.controller(name), encode(told[min(number, len(told) - 1)]))
        await asyncio.sleep(0.1)


async def asked(*controllers: tuple[ControllerBeat, ...], patience: float) -> tuple[dict[str, str], float]:
    broker = MemoryBroker()
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        speakers = [group.create_task(beats(broker.connect(told[0].name), told[0].name, *told)) for told in controllers]
        behind = await laggards(broker.connect("operator"), 100, patience)
        for speaker in speakers:
            speaker.cancel()
    return behind, asyncio.get_running_loop().time() - began


async def test_all_that_is_heard_is_waited_for() -> None:
    late = ControllerBeat(name="c2", sequence=100, trouble="store.missing: no such stream")
    told = (late,) * 30 + (ControllerBeat(name="c2", sequence=101),)
    behind, seconds = await asked((ControllerBeat(name="c1", sequence=105),), told, patience=20)
    assert behind == {}
    assert seconds >= 3.0


async def test_who_stays_behind_is_named_with_the_reason() -> None:
    c2 = ControllerBeat(name="c2", sequence=7)
    behind, _ = await asked((ControllerBeat(name="c1", sequence=105),), (c2,), patience=3)
    assert behind == {"c2": "it is at 7, the store began at 100"}


async def test_where_no_agent_answers_a_controller_tells_how_far_the_store_was() -> None:
    broker = MemoryBroker(create=False)
    beat = ControllerBeat(name="c1", mesh_id="m1", generation=3, sequence=46)
    async with asyncio.TaskGroup() as group:
        speaker = group.create_task(beats(broker.connect("c1"), "c1", beat))
        found = await look_around(broker.connect("operator"), None)
        speaker.cancel()
    assert (found.highest, found.mesh_id) == ((3, 46), "m1")


async def test_what_a_silent_node_obeyed_when_it_was_last_seen_counts() -> None:
    broker = MemoryBroker()
    bus = broker.connect("operator")
    seen = Observation(node="n1", instance="i1", boot="b1", counter=1, applied=Applied(generation=4, sequence=700))
    await bus.observed.commit((Put("n1", encode(seen)),))
    found = await look_around(bus, None)
    assert (found.highest, found.silent) == ((4, 700), {"n1"})


@pytest.mark.parametrize(("sequence", "slots"), [(700, {}), (701, {"web": {"7"}})])
async def test_what_a_silent_node_was_seen_to_run_counts_if_it_obeyed_what_the_backup_does_not_know(
    sequence: int, slots: dict[str, set[str]]
) -> None:
    """The observation of a node that is down for weeks, or was removed, stands as it was."""
    broker = MemoryBroker()
    bus = broker.connect("operator")
    task = ObservedTask(id="1-1", service="web", slot="7", spec="abc", revision=1, state="running")
    applied = Applied(generation=4, sequence=sequence)
    seen = Observation(node="n1", instance="i1", boot="b1", counter=1, applied=applied, tasks=(task,))
    await bus.observed.commit((Put("n1", encode(seen)),))
    found = await look_around(bus, Backup(head=BackupHead(mesh_id="m1", generation=4, sequence=700)))
    assert (found.seen, found.silent) == (slots, {"n1"})


async def test_servers_that_do_not_answer_yet_are_asked_again() -> None:
    left = [Unreachable("no answer"), Unreachable("no answer")]

    async def ask() -> int:
        if left:
            raise left.pop()
        return 3

    assert await persistently(ask) == 3


async def test_who_never_answers_is_told_in_the_end() -> None:
    async def ask() -> int:
        raise Unreachable("no answer")

    with pytest.raises(Unreachable):
        await persistently(ask, patience=0.5)


async def test_a_record_is_written_once_however_often_its_outcome_is_unknown() -> None:
    """An attempt that is under way still must not be stored after what the new leader has written."""
    broker = MemoryBroker(create=False)
    bus = broker.connect("operator")

    async def recreate(first: int) -> bool:
        broker.state.stream = MemoryStream(last=first - 1, first=first, created="2")
        return False

    record = NewRecord(key="desired.n1", value=b"{}", why="")
    recovery = Recovery(mesh=MeshRecord(mesh_id="m1", generation=2), first_sequence=100, records=(record,))
    broker.faults.next_commits.extend(["unknown-stored", "unknown-not-stored", "busy"])
    sequence = await restore_store(bus, recreate, recovery, ())
    assert sequence == 102
    assert [(entry.key, entry.sequence) for entry in (await bus.state.snapshot()).entries] == [
        ("desired.n1", 100),
        ("events.cursor", 101),
        ("mesh", 102),
    ]
