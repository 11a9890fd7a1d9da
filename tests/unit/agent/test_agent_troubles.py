"""Whole agents with images, containers and engines that fail, and clocks that are wrong."""

from __future__ import annotations

import asyncio

import pytest

from agent.engine.memory_life import Program
from agent.observing import UNTOLD_AFTER
from bus.memory import LoopClock
from schemas.errors import EngineUnavailable
from schemas.observation import Observation
from schemas.spec import HealthCheck
from tests.unit.agent.rehearsal import Rehearsal, assigned, play, spec_of

SPEC = spec_of()


def test_a_spec_that_is_missing_fails_the_task_alone() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), assigned("1-2", spec_of("other:1"), slot="2"), specs=[SPEC])
            await stage.until_state("1-1", "running")
            assert "spec" in (await stage.until_state("1-2", "failed")).error

    play(scene)


def test_an_image_nobody_has_fails_with_the_reason() -> None:
    async def scene(stage: Rehearsal) -> None:
        spec = spec_of("nowhere:1")
        async with stage.agent():
            await stage.put(assigned("1-1", spec), assigned("1-2", spec, slot="2"), specs=[spec])
            for task in ("1-1", "1-2"):
                seen = await stage.until_state(task, "failed")
                assert "nowhere:1" in seen.error
                assert seen.container == ""
        async with stage.agent():
            await asyncio.sleep(20)
            assert (await stage.observed("1-1")).state == "failed", "a restart of the agent is no second attempt"

    play(scene)


def test_what_the_engine_refuses_fails_the_task_with_its_words() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("bad:1", Program(start_error="exec: no such file"))
        bad = spec_of("bad:1")
        async with stage.agent():
            stage.engine.faults.refuse["create"] = ["no space left on device"]
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            assert "no space left" in (await stage.until_state("1-1", "failed")).error
            await stage.put(assigned("1-2", bad), specs=[bad])
            assert "no such file" in (await stage.until_state("1-2", "failed")).error

    play(scene)


def test_an_unhealthy_container_is_ended_and_counts_as_failed() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("sick:1", Program(healthy_after=1, unhealthy_after=5))
        spec = spec_of("sick:1", healthcheck=HealthCheck(test=("CMD", "true")))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
            seen = await stage.until_state("1-1", "failed")
            assert seen.error.startswith("unhealthy container")
            assert not stage.alive()
            await asyncio.sleep(1)
            assert await stage.kinds("1-1") == [
                "task.created", "task.started", "task.healthy", "task.unhealthy", "task.stopping", "task.failed",
            ]  # fmt: skip

    play(scene)


def test_an_engine_that_goes_away_is_told_and_work_goes_on_when_it_is_back() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            stage.engine.crash(containers=False)
            await stage.until(lambda: stage.leader.beats[-1].engine, 60)
            await stage.put(assigned("1-1", SPEC), assigned("1-2", SPEC, slot="2"), specs=[SPEC])
            await asyncio.sleep(20)
            assert stage.alive() == ["1-1"]
            stage.engine.recover()
            await stage.until_state("1-2", "running")
            await stage.until(lambda: not stage.leader.beats[-1].engine)
            kinds = [event.kind for event in await stage.events()]
            assert kinds.count("engine.lost") == 1
            assert kinds.count("engine.back") == 1

    play(scene)


def test_an_engine_that_hangs_does_not_stop_the_heartbeats() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            stage.engine.faults.hang = True
            before = len(stage.leader.beats)
            await asyncio.sleep(60)
            assert len(stage.leader.beats) - before > 60
            assert stage.leader.beats[-1].engine
            stage.engine.recover()
            await stage.until(lambda: not stage.leader.beats[-1].engine, 60)

    play(scene)


def test_lost_answers_of_the_engine_double_nothing() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.faults.lose_answer = 0.3
        stage.engine.faults.lose_event = 0.3
        tasks = [assigned(f"1-{n}", SPEC, slot=str(n)) for n in range(1, 21)]
        async with stage.agent():
            await stage.put(*tasks, specs=[SPEC])
            await stage.until(lambda: len(stage.alive()) == 20, 300)
            assert len(stage.engine.lives) == 20
            await stage.put(specs=[])
            await stage.until(lambda: not stage.alive(), 300)

    play(scene)


def test_a_container_removed_behind_the_agents_back_is_a_failed_task() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            stage.engine.forget(stage.container("1-1").id)
            assert "removed by somebody else" in (await stage.until_state("1-1", "failed")).error

    play(scene)


def test_an_agent_that_can_not_tell_what_runs_says_so_with_its_heartbeat() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent() as agent:
            await asyncio.sleep(2)
            whole = agent.observer._compose

            def broken(counter: int) -> Observation:
                raise ValueError("beyond all measure")

            agent.observer._compose = broken
            agent.observer.mark()
            await asyncio.sleep(UNTOLD_AFTER - 2)
            assert agent._heartbeat(1).untold == ""
            await asyncio.sleep(4)
            assert agent._heartbeat(1).untold == "ValueError: beyond all measure"
            agent.observer._compose = whole
            await asyncio.sleep(3)
            assert agent._heartbeat(1).untold == ""

    play(scene)


def test_stops_that_the_engine_did_not_answer_do_not_end_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("slow:1", Program(stops_in=20.0))
        spec = spec_of("slow:1", stop_grace=60.0)
        stop, cut_off = stage.engine.stop, [1.0, 1.0]

        async def stop_at_last(container: str, *, signal: str = "", grace: float = 10.0) -> None:
            if not cut_off:
                return await stop(container, signal=signal, grace=grace)
            stage.engine.life(container).signal("SIGTERM")
            await asyncio.sleep(cut_off.pop())
            raise EngineUnavailable("connection reset")

        monkeypatch.setattr(stage.engine, "stop", stop_at_last)
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
            await stage.put(assigned("1-1", spec, desired="shutdown"), specs=[spec])
            assert (await stage.until_state("1-1", "exited", 60)).exit_code == 0

    play(scene)


def test_an_hour_of_clock_offset_changes_nothing() -> None:
    class Skewed(LoopClock):
        def wall(self) -> float:
            return float(super().wall()) + 3600

    async def scene(stage: Rehearsal) -> None:
        stage.clock = Skewed()
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            await stage.put(specs=[])
            await stage.until(lambda: not stage.alive())

    play(scene)
