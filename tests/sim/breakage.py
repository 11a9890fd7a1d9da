"""What befalls the machines and the bus of a simulated mesh. Each fault mends itself after a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from agent.engine.labels import LABEL_MESH, LABEL_NODE
from schemas.assignment import container_name
from tests.sim.machines import Node
from tests.sim.world import World

DELAY = (0.0005, 0.005)
"""Seconds that a message takes while all is well."""


class Breakage:
    """Machines, engines, disks, clocks and the bus."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng

    @property
    def all(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """Each of them."""
        return (
            self.power_cut,
            self.engine_restart,
            self.engine_hang,
            self.engine_lies,
            self.engine_invents,
            self.engine_full,
            self.disk_full,
            self.clock_is_set,
            self.writes_stop,
            self.bus_trouble,
        )

    async def power_cut(self) -> None:
        """Everything on a node is dead; then it boots."""
        node = self._a_node()
        if node.powered:
            self._world.say(f"power off {node.name}")
            self._world.power_off(node.name)
            await asyncio.sleep(self._rng.uniform(0.5, 25))
            self._world.power_on(node.name)

    async def engine_restart(self) -> None:
        """With its containers, or without."""
        node = self._a_node()
        if node.powered:
            self._world.say(f"engine of {node.name} restarts")
            self._world.crash_engine(node.name, containers=self._rng.random() < 0.5)
            await asyncio.sleep(self._rng.uniform(0.2, 10))
            if node.powered:
                node.engine.recover()

    async def engine_hang(self) -> None:
        """It takes calls and does not answer."""
        node = self._a_node()
        self._world.say(f"engine of {node.name} hangs")
        node.engine.faults.hang = True
        await asyncio.sleep(self._rng.uniform(1, 40))
        node.engine.faults.hang = False

    async def engine_lies(self) -> None:
        """Answers and events are lost, a container is removed behind everyone's back."""
        node = self._a_node()
        self._world.say(f"engine of {node.name} forgets and loses")
        node.engine.faults.lose_answer = node.engine.faults.lose_event = 0.2
        live = node.live()
        if live:
            node.engine.forget(self._rng.choice(live).view.id)
        await asyncio.sleep(self._rng.uniform(1, 15))
        node.engine.faults.lose_answer = node.engine.faults.lose_event = 0.0

    async def engine_invents(self) -> None:
        """A container that nobody asked for: somebody's own, another mesh's, a copy of a task, a task of long ago."""
        node, number = self._a_node(), self._rng.randint(1, 10**6)
        if node.engine.faults.down:
            return
        kind = self._rng.choice(("own", "other mesh", "copy", "long ago"))
        if kind == "long ago" and not self._has_assignment(node):
            return  # what runs on a node that nobody has given an assignment is kept, for good
        self._world.say(f"a container appears on {node.name}: {kind}")
        labels = _labels(node, f"zzz-{number}")
        name = container_name("shop_web", "1", f"zzz-{number}")
        if kind == "own":
            name, labels = f"mine-{number}", {}
        elif kind == "other mesh":
            labels[LABEL_MESH] = "another"
        elif kind == "copy":
            name = f"eager_{number}"
        made = node.engine.invent(name, labels)
        if kind != "long ago":
            node.engine.leave_alone(made)

    async def engine_full(self) -> None:
        """There is no room for new containers."""
        node = self._a_node()
        self._world.say(f"the engine's disk of {node.name} is full")
        node.engine.faults.disk_full = True
        await asyncio.sleep(self._rng.uniform(1, 25))
        node.engine.faults.disk_full = False

    async def disk_full(self) -> None:
        """An agent can write nothing down."""
        node = self._a_node()
        self._world.say(f"the agent's disk of {node.name} is full")
        node.files.full = True
        await asyncio.sleep(self._rng.uniform(1, 25))
        node.files.full = False

    async def clock_is_set(self) -> None:
        """A machine's wall clock is set, hours forth or back."""
        clocks = [node.clock for _, node in sorted(self._world.nodes.items())]
        clocks += [clock for _, clock in sorted(self._world.clocks.items())]
        clock, offset = self._rng.choice(clocks), self._rng.choice((0.0, -7200.0, 3600.0, 90_000.0))
        self._world.say(f"a clock is set from {clock.offset:+g} to {offset:+g} s")
        clock.offset = offset

    async def writes_stop(self) -> None:
        """As when a server dies."""
        seconds = self._rng.uniform(1, 9)
        self._world.say(f"no writes for {seconds:.1f} s")
        self._world.broker.pause_writes(seconds, late=self._rng.random() < 0.5)
        await asyncio.sleep(seconds)

    async def bus_trouble(self) -> None:
        """Everything that a network does."""
        faults, rng = self._world.broker.faults, self._rng
        self._world.say("messages are lost, doubled, late; commits are busy or unknown")
        faults.loss, faults.duplicate = rng.uniform(0, 0.1), rng.uniform(0, 0.1)
        faults.busy, faults.unknown = rng.uniform(0, 0.3), rng.uniform(0, 0.2)
        faults.read_lag, faults.snapshot_lag = rng.randint(0, 5), rng.randint(0, 5)
        faults.delay = (0.0, rng.choice((0.01, 0.1, 0.5)))
        await asyncio.sleep(rng.uniform(2, 20))
        faults.clear()
        faults.delay = DELAY

    def _has_assignment(self, node: Node) -> bool:
        stream = self._world.broker.state.stream
        return stream is not None and stream.get(f"desired.{node.name}") is not None

    def _a_node(self) -> Node:
        return self._world.nodes[self._rng.choice(sorted(self._world.nodes))]


def _labels(node: Node, task: str) -> dict[str, str]:
    return {
        LABEL_MESH: "sim",
        LABEL_NODE: node.name,
        "mesh.task": task,
        "mesh.service": "shop_web",
        "mesh.slot": "1",
        "mesh.revision": "1",
        "mesh.spec": "0" * 16,
        "mesh.stack": "shop",
    }


def mend_machines(world: World) -> None:
    """All is as it should be, but for the clocks."""
    world.broker.faults.clear()
    world.broker.faults.delay = DELAY
    world.broker.release()
    for name, node in sorted(world.nodes.items()):
        faults = node.engine.faults
        faults.hang = faults.down = faults.disk_full = node.files.full = False
        faults.lose_answer = faults.lose_event = 0.0
        if not node.powered:
            world.power_on(name)
