"""For how long tasks were up, as their agent tells who asks it what it obeys."""

from __future__ import annotations

import asyncio

from agent.engine.memory_life import Program
from agent.local import LocalTask
from schemas.nodeapi import AssignmentView, ReadAssignment
from schemas.spec import HealthCheck
from tests.unit.agent.rehearsal import Rehearsal, assigned, play, spec_of

SPEC = spec_of()
LAG = 2.0
"""Seconds until an agent has seen what is so."""
PROBED = 10.0
"""Seconds between two looks at the engine."""


async def up(stage: Rehearsal, task: str = "1-1") -> float:
    return (await stage.ask("assignment", ReadAssignment(), AssignmentView)).up.get(task, 0.0)


def test_a_task_counts_while_it_is_up_and_its_engine_answers() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent() as agent:
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            assert await up(stage) <= LAG
            await asyncio.sleep(60)
            assert 60 - LAG <= await up(stage) <= 61
            stage.engine.crash(containers=False)
            await asyncio.sleep(15)
            agent.ledger.put(LocalTask(id="1-2", service="web", slot="2", state="running"))
            await asyncio.sleep(120)
            assert 60 - LAG <= await up(stage) <= 61 + PROBED
            assert await up(stage, "1-2") == 0

    play(scene)


def test_a_task_that_is_not_healthy_yet_does_not_count_and_one_that_was_keeps_its_longest_time() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("sick:1", Program(healthy_after=None))
        stage.engine.add_image("ends:1", Program(runs_for=60.0, exit_code=1))
        sick, ends = spec_of("sick:1", healthcheck=HealthCheck(test=("CMD", "true"))), spec_of("ends:1")
        async with stage.agent():
            await stage.put(assigned("1-1", ends), assigned("1-2", sick, slot="2"), specs=[ends, sick])
            await stage.until_state("1-2", "running")
            await asyncio.sleep(50)
            assert await up(stage, "1-2") == 0
            await stage.until_state("1-1", "failed")
            await asyncio.sleep(60)
            assert 60 - LAG <= await up(stage) <= 60.1

    play(scene)


def test_what_ran_before_its_agent_or_before_the_engine_was_back_counts_anew() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            await asyncio.sleep(60)
        async with stage.agent():
            await asyncio.sleep(25)
            assert 25 - LAG <= await up(stage) <= 25
            stage.engine.crash(containers=False)
            await asyncio.sleep(20)
            stage.engine.recover()
            await asyncio.sleep(15)
            assert await up(stage) <= 26 + PROBED
            await asyncio.sleep(35)
            assert 50 - LAG <= await up(stage) <= 51

    play(scene)


def test_a_task_that_ended_unseen_counts_no_longer_than_it_ran() -> None:
    """Its agent did not get to look meanwhile."""

    async def scene(stage: Rehearsal) -> None:
        async with stage.agent() as agent:
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            await asyncio.sleep(33)
            assert await up(stage) > 10
            agent.ledger.put(LocalTask(id="1-1", service="web", slot="1", state="failed", ran=3.0))
            assert await up(stage) == 3.0
            agent.ledger.forget(["1-1"])
            assert await up(stage) == 0

    play(scene)
