"""Tasks that must not run twice (`stop_after`) are started on a lease that holds, and on no other."""

from __future__ import annotations

import asyncio

from agent.desk import AT_ONCE
from agent.engine.memory_life import Program
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
