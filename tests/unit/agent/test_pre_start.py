"""What runs before a task's container: decided, carried out, and survived at every call of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agent.engine.container import TaskContext
from agent.engine.memory_life import Program
from agent.engine.model import Container
from agent.pre_start import (
    AwaitInit,
    InitFailed,
    InitsDone,
    MakeInit,
    StartInit,
    init_spec,
    next_init,
    orphaned_inits,
    plan_init,
)
from agent.tasks import REBOOTED, TOLD
from schemas.ports import Port
from schemas.spec import HealthCheck, Mount, PreStart, TaskSpec
from tests.unit.agent.crashing import ENGINE_CALLS, Crashing
from tests.unit.agent.rehearsal import OWNER, Rehearsal, assigned, play, spec_of

STEPS = (PreStart(command=("a",)), PreStart(command=("b",), image="job:1"))


def one(state: str, **fields: Any) -> Container:
    return Container(id="c", name="x", state=state, **fields)  # type: ignore[arg-type]


DONE = one("exited", exit_code=0)
STOPPED_WELL = one("exited", exit_code=0, told_to_end=True)


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        ({}, MakeInit(0)),
        ({0: one("created")}, StartInit("c")),
        ({0: one("running")}, AwaitInit("c")),
        ({0: one("paused")}, AwaitInit("c")),
        ({0: DONE}, MakeInit(1)),
        ({1: DONE}, MakeInit(0)),
        ({0: one("exited", exit_code=3)}, InitFailed("c", "pre_start 1 of 2 failed: exit code 3")),
        ({0: DONE, 1: one("created", error="no program")}, InitFailed("c", "pre_start 2 of 2 failed: no program")),
        ({0: one("exited", exit_code=137, oom_killed=True)}, InitFailed("c", "pre_start 1 of 2 failed: out of memory")),
        ({0: STOPPED_WELL}, InitFailed("c", f"pre_start 1 of 2 failed: {TOLD} (exit code 0)")),
        ({0: DONE, 1: DONE}, InitsDone()),
    ],
)  # fmt: skip
def test_the_next_step_is_read_off_the_containers(seen: dict[int, Container], step: object) -> None:
    assert next_init(STEPS, seen) == step


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({}, f"pre_start 1 of 2 failed: {REBOOTED}"),
        ({0: DONE}, f"pre_start 1 of 2 failed: {REBOOTED}"),
        ({0: DONE, 1: one("created")}, f"pre_start 2 of 2 failed: {REBOOTED}"),
        ({0: one("exited", exit_code=3)}, "pre_start 1 of 2 failed: exit code 3"),
    ],
)
def test_a_shutdown_of_the_machine_fails_what_had_begun(seen: dict[int, Container], why: str) -> None:
    assert next_init(STEPS, seen, rebooted=True) == InitFailed("c" if seen else "", why)


def test_a_step_is_as_the_service_where_it_says_nothing_but_has_no_ports_and_no_check() -> None:
    mount = Mount(kind="volume", source="data", target="/data")
    spec = spec_of(
        "web:1",
        entrypoint=("/run",),
        environment={"A": "1", "B": "2"},
        user="web",
        working_dir="/srv",
        mounts=(mount,),
        ports=(Port(target=80, published=80),),
        healthcheck=HealthCheck(test=("CMD", "true")),
    )
    own = init_spec(spec, PreStart(command=("migrate",), environment={"B": "3"})).container
    assert (own.image, own.entrypoint, own.command, own.user) == ("web:1", ("/run",), ("migrate",), "web")
    assert (own.environment, own.mounts, own.ports) == ({"A": "1", "B": "3"}, (mount,), ())
    assert own.healthcheck == HealthCheck(test=("NONE",))
    other = init_spec(spec, PreStart(command=("x",), image="busybox", image_id="sha256:1")).container
    assert (other.image, other.image_id, other.entrypoint, other.working_dir) == ("busybox", "sha256:1", None, "")


def test_its_container_is_the_owners_but_not_the_tasks() -> None:
    context = TaskContext(OWNER, "1-1", "web", "1", 1, "hash")
    plan = plan_init(spec_of(), STEPS[0], 0, context, "sha256:1")
    assert plan.name == "web.1.1-1.init1"
    assert plan.labels["mesh.init"] == "1-1"
    assert "mesh.task" not in plan.labels
    assert OWNER.owns(plan.labels)
    assert plan.body["Labels"] == plan.labels


def test_steps_are_part_of_the_spec_hash_and_none_leaves_it_as_it_was() -> None:
    assert with_steps().hash != spec_of().hash
    assert spec_of().hash == TaskSpec(container=spec_of().container).hash


def with_steps(*steps: PreStart, **fields: Any) -> TaskSpec:
    return msgspec.structs.replace(spec_of(**fields), pre_start=steps or STEPS)


def prepared(stage: Rehearsal, code: int = 0) -> None:
    stage.engine.add_image("job:1", Program(runs_for=1.0, exit_code=code, lines=("migrating",)))
    stage.engine.add_image("quick:1", Program(runs_for=0.5))


SPEC = with_steps(PreStart(command=("a",), image="quick:1"), PreStart(command=("b",), image="job:1"))


def inits(stage: Rehearsal) -> list[str]:
    return sorted(life.view.name for life in stage.engine.lives.values() if "mesh.init" in life.view.labels)


def test_all_steps_end_before_the_task_is_made_and_are_cleared_away() -> None:
    async def scene(stage: Rehearsal) -> None:
        prepared(stage)
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "starting")
            await stage.until(lambda: inits(stage) == ["web.1.1-1.init1", "web.1.1-1.init2"])
            assert stage.container("1-1") is None
            await stage.until_state("1-1", "running")
            await stage.until(lambda: inits(stage) == [])
            await asyncio.sleep(60)
            assert await stage.kinds("1-1") == ["task.created", "task.started"]

    play(scene)


def test_a_step_that_fails_is_the_tasks_end_with_its_last_words() -> None:
    async def scene(stage: Rehearsal) -> None:
        prepared(stage, code=4)
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            seen = await stage.until_state("1-1", "failed")
            assert (seen.error, seen.log_tail) == ("pre_start 2 of 2 failed: exit code 4", ("migrating",))
            await stage.until(lambda: inits(stage) == [])
            assert stage.container("1-1") is None

    play(scene)


STOPPED: dict[str, tuple[Callable[[Rehearsal], None], str, str]] = {
    "by its engine": (lambda stage: stage.engine.stop_by_hand("web.1.1-1.init1"), "boot-1", TOLD),
    "with its machine": (lambda stage: stage.engine.life("web.1.1-1.init1").end(0), "boot-2", REBOOTED),
}


@pytest.mark.parametrize("how", STOPPED)
def test_a_step_that_was_stopped_is_not_done_whatever_its_code(how: str) -> None:
    stop, boot, why = STOPPED[how]

    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("job:1", Program(runs_for=30.0))
        spec = with_steps(PreStart(command=("a",), image="job:1"))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until(lambda: stage.alive() == ["?"])
            await asyncio.sleep(3)
        stop(stage)
        await asyncio.sleep(1)
        async with stage.agent(boot=boot):
            seen = await stage.until_state("1-1", "failed")
            assert seen.error.startswith(f"pre_start 1 of 1 failed: {why}")
            await stage.until(lambda: inits(stage) == [])
            assert stage.container("1-1") is None

    play(scene)


def test_an_image_that_is_nowhere_fails_the_task() -> None:
    async def scene(stage: Rehearsal) -> None:
        spec = with_steps(PreStart(command=("a",), image="absent:1"))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            assert "absent:1" in (await stage.until_state("1-1", "failed")).error

    play(scene)


def test_a_task_that_is_to_end_meanwhile_ends_its_step_first() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("long:1", Program(stops_in=2.0))
        spec = with_steps(PreStart(command=("a",), image="long:1"))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "starting")
            await stage.until(lambda: stage.alive() == ["?"])
            await stage.put(assigned("1-1", spec, desired="shutdown"), specs=[spec])
            await asyncio.sleep(1)
            assert (await stage.observed("1-1")).state == "starting"  # type: ignore[union-attr]
            await stage.until_state("1-1", "exited")
            assert inits(stage) == []

    play(scene)


def test_a_step_that_cant_be_removed_holds_up_nothing() -> None:
    async def scene(stage: Rehearsal) -> None:
        prepared(stage)
        async with stage.agent() as agent:
            stage.engine.faults.refuse["remove"] = ["device or resource busy"] * 1000
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            await asyncio.sleep(60)
            assert inits(stage) == ["web.1.1-1.init1", "web.1.1-1.init2"]
            assert len(stage.engine.faults.refuse["remove"]) > 980, "tried every ten seconds"
            await stage.put(assigned("1-1", SPEC, desired="shutdown"), specs=[SPEC])
            await stage.until_state("1-1", "exited", 5)
            stage.engine.faults.refuse.clear()
            await stage.until(lambda: inits(stage) == [], 15)
            assert agent.ledger.tasks["1-1"].inits == 0

    play(scene)


@pytest.mark.parametrize("why", ["hang", "refused"])
def test_a_step_that_can_not_be_stopped_keeps_its_task_from_ending(why: str) -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("long:1")
        spec = with_steps(PreStart(command=("a",), image="long:1"))
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until(lambda: stage.alive() == ["?"])
            if why == "refused":
                stage.engine.faults.refuse["stop"] = ["permission denied"] * 1000
            else:
                stage.engine.faults.hang = True
            await stage.put(assigned("1-1", spec, desired="shutdown"), specs=[spec])
            await asyncio.sleep(60)
            assert stage.alive() == ["?"]
            assert (await stage.observed("1-1")).state == "starting"  # type: ignore[union-attr]
            stage.engine.faults.refuse.clear()
            stage.engine.faults.hang = False
            await stage.until_state("1-1", "exited")
            assert inits(stage) == []

    play(scene)


def test_what_nobody_knows_any_more_is_removed() -> None:
    async def scene(stage: Rehearsal) -> None:
        stray = stage.engine.invent("web.1.0-9.init1", {**OWNER.labels, "mesh.init": "0-9"})
        views = [life.view for life in stage.engine.lives.values()]
        assert [view.id for view in orphaned_inits(views, ["1-1"])] == [stray]
        async with stage.agent():
            await stage.put(assigned("1-1", spec_of()), specs=[spec_of()])
            await stage.until(lambda: stray not in stage.engine.lives, within=90)
            assert stage.alive() == ["1-1"]

    play(scene)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 22, 2))
def test_a_crash_at_any_call_of_the_engine_runs_each_step_once(at: int, after: bool) -> None:
    async def scene(stage: Rehearsal) -> None:
        prepared(stage)
        await stage.put(assigned("1-1", SPEC), specs=[SPEC])
        engine = Crashing(stage.engine, ENGINE_CALLS, at, after=after)
        await stage.crash(engine=engine, within=20)
        async with stage.agent():
            await stage.until_state("1-1", "running")
            await stage.until(lambda: inits(stage) == [])
            assert stage.alive() == ["1-1"]

    play(scene)
