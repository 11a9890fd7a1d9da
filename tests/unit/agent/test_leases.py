"""Tasks that must not run twice (`stop_after`) are started on a lease that holds, and end with it."""

from __future__ import annotations

import asyncio

from agent.desk import AT_ONCE
from agent.engine.memory_life import Program
from agent.local import LocalTask
from agent.wants import CEASE, KEEP, wanted_tasks
from schemas.assignment import Assignment
from tests.unit.agent.rehearsal import IMAGE, Rehearsal, assigned, play, spec_of

STARTS_IN = 40.0
STOP_AFTER = 12.0


def test_a_lease_that_ran_out_while_a_start_waited_for_its_turn_starts_nothing() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.leader.lease = True
        stage.engine.add_image("heavy:1", Program(starts_in=STARTS_IN))
        heavy, alone = spec_of("heavy:1"), spec_of(IMAGE, stop_after=STOP_AFTER)
        others = [assigned(f"1-{number}", heavy, service="heavy", slot=str(number)) for number in range(1, AT_ONCE + 1)]
        async with stage.agent():
            await stage.put(specs=[])
            await asyncio.sleep(2)
            await stage.put(*others, assigned("2-1", alone), specs=[heavy, alone])
            await stage.until(lambda: stage.container("2-1"))
            await asyncio.sleep(1)
            stage.leader.silent = True
            await stage.until(lambda: len(stage.alive()) == AT_ONCE, STARTS_IN + 1)
            await asyncio.sleep(1)
            made = stage.container("2-1")
            assert made is not None
            assert made.state == "created", "it may run elsewhere by now"
            stage.leader.silent = False
            await stage.until(lambda: "2-1" in stage.alive(), 5)

    play(scene)


def test_what_no_assignment_of_the_disk_names_ends_with_its_lease() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.leader.lease = True
        spec, other = spec_of(stop_after=STOP_AFTER), spec_of()
        async with stage.agent():
            await stage.put(assigned("1-1", spec), assigned("1-2", other, slot="2"), specs=[spec, other])
            await stage.until_state("1-1", "running")
            await stage.until_state("1-2", "running")
            await asyncio.sleep(3)
        del stage.files.content["assignment.0"]
        stage.leader.silent = True
        stage.broker.disconnect("agent-n1")
        async with stage.agent():
            stage.broker.disconnect("agent-n1")
            await asyncio.sleep(STOP_AFTER - 5)
            assert stage.alive() == ["1-1", "1-2"]
            await stage.until(lambda: stage.alive() == ["1-2"], 10)

    play(scene)


def test_a_refused_agent_keeps_what_nothing_names_as_long_as_its_lease_only() -> None:
    known = {
        id_: LocalTask(id=id_, service="web", slot="1", container="c", stop_after=after)
        for id_, after in (("1-1", STOP_AFTER), ("1-2", 0.0))
    }
    for assignment in (None, Assignment(node="n1", epoch=1)):
        wanted = wanted_tasks(assignment, known, frozen=True, standing=lambda after: "lapsed" if after else "free")
        assert wanted == {"1-1": CEASE, "1-2": KEEP}


def test_a_new_process_hears_the_leader_before_it_cuts_short_what_was_asked_to_end() -> None:
    async def scene(stage: Rehearsal) -> None:
        stage.leader.lease = True
        stage.engine.add_image("slow:1", Program(stops_in=5.0))
        spec = spec_of("slow:1", stop_after=STOP_AFTER)
        async with stage.agent():
            await stage.put(assigned("1-1", spec), specs=[spec])
            await stage.until_state("1-1", "running")
            await stage.put(assigned("1-1", spec, desired="shutdown"), specs=[spec])
            await stage.until_state("1-1", "stopping")
        del stage.files.content["lease.json"]
        stage.leader.silent = True
        async with stage.agent():
            await asyncio.sleep(1)
            stage.leader.silent = False
            await stage.until_state("1-1", "exited")
            made = stage.container("1-1")
            assert made is not None
            assert made.exit_code == 0, "the whole grace"

    play(scene)
