"""Whole agents in virtual time: the test plays the leader, the engine and the bus are in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from agent.engine.memory_life import Program
from agent.files import MemoryFiles
from agent.observing import UNTOLD_AFTER
from bus.memory import LoopClock
from schemas.observation import Observation
from schemas.spec import HealthCheck, RestartPolicy
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
