"""What befalls the processes of a simulated mesh. Each fault mends itself after a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from bus.users import controller_user
from tests.sim.world import World


class ProcessFaults:
    """Controllers and agents that die, stop, or are not heard."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng

    @property
    def all(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """Each of them."""
        return (
            self.controller_crash,
            self.controller_stall,
            self.controller_stop,
            self.controller_cut,
            self.agent_crash,
            self.agent_stop,
            self.node_cut,
        )

    async def controller_crash(self) -> None:
        """kill -9, mostly of the leader."""
        name = self._a_controller()
        if name:
            self._world.say(f"kill {name}")
            self._world.crash_controller(name, advise=self._rng.random() < 0.8)
            await asyncio.sleep(self._rng.uniform(0.1, 8))
            self._world.start_controller(name)

    async def controller_stall(self) -> None:
        """Its messages are held for long, then all of them come at once: it may still believe that it leads."""
        name = self._a_controller()
        if name:
            self._world.say(f"hold what {name} says")
            self._world.broker.partition(controller_user(name), outbound=self._rng.random() < 0.9, hold=True)
            await asyncio.sleep(self._rng.uniform(0.5, 30))
            self._world.broker.heal(controller_user(name))

    async def controller_stop(self) -> None:
        """SIGSTOP: its process does nothing for up to 35 s, and wakes up believing what it believed."""
        name = self._a_controller()
        if name:
            self._world.say(f"stop {name}")
            self._world.stop_controller(name)
            await asyncio.sleep(self._rng.uniform(0.5, 35))
            if name in self._world.controllers:
                self._world.say(f"{name} goes on")
                self._world.continue_controller(name, timers_first=self._rng.random() < 0.5)

    async def controller_cut(self) -> None:
        """A cable; sometimes it works one way."""
        name = self._rng.choice(sorted(self._world.controllers) or [""])
        if name:
            one_way = self._rng.random()
            self._world.say(f"cut controller {name} ({one_way:.2f})")
            user = controller_user(name)
            self._world.broker.partition(user, outbound=one_way < 0.7, inbound=one_way > 0.3)
            await asyncio.sleep(self._rng.uniform(0.5, 15))
            self._world.broker.heal(user)

    async def agent_crash(self) -> None:
        """kill -9: containers run on."""
        name = self._rng.choice(sorted(self._world.nodes))
        node = self._world.nodes[name]
        if node.powered and node.agent_runs:
            self._world.say(f"kill agent {name}")
            self._world.crash_agent(name)
            await asyncio.sleep(self._rng.uniform(0.1, 10))
            if node.powered and not node.agent_runs:
                self._world.start_agent(name)

    async def agent_stop(self) -> None:
        """SIGSTOP of an agent: its node is silent, its containers run on, and then it goes on where it was."""
        name = self._rng.choice(sorted(self._world.nodes))
        node = self._world.nodes[name]
        if node.agent_runs and not node.stopped:
            self._world.say(f"stop agent {name}")
            self._world.stop_agent(name)
            await asyncio.sleep(self._rng.uniform(0.5, 35))
            self._world.say(f"agent {name} goes on")
            self._world.continue_agent(name, timers_first=self._rng.random() < 0.5)

    async def node_cut(self) -> None:
        """A node's cable; sometimes it works one way, sometimes all comes late."""
        name = self._rng.choice(sorted(self._world.nodes))
        if not self._world.nodes[name].cut:
            one_way, hold = self._rng.random(), self._rng.random() < 0.2
            self._world.say(f"cut {name} ({one_way:.2f}{', what is said comes late' if hold else ''})")
            self._world.cut(name, outbound=one_way < 0.8, inbound=one_way > 0.2, hold=hold)
            await asyncio.sleep(self._rng.uniform(0.5, 25))
            self._world.plug(name)

    def _a_controller(self) -> str:
        names = sorted(self._world.controllers)
        name = self._world.leader() if self._rng.random() < 0.7 else self._rng.choice(names or [""])
        return name if name in names else ""


def mend_processes(world: World) -> None:
    """All of them run, and are heard."""
    for name in sorted(world.controllers):
        world.continue_controller(name)
        world.broker.heal(controller_user(name))
    world.broker.heal("operator")
    for name, node in sorted(world.nodes.items()):
        world.continue_agent(name)
        world.plug(name)
        if node.powered and not node.agent_runs:
            world.start_agent(name)
