"""kill -9 of the agent between any two of its actions: the next process goes on, nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio

import pytest

from agent import agent as whole
from agent.engine.memory_life import Program
from agent.engine.plans import Join, NetworkPlan
from agent.network.tasks import Links
from schemas.clock import Clock
from schemas.network import Attachment
from schemas.spec import HealthCheck, PreStart, TaskSpec
from tests.unit.agent.crashing import ENGINE_CALLS, FILE_CALLS, Crashing
from tests.unit.agent.rehearsal import OWNER, Rehearsal, assigned, play, spec_of

SPEC = spec_of()
FAILS = spec_of("short:1")
SICK = spec_of("sick:1", healthcheck=HealthCheck(test=("CMD", "true")))


async def _prepare(stage: Rehearsal) -> None:
    stage.engine.add_image("short:1", Program(runs_for=1, exit_code=3, lines=("oh no",)))
    stage.engine.add_image("sick:1", Program(healthy_after=0.2, unhealthy_after=0.6, stop_code=0))
    await stage.put(
        assigned("1-1", SPEC),
        assigned("1-2", FAILS, slot="2"),
        assigned("1-3", SICK, slot="3"),
        specs=[SPEC, FAILS, SICK],
    )


async def _check(stage: Rehearsal) -> None:
    async with stage.agent():
        await stage.until_state("1-1", "running")
        assert (await stage.until_state("1-2", "failed")).error == "exit code 3"
        assert (await stage.until_state("1-3", "failed")).error.startswith("unhealthy container")
        await asyncio.sleep(2)
        assert stage.alive() == ["1-1"]
        tasks = sorted(life.view.labels["mesh.task"] for life in stage.engine.lives.values())
        assert tasks == ["1-1", "1-2", "1-3"], "one container per task, ever"
        events = {event.id: event for event in await stage.events()}
        for task, end in (("1-1", "task.started"), ("1-2", "task.failed"), ("1-3", "task.failed")):
            kinds = [event.kind for event in events.values() if event.task == task]
            assert kinds.count(end) == 1
            assert kinds.count("task.started") == 1
        await stage.put(assigned("1-1", SPEC, desired="shutdown"), specs=[SPEC])
        assert (await stage.until_state("1-1", "exited")).error == ""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 26))
def test_a_crash_at_any_call_of_the_engine_is_survived(at: int, after: bool) -> None:
    async def scene(stage: Rehearsal) -> None:
        await _prepare(stage)
        engine = Crashing(stage.engine, ENGINE_CALLS, at, after=after)
        assert await stage.crash(engine=engine, within=20) == (engine.count >= at)
        await _check(stage)

    play(scene)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 26))
def test_a_crash_at_any_write_to_the_disk_is_survived(at: int, after: bool) -> None:
    async def scene(stage: Rehearsal) -> None:
        await _prepare(stage)
        files = Crashing(stage.files, FILE_CALLS, at, after=after)
        assert await stage.crash(engine=stage.engine, files=files, within=20) == (files.count >= at)
        await _check(stage)

    play(scene)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_crash_while_tasks_are_being_stopped_is_survived(at: int) -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), assigned("1-2", SPEC, slot="2"), specs=[SPEC])
            await stage.until_state("1-2", "running")
            await stage.until_state("1-1", "running")
        await stage.put(assigned("1-1", SPEC, desired="shutdown"), specs=[SPEC])
        engine = Crashing(stage.engine, ENGINE_CALLS, at, after=True)
        assert await stage.crash(engine=engine, within=20) == (engine.count >= at)
        async with stage.agent():
            assert (await stage.until_state("1-1", "exited")).error == ""
            await stage.until(lambda: not stage.alive())

    play(scene)


def test_a_crash_between_create_and_start_is_adopted_and_started_once() -> None:
    async def scene(stage: Rehearsal) -> None:
        await stage.put(assigned("1-1", SPEC), specs=[SPEC])
        assert await stage.crash(engine=Crashing(stage.engine, frozenset({"start"}), 1, after=False))
        created = stage.container("1-1")
        assert created is not None
        assert created.state == "created"
        async with stage.agent():
            assert (await stage.until_state("1-1", "running")).container == created.id

    play(scene)


def test_a_container_made_for_a_task_that_is_wanted_no_more_is_removed_unstarted() -> None:
    async def scene(stage: Rehearsal) -> None:
        await stage.put(assigned("1-1", SPEC), specs=[SPEC])
        assert await stage.crash(engine=Crashing(stage.engine, frozenset({"start"}), 1, after=False))
        await stage.put(assigned("1-1", SPEC, desired="shutdown"), specs=[SPEC])
        async with stage.agent():
            await stage.until_state("1-1", "exited")
            assert not stage.engine.lives

    play(scene)


class TwoNetworks:
    """Of a new process: they are there before it, and it knows of them a second after its start."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known_at = clock.monotonic() + 1.0

    def links(self, _: TaskSpec) -> Links:
        if self._clock.monotonic() < self._known_at:
            return Links(why="it is being made")
        return Links(joins=(Join("front"), Join("back")))

    def may_stop(self, task: str, grace: float) -> bool:
        return True


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 18))
def test_a_crash_leaves_no_container_on_the_first_of_its_networks_alone(
    at: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Rehearsal) -> None:
        monkeypatch.setattr(whole, "NoNetworks", lambda _: TwoNetworks(stage.clock))
        for number, name in enumerate(("front", "back")):
            range_ = f"10.0.{number}.0/24"
            stage.engine.nets.create(NetworkPlan(name, name, range_, range_, "", 1450, labels=OWNER.labels))
        stage.engine.add_image("quick:1", Program(runs_for=0.5))
        spec = spec_of(pre_start=(PreStart(command=("a",), image="quick:1"),))
        await stage.put(assigned("1-1", spec), specs=[spec])
        engine = Crashing(stage.engine, ENGINE_CALLS, at, after=after)
        await stage.crash(engine=engine, within=20)
        async with stage.agent():
            await stage.until_state("1-1", "running")
            made = stage.container("1-1")
            assert made is not None
            assert set(made.addresses) == {"front", "back"}

    play(scene)


def test_a_container_whose_networks_can_not_be_had_any_more_is_not_started_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(stage: Rehearsal) -> None:
        spec = spec_of(networks=(Attachment(network="front"),))
        stage.engine.nets.create(
            NetworkPlan("front", "front", "10.0.0.0/24", "10.0.0.0/24", "", 1450, labels=OWNER.labels)
        )
        await stage.put(assigned("1-1", spec), specs=[spec])
        with monkeypatch.context() as patch:
            patch.setattr(whole, "NoNetworks", lambda _: TwoNetworks(stage.clock))
            assert await stage.crash(engine=Crashing(stage.engine, frozenset({"attach"}), 1, after=False))
        async with stage.agent():
            assert (await stage.until_state("1-1", "failed")).error
            assert not stage.alive()

    play(scene)
