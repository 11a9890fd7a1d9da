"""A container that always fails: ever longer pauses, another node, the reason kept; whoever leads meanwhile."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from meshctl.eventstream import find_post_mortem
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ContainerSpec, RestartPolicy, ServiceSpec, TaskSpec
from schemas.stackapi import DeployStack
from tests.sim.loop import run
from tests.sim.world import World, in_world, silence_logs

LONGEST = 20.0
NAME = "shop_crash"


@pytest.mark.parametrize("kills", [False, True])
def test_pauses_and_budgets_survive_leaders(kills: bool) -> None:
    async def story(world: World) -> None:
        task = TaskSpec(container=ContainerSpec(image="crash:1"), restart=RestartPolicy(delay=0.5, max_delay=LONGEST))
        spec = ServiceSpec(name=NAME, stack="shop", task=task)
        await world.ask("stack.deploy", DeployStack(stack="shop", services=(ServiceDeploy(spec=spec, replicas=1),)))
        for _ in range(20):
            await asyncio.sleep(10)
            if kills and (name := world.leader()):
                world.crash_controller(name)
                await asyncio.sleep(0.5)
                world.start_controller(name)
        await world.until(lambda: bool(world.leader()), 30, "somebody leads")
        history = world.controllers[world.leader()].mirror.records.rollouts[NAME].slots["1"]
        assert 10 <= history.restarts <= 18, f"{history.restarts} restarts in 200 s: 0.5 s doubled to {LONGEST:g} s"
        assert len(history.failed_at) == 5
        assert len({entry.node for entry in history.ended}) > 1, "five failures send it elsewhere"
        last = history.ended[0]
        assert (last.exit_code, last.log_tail) == (1, ("about to fail",))
        told = await find_post_mortem(world.operator, history.ended[-1].id)
        assert told is not None
        assert [line.text for line in told.log] == ["about to fail"]
        ends = sorted(entry.at for entry in history.ended)
        pauses = [after - before for before, after in itertools.pairwise(ends)]
        assert all(pause >= LONGEST for pause in pauses), pauses
        assert len({round(pause, 2) for pause in pauses}) > 1, "pauses are jittered"

    silence_logs()
    run(in_world(5, story))
