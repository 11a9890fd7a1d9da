"""Drift: what counts, what is told once, what is replaced, and what is left alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from agent.drift import differences, ended_by_hand, in_words, moved_tag, to_replace
from agent.engine.memory_life import Program
from agent.engine.model import ImageInfo, Setup
from schemas.drift import AskDrift, DriftReport
from schemas.spec import Resources, TaskSpec
from tests.unit.agent.rehearsal import OWNER, Rehearsal, assigned, play, spec_of

MADE = Setup(name="web.1.1-1", state="running", cpus=0.5, memory=64 << 20, networks=("bridge",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"memory": 128 << 20}, "memory is 134217728, not 67108864"),
        ({"memory": 0}, "memory is no limit, not 67108864"),
        ({"cpus": 1.5}, "cpus is 1.5, not 0.5"),
        ({"pids": 10}, "pids is 10, not no limit"),
        ({"name": "mine"}, "name is mine, not web.1.1-1"),
        ({"state": "paused"}, "state is paused, not running"),
        ({"restart": "always"}, "restart policy is always, not no"),
        ({"networks": ()}, "network bridge is missing"),
        ({"networks": ("bridge", "other")}, "network other was added"),
        ({"networks": ("x",)}, "network bridge is missing; network x was added"),
    ],
)  # fmt: skip
def test_each_difference_is_told_with_both_sides(changes: dict[str, Any], said: str) -> None:
    assert in_words(differences(MADE, replace(MADE, **changes))) == said


def test_a_tag_that_names_another_image_by_now_is_told_and_is_nothing_to_replace_for() -> None:
    spec = spec_of("web:1").container
    assert moved_tag(spec, "sha256:aaa", ImageInfo("sha256:aaa")) == ()
    assert moved_tag(spec, "sha256:aaa", None) == ()
    assert moved_tag(spec_of("web@sha256:1").container, "sha256:aaa", ImageInfo("sha256:bbb")) == ()
    found = moved_tag(spec, "sha256:aaa", ImageInfo("sha256:bbb"))
    assert in_words(found) == "image tag is bbb, not web:1 = aaa"
    assert to_replace(found) == ()


def spec(policy: str = "report") -> TaskSpec:
    return msgspec.structs.replace(spec_of(limits=Resources(memory=64 << 20)), drift=policy)  # type: ignore[arg-type]


async def runs(stage: Rehearsal, policy: str = "report") -> str:
    await stage.put(assigned("1-1", spec(policy)), specs=[spec(policy)])
    return (await stage.until_state("1-1", "running")).container


async def told(stage: Rehearsal) -> list[str]:
    return [event.why for event in await stage.events() if event.kind == "task.drifted"]


def test_a_change_by_hand_is_told_once_soon_after_its_event_and_again_when_it_is_another() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            container = await runs(stage)
            assert (await stage.ask("drift", AskDrift(), DriftReport)).drifted == ()
            stage.engine.tamper(container, memory=128 << 20)
            await asyncio.sleep(3)
            assert await told(stage) == ["memory is 134217728, not 67108864"]
            await asyncio.sleep(200)
            assert len(await told(stage)) == 1
            stage.engine.tamper(container, name="mine", state="paused")
            await asyncio.sleep(3)
            assert len(await told(stage)) == 2
            answer = await stage.ask("drift", AskDrift(), DriftReport)
            assert answer.compared == 1
            assert [each.what for each in answer.drifted[0].differences] == ["state", "name", "memory"]
            assert stage.alive() == ["1-1"], "it is only told"

    play(scene)


def test_what_no_event_tells_is_found_within_a_minute() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            container = await runs(stage)
            life = stage.engine.life(container)
            life.setup = replace(life.setup, networks=())
            await asyncio.sleep(70)
            assert await told(stage) == ["network bridge is missing"]

    play(scene)


def test_to_replace_ends_the_task_as_failed_and_to_ignore_does_not_even_look() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            container = await runs(stage, "replace")
            stage.engine.tamper(container, cpus=2.0)
            seen = await stage.until_state("1-1", "failed")
            assert seen.error == "drifted: cpus is 2, not no limit"
            ignored = spec("ignore")
            await stage.put(assigned("1-2", ignored), specs=[ignored])
            other = (await stage.until_state("1-2", "running")).container
            stage.engine.tamper(other, cpus=2.0)
            await asyncio.sleep(70)
            assert len(await told(stage)) == 1

    play(scene)


@pytest.mark.parametrize(
    ("signalled", "ended", "grace", "by_hand"),
    [(0.0, 50.0, 10.0, False), (50.0, 50.1, 10.0, True), (50.0, 80.0, 10.0, False), (50.0, 80.0, 60.0, True)],
)
def test_a_signal_long_ago_has_not_ended_it(signalled: float, ended: float, grace: float, by_hand: bool) -> None:
    assert ended_by_hand(signalled, ended, grace) is by_hand


def test_a_container_that_somebody_stops_is_told_and_its_own_end_is_not() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            container = await runs(stage)
            await stage.engine.stop(container)
            assert (await stage.until_state("1-1", "exited")).exit_code == 0
            await asyncio.sleep(3)
            assert await told(stage) == ["state is stopped by hand, not running"]
            (found,) = (await stage.ask("drift", AskDrift(), DriftReport)).drifted
            assert (found.task, found.policy) == ("1-1", "report")
            await stage.put(assigned("1-2", spec()), specs=[spec()])
            other = (await stage.until_state("1-2", "running")).container
            assert (await stage.ask("drift", AskDrift(), DriftReport)).drifted == ()
            stage.engine.life(other).end(3)
            await stage.until_state("1-2", "failed")
            await stage.put(assigned("1-3", spec()), specs=[spec()])
            await stage.until_state("1-3", "running")
            await stage.put(specs=[])
            await stage.until(lambda: not stage.alive())
            await asyncio.sleep(3)
            assert len(await told(stage)) == 1, "what ends by itself, or is ended by the mesh, is no drift"

    play(scene)


def test_a_container_that_somebody_kills_has_failed_where_drift_is_to_be_replaced() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            container = await runs(stage, "replace")
            await stage.engine.stop(container)
            seen = await stage.until_state("1-1", "failed")
            assert seen.error == "drifted: state is stopped by hand, not running"
            other = spec("ignore")
            await stage.put(assigned("1-2", other), specs=[other])
            await stage.engine.stop((await stage.until_state("1-2", "running")).container)
            await stage.until_state("1-2", "exited")
            await asyncio.sleep(3)
            assert len(await told(stage)) == 1

    play(scene)


def test_a_moved_tag_is_told_and_never_replaced() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await runs(stage, "replace")
            stage.engine.add_image("web:1", Program(lines=("new",)))
            await asyncio.sleep(70)
            assert stage.alive() == ["1-1"]
            assert all("image tag" in why for why in await told(stage))

    play(scene)


def test_orphans_are_told_apart_and_files_only_on_request() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            container = await runs(stage)
            labels = {**OWNER.labels, "mesh.task": "9-9", "mesh.service": "web", "mesh.slot": "1"}
            stage.engine.invent("a copy", labels)
            stage.engine.life(container).files = ("A /tmp/x",)
            await asyncio.sleep(15)
            answer = await stage.ask("drift", AskDrift(), DriftReport)
            assert [each.name for each in answer.orphans] == ["a copy"]
            assert (answer.drifted, answer.files) == ((), ())
            with_files = await stage.ask("drift", AskDrift(files_of="1-1"), DriftReport)
            assert (with_files.files, with_files.files_total) == (("A /tmp/x",), 1)

    play(scene)
