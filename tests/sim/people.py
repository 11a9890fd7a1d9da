"""What people do to a simulated mesh: each method is one thing, done once, whatever comes of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from schemas.errors import MeshError
from schemas.memberapi import UpdateNode
from schemas.rebalance import MOVES_AT_MOST
from schemas.rebalanceapi import ApplyRebalance, StopRebalance
from schemas.revisionapi import PauseServices, PromoteService, RollbackService
from schemas.serviceapi import RemoveServices, ScaleServices
from schemas.stackapi import DeployStack, RollbackStack
from tests.sim.wares import ALONE, NETWORK, a_service
from tests.sim.world import World

PATIENCE = 10.0
"""Seconds that people wait for an answer."""


class People:
    """Operators and deployers, who don't know of each other."""

    def __init__(self, world: World, rng: random.Random, violated: Callable[[str], None]) -> None:
        """`violated`: is told of answers that are not as they should be."""
        self._world = world
        self._rng = rng
        self._violated = violated
        self._deployed: set[str] = set()

    @property
    def acts(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What they may do; what they do more often stands here more often."""
        return (
            *(self.deploy,) * 8,
            *(self.scale,) * 2,
            *(self.availability,) * 2,
            *(self.end_a_canary,) * 2,
            self.remove,
            self.pause,
            self.rollback,
            self.roll_the_stack_back,
            self.rebalance,
            self.empty_and_even_out,
        )

    async def begin(self) -> None:
        """Deploy a service or two, and wait a little."""
        await self.deploy("shop_web")
        if self._rng.random() < 0.5:
            await self.deploy(self._rng.choice(("shop_slow", ALONE)))
        await asyncio.sleep(self._rng.uniform(0, 8))

    async def deploy(self, name: str = "") -> None:
        """A new or changed service."""
        service = a_service(self._rng, name)
        spec = service.spec
        how = f"x{service.replicas} canary {service.canary} {spec.update.order}"
        self._world.say(f"deploy {spec.name} {spec.task.container.image} {how}")
        if spec.name == ALONE:
            self._world.alone.add(ALONE)
        await self._try("stack.deploy", DeployStack(stack="shop", services=(service,), networks=(NETWORK,)))
        self._deployed.add(spec.name)

    async def scale(self) -> None:
        """More or fewer replicas."""
        names = sorted(self._deployed - {"shop_edge"})
        if names:
            name, count = self._rng.choice(names), self._rng.randint(0, 8)
            self._world.say(f"scale {name} to {count}")
            await self._try("service.scale", ScaleServices(replicas={name: count}))

    async def end_a_canary(self) -> None:
        """Promote or abort, whether there is one or not."""
        if name := self._any_service():
            if self._rng.random() < 0.5:
                self._world.say(f"promote {name}")
                await self._try("service.promote", PromoteService(service=name))
            else:
                self._world.say(f"abort {name}")
                await self._try("service.rollback", RollbackService(service=name, canary=True))

    async def pause(self) -> None:
        """Hold a service as it is, or let it go on."""
        if name := self._any_service():
            paused = self._rng.random() < 0.5
            self._world.say(f"{'pause' if paused else 'resume'} {name}")
            await self._try("service.pause", PauseServices(services=(name,), paused=paused))

    async def rollback(self) -> None:
        """Back to what a service was before."""
        if name := self._any_service():
            self._world.say(f"rollback {name}")
            await self._try("service.rollback", RollbackService(service=name))

    async def roll_the_stack_back(self) -> None:
        """Back to what the stack was before, or when it last came up as a whole."""
        last_good = self._rng.random() < 0.5
        self._world.say(f"rollback of the stack{' to the last good one' if last_good else ''}")
        await self._try("stack.rollback", RollbackStack(stack="shop", last_good=last_good))

    async def remove(self) -> None:
        """A service goes."""
        if (name := self._any_service()) and self._rng.random() < 0.6:
            self._world.say(f"remove {name}")
            await self._try("service.remove", RemoveServices(services=(name,)))
            self._deployed.discard(name)

    async def availability(self) -> None:
        """A node is drained, paused, taken into use again."""
        name = self._rng.choice(sorted(self._world.nodes))
        state, force = self._rng.choice(("drain", "pause", "active", "active")), self._rng.random() < 0.2
        self._world.say(f"{state} {name}{' by force' if state == 'drain' and force else ''}")
        request = UpdateNode(node=name, availability=state, force=force and state == "drain")  # type: ignore[arg-type]
        await self._try("node.update", request)

    async def empty_and_even_out(self) -> None:
        """A node is emptied, comes back, and is used again."""
        name = self._rng.choice(sorted(self._world.nodes))
        self._world.say(f"empty {name}")
        await self._try("node.update", UpdateNode(node=name, availability="drain"))
        await asyncio.sleep(self._rng.uniform(3, 15))
        await self._try("node.update", UpdateNode(node=name, availability="active"))
        await asyncio.sleep(self._rng.uniform(1, 4))
        await self.rebalance()

    async def rebalance(self) -> None:
        """Even out, or stop doing so."""
        if self._rng.random() < 0.2:
            self._world.say("stop the rebalance")
            await self._try("rebalance.stop", StopRebalance())
            return
        most = self._rng.choice((0, 1, 2))
        self._world.say(f"rebalance, at most {most or 'all'} moves")
        ordered = await self._try("rebalance.apply", ApplyRebalance(max_moves=most))
        if ordered is not None and len(ordered.moves) > (most or MOVES_AT_MOST):
            self._violated(f"{len(ordered.moves)} moves were ordered, and at most {most} asked for")

    def _any_service(self) -> str:
        return self._rng.choice(sorted(self._deployed)) if self._deployed else ""

    async def _try(self, what: str, request: Any) -> Any:
        if self._world.guarded is not None:
            return None  # people wait until the store is made anew
        try:
            return await self._world.ask(what, request, timeout=PATIENCE)
        except MeshError as error:
            self._world.say(f"  {what}: {error.code} {error.message}")
            return None
