"""A new process that has only its file, which a full disk may have left behind, ends nothing for not being in it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import structlog

from agent import reconciler
from agent.assignments import FILE, OLD_FILE, HeldAssignment
from agent.held import with_kept, with_successors
from agent.local import LocalTask
from agent.reserved import COPIES
from agent.successors import due_successors
from agent.wants import KEEP, wanted_tasks
from schemas.assignment import AssignedTask, Assignment
from schemas.nodeapi import AssignmentView, ReadAssignment
from schemas.wire import decode, encode
from tests.sim.machines import Disk
from tests.unit.agent.rehearsal import IMAGE, OWNER, Rehearsal, assigned, play, spec_of

SPEC = spec_of()
ALONE = spec_of(IMAGE, stop_after=12.0)

KEPT = f"{FILE}.{COPIES[0]}"


async def older_file(stage: Rehearsal, *newer: AssignedTask, ledger: bool = False) -> None:
    """1-1 is saved; then the disk is full, and `newer` is obeyed. Of that the containers tell, and the ledger may."""
    async with stage.agent():
        await stage.put(assigned("1-1", SPEC), specs=[SPEC])
        await stage.until_state("1-1", "running")
        await asyncio.sleep(3)
        saved = {KEPT: stage.files.content[KEPT]} if ledger else dict(stage.files.content)
        await stage.put(assigned("1-1", SPEC), *newer, specs=[SPEC, ALONE])
        for task in newer:
            await stage.until_state(task.id, "running")
    if not ledger:
        stage.files.content.clear()
    stage.files.content.update(saved)


async def of_a_later_store(stage: Rehearsal, *newer: AssignedTask) -> None:
    """The same, and the store has been rolled back: its record is lower than the file."""
    await older_file(stage, *newer)
    held = decode(stage.files.content[KEPT], HeldAssignment)
    later = msgspec.structs.replace(held.assignment, generation=2)
    stage.files.content[KEPT] = encode(msgspec.structs.replace(held, assignment=later))


def test_while_the_store_is_lost_what_an_older_file_does_not_name_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said = structlog.testing.CapturingLogger()
    monkeypatch.setattr(reconciler, "log", said)

    async def scene(stage: Rehearsal) -> None:
        await older_file(stage, assigned("1-2", SPEC, slot="2"))
        stage.leader.silent = True
        stage.broker.disconnect("agent-n1")
        async with stage.agent():
            stage.broker.disconnect("agent-n1")
            await asyncio.sleep(60)
            assert stage.alive() == ["1-1", "1-2"]
            assert [call.kwargs["tasks"] for call in said.calls if call.args == ("tasks.kept",)] == [["1-2"]]
            stage.leader.silent = False
            stage.broker.reconnect("agent-n1")
            await stage.until_state("1-2", "running")
            await asyncio.sleep(40)
            assert stage.alive() == ["1-1", "1-2"]

    play(scene)


def test_a_lower_record_confirms_nothing_and_a_higher_one_is_the_word_that_ends() -> None:
    async def scene(stage: Rehearsal) -> None:
        await of_a_later_store(stage, assigned("1-2", SPEC, slot="2"))
        async with stage.agent() as agent:
            await asyncio.sleep(60)
            assert agent.assignments.applied.generation == 2
            assert stage.alive() == ["1-1", "1-2"]
            await stage.put(assigned("1-1", SPEC), specs=[SPEC], generation=3)
            await stage.until(lambda: stage.alive() == ["1-1"], 1)

    play(scene)


def test_what_ends_while_it_is_kept_is_not_forgotten() -> None:
    async def scene(stage: Rehearsal) -> None:
        await of_a_later_store(stage, assigned("1-2", SPEC, slot="2"))
        async with stage.agent() as agent:
            await stage.until_state("1-2", "running")
            await asyncio.sleep(3)
            stage.engine.life(stage.container("1-2").id).end(1)
            await stage.until(lambda: agent.ledger.tasks["1-2"].end_stored)
            await asyncio.sleep(15)
            assert agent.ledger.tasks["1-2"].state == "failed", "whoever names it then must not start it again"

    play(scene)


def test_what_runs_before_a_task_that_the_file_does_not_name_is_kept_as_well() -> None:
    async def scene(stage: Rehearsal) -> None:
        await of_a_later_store(stage)
        step = stage.engine.invent("web.2.1-2.init1", {**OWNER.labels, "mesh.init": "1-2"})
        async with stage.agent():
            await asyncio.sleep(90)
            assert step in stage.engine.lives
            await stage.put(assigned("1-1", SPEC), specs=[SPEC], generation=3)
            await stage.until(lambda: step not in stage.engine.lives, 60)

    play(scene)


def test_a_replica_that_is_behind_puts_the_confirmation_off_by_seconds_only() -> None:
    async def scene(stage: Rehearsal) -> None:
        await stage.put(specs=[])
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
        stage.broker.faults.read_lag = 1
        async with stage.agent() as agent:
            await asyncio.sleep(1)
            assert not agent.assignments.confirmed
            stage.broker.faults.read_lag = 0
            await stage.until(lambda: agent.assignments.confirmed, 5)

    play(scene)


def test_the_same_record_confirms_the_file_and_what_that_does_not_name_ends_at_once() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), assigned("1-2", SPEC, slot="2"), specs=[SPEC])
            await stage.until_state("1-2", "running")
        stage.leader.silent = True
        sequence = await stage.put(assigned("1-1", SPEC), specs=[SPEC])
        stage.files.content[KEPT] = encode(HeldAssignment(sequence=sequence, assignment=record("1-1")))
        async with stage.agent():
            await asyncio.sleep(10)
            assert stage.alive() == ["1-1", "1-2"], "no leader has taken it for a member: what it reads is no word"
            stage.leader.silent = False
            await stage.until(lambda: stage.alive() == ["1-1"], 8)

    play(scene)


@pytest.mark.parametrize(("ledger", "within"), [(False, 5), (True, 16)], ids=["containers", "ledger"])
def test_what_must_not_run_twice_is_kept_only_as_long_as_its_lease(ledger: bool, within: float) -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.leader.lease = True
        await older_file(stage, assigned("2-1", ALONE, service="alone"), ledger=ledger)
        stage.leader.silent = True
        stage.broker.disconnect("agent-n1")
        async with stage.agent():
            stage.broker.disconnect("agent-n1")
            await asyncio.sleep(2)
            assert stage.alive() == ["1-1", "2-1"], "a leader may answer first"
            await stage.until(lambda: stage.alive() == ["1-1"], within)

    play(scene)


def test_what_is_kept_is_told_as_obeyed_so_that_a_store_made_anew_names_it() -> None:
    async def scene(stage: Rehearsal) -> None:
        await older_file(stage, assigned("1-2", SPEC, slot="2"))
        stage.leader.silent = True
        async with stage.agent():
            await asyncio.sleep(10)
            view = await stage.ask("assignment", ReadAssignment(), AssignmentView)
            assert [task.id for task in view.assignment.tasks] == ["1-1", "1-2"]

    play(scene)


def local(id_: str, state: str = "running", slot: str = "1", spec: str = SPEC.hash) -> LocalTask:
    return LocalTask(id=id_, service="web", slot=slot, spec=spec, state=state, started=True)  # type: ignore[arg-type]


def record(*ids: str) -> Assignment:
    return Assignment(node="n1", epoch=1, tasks=tuple(assigned(id_, SPEC) for id_ in ids), specs={SPEC.hash: SPEC})


def told(*tasks: LocalTask) -> list[str]:
    known = {task.id: task for task in tasks}
    wanted = wanted_tasks(record("1-1"), known, confirmed=False)
    return [task.id for task in with_kept(record("1-1"), known, wanted).tasks]


def test_what_is_kept_stands_for_what_has_ended_in_its_slot_and_for_nothing_that_runs() -> None:
    assert told(local("1-1", "failed"), local("1-9")) == ["1-9"]
    assert told(local("1-1"), local("1-9")) == ["1-1"]
    assert told(local("1-1"), local("1-9", slot="2")) == ["1-1", "1-9"]
    assert told(local("1-1"), local("1-9", slot="2", spec="unknown")) == ["1-1"]
    assert told(local("1-1"), local("1-9", "failed", slot="2")) == ["1-1"]
    assert told(local("1-1", "failed"), local("1-9"), local("1-10")) == ["1-10"]


def named_with_successors(*tasks: LocalTask) -> list[str]:
    known = {task.id: task for task in tasks}
    assignment = record("1-1", "1-2")
    return [task.id for task in with_successors(assignment, known, wanted_tasks(assignment, known)).tasks]


def test_a_successor_that_runs_is_told_in_place_of_what_it_follows() -> None:
    assert named_with_successors(local("1-1", "failed"), local("1-1.r1"), local("1-2")) == ["1-1.r1", "1-2"]
    ended = (local("1-1", "failed"), local("1-1.r1", "failed"))
    assert named_with_successors(*ended) == ["1-1", "1-2"]
    assert named_with_successors(*ended, local("1-1.r2")) == ["1-1.r2", "1-2"]
    assert named_with_successors(local("1-1"), local("1-1.r1")) == ["1-1", "1-2"], "it is to end"


def test_a_slot_that_is_filled_by_what_is_kept_gets_no_successor() -> None:
    tasks = {task.id: task for task in (local("1-1", "failed"), local("1-9"))}
    unconfirmed, confirmed = (wanted_tasks(record("1-1"), tasks, confirmed=each) for each in (False, True))
    assert unconfirmed["1-9"] == KEEP
    assert not due_successors(tasks, unconfirmed, {}, {})
    assert [due.task for due in due_successors(tasks, confirmed, {}, {})] == ["1-1.r1"]


def test_the_file_of_an_earlier_version_is_obeyed_and_kept_in_room_of_its_own() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
        old = stage.files.content.pop(KEPT)
        stage.files.content[OLD_FILE] = old
        stage.leader.silent = True
        stage.broker.disconnect("agent-n1")
        async with stage.agent():
            stage.broker.disconnect("agent-n1")
            await asyncio.sleep(60)
            assert stage.alive() == ["1-1"]
            assert (stage.files.content[KEPT], OLD_FILE in stage.files.content) == (old, False)
            stage.leader.silent = False
            stage.broker.reconnect("agent-n1")
            await stage.put(specs=[SPEC])
            await stage.until(lambda: not stage.alive())

    play(scene)


def test_of_two_files_the_higher_is_obeyed() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            older = stage.files.content[KEPT]
            await stage.put(assigned("1-1", SPEC), assigned("1-2", SPEC, slot="2"), specs=[SPEC])
            await stage.until_state("1-2", "running")
            newer = stage.files.content[KEPT]
        for kept, old in ((older, newer), (newer, older)):
            stage.files.content |= {KEPT: kept, OLD_FILE: old}
            stage.leader.silent = True
            stage.broker.disconnect("agent-n1")
            async with stage.agent():
                stage.broker.disconnect("agent-n1")
                await asyncio.sleep(20)
                assert stage.alive() == ["1-1", "1-2"]
                assert (stage.files.content[KEPT], OLD_FILE in stage.files.content) == (newer, False)

    play(scene)


def test_what_is_obeyed_is_saved_on_a_full_disk() -> None:
    async def scene(stage: Rehearsal) -> None:
        disk = Disk()
        async with stage.agent(files=disk):
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            disk.full = True
            await stage.put(assigned("1-1", SPEC), assigned("1-2", ALONE), specs=[SPEC, ALONE])
            await stage.until(lambda: b"1-2" in disk.content[KEPT])

    play(scene)
