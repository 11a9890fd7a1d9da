"""Whole agents on an engine and a bus in memory: tasks come, run, end and are adopted."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from agent.engine.memory_life import Program
from agent.files import MemoryFiles
from tests.unit.agent.rehearsal import IMAGE, OWNER, Rehearsal, assigned, play, spec_of

SPEC = spec_of()


def test_an_assigned_task_runs_is_observed_and_told() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            seen = await stage.until_state("1-1", "running")
            container = stage.container("1-1")
            assert container is not None
            assert seen.container == container.id
            assert container.name == "web.1.1-1"
            assert container.labels["mesh.node"] == "n1"
            await asyncio.sleep(1)
            assert await stage.kinds("1-1") == ["task.created", "task.started"]

    play(scene)


def test_a_task_that_is_told_to_end_exits_and_stays_observed_until_it_is_dropped() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            await stage.put(assigned("1-1", SPEC, desired="shutdown"), specs=[SPEC])
            seen = await stage.until_state("1-1", "exited")
            assert seen.error == ""
            await asyncio.sleep(60)
            assert await stage.observed("1-1") is not None
            await stage.put(specs=[])
            await stage.until(lambda: _gone(stage, "1-1"))
            assert stage.container("1-1") is not None, "the container is kept for its log"
            assert (await stage.kinds("1-1"))[-2:] == ["task.stopping", "task.stopped"]

    async def _gone(stage: Rehearsal, task: str) -> bool:
        return await stage.observed(task) is None

    play(scene)


def test_restarting_the_agent_touches_no_container() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), assigned("1-2", SPEC, slot="2"), specs=[SPEC])
            await stage.until_state("1-1", "running")
            await stage.until_state("1-2", "running")
        before = [(life.view.id, life.view.started_at) for life in stage.engine.lives.values()]
        async with stage.agent():
            await asyncio.sleep(30)
            assert [(life.view.id, life.view.started_at) for life in stage.engine.lives.values()] == before
            assert (await stage.until_state("1-1", "running")).container == before[0][0]
            assert await stage.kinds("1-1") == ["task.created", "task.started"]

    play(scene)


def test_an_agent_that_lost_its_data_directory_adopts_by_labels() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
        stage.files.content.clear()
        before = [life.view.id for life in stage.engine.lives.values()]
        async with stage.agent():
            await asyncio.sleep(20)
            await stage.until_state("1-1", "running")
            assert [life.view.id for life in stage.engine.lives.values()] == before

    play(scene)


def test_an_exit_while_the_agent_was_away_is_not_lost() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("short:1", Program(runs_for=5, exit_code=3, lines=("oh no",)))
        spec = spec_of("short:1")
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
        await asyncio.sleep(10)
        async with stage.agent():
            seen = await stage.until_state("1-1", "failed")
            assert (seen.exit_code, seen.error, seen.log_tail) == (3, "exit code 3", ("oh no",))
            assert seen.ran > 4
            await asyncio.sleep(1)
            assert (await stage.kinds("1-1"))[-1] == "task.failed"

    play(scene)


def test_an_ended_container_is_never_started_again() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.engine.add_image("short:1", Program(runs_for=1, exit_code=0))
        spec = spec_of("short:1")
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "exited")
            container = stage.container("1-1")
            await asyncio.sleep(60)
            assert stage.container("1-1") == container
            stage.engine.life(container.id).start()  # somebody does it by hand
            await stage.until(lambda: not stage.alive())
            assert (await stage.observed("1-1")).state == "exited"

    play(scene)


def test_containers_that_no_assignment_names_are_ended_but_never_those_of_others() -> None:
    async def scene(stage: Rehearsal) -> None:
        labels = {"mesh.service": "web", "mesh.slot": "1", "mesh.revision": "1", "mesh.spec": "x"}
        stage.engine.invent("web.1.9-9", {**OWNER.labels, **labels, "mesh.task": "9-9"})
        stage.engine.invent("neighbour", {"mesh.id": "memory", "mesh.node": "n2", **labels, "mesh.task": "9-8"})
        stage.engine.invent("foreign", {"com.example": "yes"})
        async with stage.agent():
            await asyncio.sleep(30)
            assert len(stage.alive()) == 3, "without an assignment nothing is stopped"
            await stage.put(specs=[])
            await stage.until(lambda: len(stage.alive()) == 2)
            await asyncio.sleep(30)
            assert stage.alive() == ["9-8", "?"]

    play(scene)


def test_a_container_made_from_an_image_that_was_committed_from_a_task_is_left_alone() -> None:
    """Such an image carries the labels of the task on, and whoever starts something from it."""

    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            made = stage.container("1-1")
            assert made is not None
            copies = [stage.engine.invent("clever_name", dict(made.labels))]
            copies.append(stage.engine.invent("sad_name", {**made.labels, "mesh.task": "0-7"}))
            await asyncio.sleep(30)
            await stage.put(specs=[])
            await stage.until(lambda: not stage.engine.life(made.id).view.alive)
            stage.engine.life(copies[1]).end(0)
            await asyncio.sleep(7200)
            assert stage.engine.life(copies[0]).view.alive
            assert copies[1] in stage.engine.lives, "it is not removed by housekeeping either"
        async with stage.agent():
            await asyncio.sleep(60)
            assert stage.engine.life(copies[0]).view.alive

    play(scene)


def test_counters_of_observations_rise_over_restarts() -> None:
    async def scene(stage: Rehearsal) -> None:
        counters: list[int] = []
        for number in range(1, 4):
            async with stage.agent():
                await stage.put(assigned(f"1-{number}", SPEC), specs=[SPEC])
                await stage.until_state(f"1-{number}", "running")
                record = await stage.observation()
                counters.append(record.counter)
        assert counters == sorted(set(counters))

    play(scene)


def test_only_two_ended_containers_of_a_slot_are_kept() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            for number in range(1, 7):
                task = assigned(f"1-{number}", SPEC)
                await stage.put(task, specs=[SPEC])
                await stage.until_state(f"1-{number}", "running")
            await asyncio.sleep(90)
            ended = sorted(life.view.labels["mesh.task"] for life in stage.engine.lives.values() if life.view.ended)
            assert ended == ["1-4", "1-5"]
            assert stage.alive() == ["1-6"]

    play(scene)


def test_on_a_full_disk_only_images_that_dockmesh_brought_and_nothing_needs_are_removed() -> None:
    async def scene(stage: Rehearsal) -> None:
        pulled, needed = spec_of("pulled:1"), spec_of("needed:1")
        for tag in ("pulled:1", "needed:1"):
            stage.registry.publish(tag)
        async with stage.agent():
            await stage.put(assigned("1-1", pulled, service="old"), assigned("1-2", needed), specs=[pulled, needed])
            await stage.until_state("1-1", "running")
            await stage.until_state("1-2", "running")
            await stage.put(assigned("1-2", needed), specs=[needed])
            await stage.until(lambda: stage.alive() == ["1-2"])
            stage.engine.facts = replace(stage.engine.facts, disk_total=100, disk_free=10)
            await asyncio.sleep(3000)
            assert await stage.engine.image("pulled:1") is not None, "a kept container needs it"
            await stage.until(lambda: stage.container("1-1") is None, 4000)
            await asyncio.sleep(120)
            assert await stage.engine.image("pulled:1") is None
            assert await stage.engine.image("needed:1") is not None
            assert await stage.engine.image(IMAGE) is not None, "nobody brought it: it is somebody's own"
            kinds = [event.kind for event in await stage.events()]
            assert kinds.count("image.pulled") == 2
            assert kinds.count("image.removed") == 1

    play(scene)


def test_two_meshes_and_two_nodes_may_share_one_engine() -> None:
    async def scene(stage: Rehearsal) -> None:
        async with stage.agent():
            await stage.put(assigned("1-1", SPEC), specs=[SPEC])
            await stage.until_state("1-1", "running")
            async with stage.agent(node="n2", files=MemoryFiles()):
                await stage.put(assigned("1-2", SPEC, slot="2"), specs=[SPEC], node="n2")
                await stage.until(lambda: stage.alive() == ["1-1", "1-2"])
                await stage.put(specs=[], node="n2")
                await stage.until(lambda: stage.alive() == ["1-1"])
                await asyncio.sleep(60)
                assert stage.alive() == ["1-1"]

    play(scene)
