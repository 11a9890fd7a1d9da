"""What must hold of networks in a simulated mesh, and what is looked at for it."""

from __future__ import annotations

from collections.abc import Callable

from agent.engine.memory_life import Life
from agent.network.leaving import LINGER, PROMPT_EVERY
from agent.network.model import View
from agent.network.networking import Networking
from bus.memory import EPOCH_OF_LOOPS
from schemas import subjects
from schemas.assignment import Assignment
from schemas.liveness import digest_of
from schemas.network import AllocationRecord, EndpointsRecord
from schemas.wire import decode
from tests.sim.machines import Node
from tests.sim.world import World

PREFIX = "mesh."
ANSWERED_BEFORE = LINGER + 2 * PROMPT_EVERY
"""Seconds before a stop signal by which the leader may have answered who holds what: the way of the answer, and the
agent's next look at it, come on top of what the task lingers."""


class NetworkWatch:
    """A backend is in no map of a node that is up once it gets its stop signal."""

    def __init__(self, world: World, violated: Callable[[str], None]) -> None:
        self._world = world
        self._violated = violated
        self.stops = 0
        """Stop signals of tasks with addresses that were looked at."""
        for node in world.nodes.values():
            node.engine.on_stop = self._watcher(node)

    def _watcher(self, node: Node) -> Callable[[Life], None]:
        def look(life: Life) -> None:
            self._stopping(node, life)

        return look

    def _stopping(self, node: Node, life: Life) -> None:
        task = life.view.labels.get("mesh.task", "")
        networking = node.agent.networking if node.agent is not None else None
        addresses = addresses_of(life)
        if networking is None or not addresses or task in networking.leaving.unnoticed:
            return
        self.stops += 1
        for name in sorted(self._known_ready()):
            other = self._world.nodes[name]
            stale = other.machine.table.destinations() & set(addresses.values())
            if stale and other.powered and not other.cut:
                self._violated(f"{task} on {node.name} is told to stop, and {name} still sends to {sorted(stale)}")

    def _known_ready(self) -> set[str]:
        """Those that were ready when the leader was asked who holds what, a while before the stop: one that is
        down by then is not waited for."""
        entries, asked = self._world.broker.state.existing().entries, EPOCH_OF_LOOPS + self._world.now - ANSWERED_BEFORE
        stored = {name: entries.get(subjects.liveness_key(name)) for name in self._world.ready()}
        return {name for name, entry in stored.items() if entry is not None and entry.at <= asked}


def addresses_of(life: Life) -> dict[str, str]:
    """Network of the mesh -> address of a container."""
    found = life.view.addresses.items()
    return {name.removeprefix(PREFIX): address for name, address in found if name.startswith(PREFIX)}


def stored(world: World) -> tuple[dict[str, AllocationRecord], dict[str, EndpointsRecord]]:
    """What the leader has allotted, and who answers, as the store has it."""
    entries = world.broker.state.existing().entries
    allotted = {
        key.removeprefix("alloc."): decode(entry.value, AllocationRecord)
        for key, entry in entries.items()
        if key.startswith("alloc.") and entry.value is not None
    }
    endpoints = {
        key.removeprefix("endpoints."): decode(entry.value, EndpointsRecord)
        for key, entry in entries.items()
        if key.startswith("endpoints.") and key != "endpoints.publish" and entry.value is not None
    }
    return allotted, endpoints


def up(world: World, network: str, service: str) -> set[str]:
    """Addresses of a service's containers that run and are not unhealthy."""
    lives = [life for (name, _), each in world.live().items() if name == service for _, life in each]
    found = (addresses_of(life).get(network) for life in lives if life.view.health in ("", "healthy"))
    return {address for address in found if address}


def _standing(world: World, networking: Networking) -> int:
    """The digest of the records of a node's networks in the store."""
    networks = {"", *networking.networks(), *networking.following.view.everywhere}
    return digest_of(
        entry.sequence
        for key, entry in world.broker.state.existing().entries.items()
        if key.startswith(("alloc.", "endpoints.")) and subjects.network_of(key) in networks and entry.value is not None
    )


def unsettled_networks(world: World) -> str:
    """Why some node's rules are not (yet) what they should be; "" if all are."""
    allotted, endpoints = stored(world)
    for name, node in sorted(world.nodes.items()):
        networking = node.agent.networking if node.agent is not None else None
        if networking is not None and networking.digest != _standing(world, networking):
            return f"{name} tells of other records of its networks than stand in the store"
        for record in endpoints.values():
            allocation = allotted.get(record.network)
            if allocation is None or f"vx-m{allocation.vni}" not in node.machine.tunnels or not record.vip:
                continue
            have = node.machine.table.backends().get(record.vip, set())
            want = up(world, record.network, record.service)
            if have != want:
                return f"{name} sends {record.service} on {record.network} to {sorted(have)}, up are {sorted(want)}"
        if not allotted and not node.machine.clean and not _as_before_a_loss(world, node):
            return f"{name} has something left: {node.machine}"
    return ""


def _as_before_a_loss(world: World, node: Node) -> bool:
    """Whether a node may have networks of which the store, made anew, knows nothing: it was told nothing since, a
    container is on one, or a task of a service that the store does not know, which stays assigned though it has ended;
    or all that it has are those on which it holds ports to be published, and the store says nothing of ports. Absence
    decides nothing."""
    entries = world.broker.state.existing().entries
    entry = entries.get(subjects.desired_key(node.name))
    if entry is None or entry.value is None or any(addresses_of(life) for life in node.live()):
        return True
    held = decode(entry.value, Assignment)
    unknown = {task.spec for task in held.tasks if subjects.service_key(task.service) not in entries}
    if world.restored_at > 0 and any(held.specs[spec].container.networks for spec in unknown):
        return True
    return world.restored_at > 0 and subjects.PUBLISH not in entries and _has_only_published(node)


def _has_only_published(node: Node) -> bool:
    """Whether its links are those of networks that it takes every node to have, by a record that it holds."""
    view = node.agent.networking.following.view if node.agent is not None else View()
    published = {f"vx-m{view.allocations[name].vni}" for name in view.everywhere if name in view.allocations}
    return bool(published) and node.machine.tunnels.keys() <= published
