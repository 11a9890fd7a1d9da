"""Whole agents that hear no leader, an older one, garbage, or that they are not wanted."""

from __future__ import annotations

import asyncio

from agent.engine.memory_life import Program
from schemas.spec import RestartPolicy
from tests.unit.agent.rehearsal import Rehearsal, assigned, play, spec_of

SPEC = spec_of()


def test_lower_and_equal_sequences_are_ignored_and_a_missing_record_changes_nothing() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent() as agent:
            await stage.put(assigned("1-1", SPEC), specs=[SPEC], generation=2)
            await stage.until_state("1-1", "running")
            await stage.put(specs=[], generation=1)
            await asyncio.sleep(60)
            assert stage.alive() == ["1-1"]
            assert agent.assignments.applied.generation == 2
            await stage.put(assigned("1-1", SPEC), assigned("1-2", SPEC, slot="2"), specs=[SPEC], generation=3)
            await stage.until_state("1-2", "running")
            assert stage.alive() == ["1-1", "1-2"]

    play(scene)


def test_garbage_as_an_assignment_changes_nothing() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            await stage.put_raw(b"\xff\x00 garbage")
            await stage.put_raw(b'{"node":"n2","epoch":1,"tasks":[]}')
            await asyncio.sleep(40)
            assert stage.alive() == ["1-1"]

    play(scene)


def test_while_the_leader_is_silent_ended_tasks_get_successors_with_growing_pauses() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("short:1", Program(runs_for=2, exit_code=1))
        spec = spec_of("short:1", restart=RestartPolicy(delay=1.0, max_delay=8.0))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
            await stage.until_state("1-1", "failed")
            await asyncio.sleep(10)
            assert len(stage.engine.lives) == 1, "while a leader answers, restarting is its affair"
            stage.leader.silent = True
            await stage.until(lambda: stage.container("1-1.r2"), 60)
            first, second = stage.container("1-1.r1"), stage.container("1-1.r2")
            assert second.created_at - first.finished_at >= 2.0
            seen = await stage.until_state("1-1.r2", "running")
            assert seen.predecessor == "1-1"
            stage.leader.silent = False
            await asyncio.sleep(5)
            count = len(stage.engine.lives)
            await asyncio.sleep(60)
            assert len(stage.engine.lives) == count

    play(scene)


def test_a_successor_that_the_leader_adopts_is_an_ordinary_task() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("once:1", Program())
        spec = spec_of("once:1", restart=RestartPolicy(delay=0.1))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
            stage.leader.silent = True
            await asyncio.sleep(6)
            stage.engine.life(stage.container("1-1").id).end(1)
            await stage.until_state("1-1.r1", "running")
            container = stage.container("1-1.r1").id
            stage.leader.silent = False
            await stage.put(assigned("1-1.r1", spec), specs=[spec])
            await asyncio.sleep(30)
            assert stage.alive() == ["1-1.r1"]
            assert stage.container("1-1.r1").id == container
            assert await stage.observed("1-1") is None
            await stage.put(specs=[])
            await stage.until(lambda: not stage.alive())

    play(scene)


def test_after_a_reboot_without_nats_the_cached_assignment_is_filled_by_successors() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
        stage.engine.crash()
        stage.engine.recover()
        stage.leader.silent = True
        stage.broker.disconnect("agent-n1")
        async with stage.agent(boot="boot-2"):
            stage.broker.disconnect("agent-n1")
            await stage.until(lambda: stage.alive() == ["1-1.r1"], 60)
            await asyncio.sleep(20)
            assert stage.alive() == ["1-1.r1"]
            stage.leader.silent = False
            stage.broker.reconnect("agent-n1")
            seen = await stage.until_state("1-1.r1", "running")
            assert seen.predecessor == "1-1"
            assert (await stage.observed("1-1")).state == "failed"

    play(scene)


def test_a_refused_agent_runs_nothing_new_and_keeps_what_runs() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            stage.leader.refused = stage.leader.join_refused = "another instance holds the name n1"
            await asyncio.sleep(5)
            await stage.put(assigned("1-2", SPEC), specs=[SPEC])
            await asyncio.sleep(60)
            assert stage.alive() == ["1-1"]
            stage.leader.refused = stage.leader.join_refused = ""
            await stage.until(lambda: stage.alive() == ["1-2"], 60)

    play(scene)


def test_a_stranger_with_a_members_name_starts_nothing_and_writes_nothing() -> None:
    async def scene(stage: Rehearsal) -> None:
        await stage.put(assigned("1-1", SPEC), specs=[SPEC])
        stage.leader.refused = stage.leader.join_refused = "another instance holds the name n1"
        async with stage.agent():
            await asyncio.sleep(60)
            assert not stage.engine.lives
            assert await stage.observation() is None
            assert len(stage.leader.beats) > 30, "it is alive and says so"

    play(scene)


def test_events_wait_on_disk_while_nobody_takes_them() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            await asyncio.sleep(1)
            stage.broker.disconnect("agent-n1")
            stage.engine.life(stage.container("1-1").id).end(5)
            await asyncio.sleep(3)
        assert b"task.failed" in stage.files.content["journal.jsonl"]
        stage.broker.reconnect("agent-n1")
        async with stage.agent():
            await asyncio.sleep(5)
            kinds = await stage.kinds("1-1")
            assert kinds[-1] == "task.failed"
            assert "journal.jsonl" not in stage.files.content

    play(scene)


def test_garbage_as_answers_of_a_leader_changes_nothing() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            stage.leader.garbage = b"\xff not an answer"
            await asyncio.sleep(30)
            stage.leader.garbage = b'{"count":1,"epoch":0,"generation":1,"refused":"an older leader says so"}'
            await asyncio.sleep(30)
            stage.leader.garbage = b""
            await stage.put(assigned("1-1", SPEC), assigned("1-2", SPEC, slot="2"), specs=[SPEC])
            await stage.until_state("1-2", "running")
            assert stage.alive() == ["1-1", "1-2"]

    play(scene)
