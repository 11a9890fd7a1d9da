"""What may be thrown away, and what never."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from agent.engine.memory_life import Program
from agent.engine.model import Container, EngineInfo
from agent.housekeeping import EVERY, KEPT_PER_SLOT, PUT_OFF, removable_containers, removable_images
from agent.local import LocalTask
from schemas.assignment import AssignedTask, Assignment
from schemas.errors import EngineError, EngineUnavailable
from tests.unit.agent.rehearsal import Rehearsal, assigned, play, spec_of

NOW = 10_000.0
NONE = Assignment(node="n1", epoch=1)


def container(task: str, at: float, *, state: str = "exited", slot: str = "1", service: str = "web") -> Container:
    labels = {"mesh.task": task, "mesh.service": service, "mesh.slot": slot}
    return Container(f"c-{task}", task, state, labels=labels, finished_at=at)  # type: ignore[arg-type]


def named(*ids: str, service: str = "web") -> Assignment:
    tasks = tuple(AssignedTask(id=id_, service=service, slot="1", revision=1, spec="x") for id_ in ids)
    return Assignment(node="n1", epoch=1, tasks=tasks)


def removed(containers: list[Container], local: list[str], assignment: Assignment | None) -> list[str]:
    known = {id_: LocalTask(id=id_, service="web", slot="1", state="failed") for id_ in local}
    return [one.labels["mesh.task"] for one in removable_containers(containers, known, assignment, NOW)]


FOUR = [container(f"1-{n}", NOW - 100 + n) for n in range(1, 5)]


def test_the_last_two_of_a_slot_are_kept() -> None:
    assert removed(FOUR, [], named("1-9")) == ["1-2", "1-1"]


def test_slots_count_for_themselves() -> None:
    assert removed([*FOUR[:2], *(container(f"2-{n}", NOW, slot="2") for n in (1, 2))], [], named("1-9")) == []


def test_what_the_assignment_names_or_the_mesh_has_not_seen_ended_stays() -> None:
    assert removed(FOUR, ["1-1"], named("1-9")) == ["1-2"]
    assert removed(FOUR, [], named("1-1", "1-2")) == []


def test_what_runs_and_what_was_made_and_not_started_stays() -> None:
    alive = [container("1-1", 1, state="running"), container("1-2", 1, state="created"), container("1-3", 1)]
    assert removed([*alive, *FOUR[2:]], [], named("1-9")) == ["1-3"]


def test_without_an_assignment_nothing_is_removed() -> None:
    assert removed(FOUR, [], None) == []


def test_containers_of_a_service_that_is_gone_go_after_an_hour() -> None:
    old = [container("1-1", NOW - 3601), container("1-2", NOW - 3599)]
    assert removed(old, [], NONE) == ["1-1"]
    assert removed(old, [], named("1-9")) == []


@pytest.mark.parametrize(
    ("free", "needed", "expected"),
    [(20, (), ()), (19, (), ("i2", "i1")), (19, ("i2",), ("i1",)), (1, ("i1", "i2"), ())],
)
def test_images_go_only_from_a_full_disk_least_recently_needed_first(
    free: int, needed: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    brought = {"i1": 20.0, "i2": 10.0, "i3": 1.0}
    info = EngineInfo(disk_total=100, disk_free=free)
    assert removable_images(brought, {"web": ("i3",)}, needed, info) == expected


def test_a_disk_that_cannot_be_seen_is_not_full() -> None:
    assert removable_images({"i1": 1.0}, {}, (), EngineInfo()) == ()


@pytest.mark.parametrize("hangs", [False, True])
def test_a_container_that_can_not_be_removed_keeps_no_other(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("short:1", Program(runs_for=1.0))
        spec = spec_of("short:1")
        remove, tried = stage.engine.remove, []

        async def refused(container: str, *, force: bool = False) -> None:
            if not tried or container == tried[0]:
                tried.append(container)
                await asyncio.sleep(90 if hangs else 0)
                raise EngineUnavailable("no answer") if hangs else EngineError("device or resource busy")
            await remove(container, force=force)

        monkeypatch.setattr(stage.engine, "remove", refused)
        async with stage.agent():
            for number in range(1, 7):
                await stage.put(assigned(f"1-{number}", spec), specs=[spec])
                await stage.until(lambda id_=f"1-{number}": (one := stage.container(id_)) and one.ended)
            await stage.until(lambda: len(stage.engine.lives) == KEPT_PER_SLOT + 1, 300)
            assert tried
            assert len(tried) <= 3

    play(scene)


def test_a_container_that_could_not_be_removed_while_its_engine_was_away_goes_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then ever more seldom, up to ten minutes."""

    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("short:1", Program(runs_for=1.0))
        spec = spec_of("short:1")
        remove, tried = stage.engine.remove, []

        async def refused(container: str, *, force: bool = False) -> None:
            tried.append(asyncio.get_running_loop().time())
            if len(tried) < 8:
                raise EngineUnavailable("connection refused")
            await remove(container, force=force)

        monkeypatch.setattr(stage.engine, "remove", refused)
        async with stage.agent():
            for number in range(1, KEPT_PER_SLOT + 2):
                await stage.put(assigned(f"1-{number}", spec), specs=[spec])
                await stage.until(lambda id_=f"1-{number}": (one := stage.container(id_)) and one.ended)
            await stage.until(lambda: len(stage.engine.lives) == KEPT_PER_SLOT, 4000)
        pauses = [round(after - before) for before, after in pairwise(tried[:8])]
        assert pauses[0] == EVERY
        assert pauses == sorted(pauses)
        assert PUT_OFF[1] <= pauses[-1] <= PUT_OFF[1] + EVERY

    play(scene)
