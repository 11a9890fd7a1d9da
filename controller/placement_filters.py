"""Which nodes can take a task, and of those that can't: why, as a `Miss` to be counted.

Two kinds: what holds for a whole round (state, constraints, platform, external volumes) and what each placement
changes (ports, reservations, tasks per node, the assignment's size).
"""

from __future__ import annotations

from controller.constraints import platform_fits, satisfied
from controller.ledger import TASK_BYTES, HostPort, Needs, Room, clash
from controller.nodes import NodeView
from controller.reasons import Miss, plain
from schemas.assignment import ASSIGNMENT_LIMIT
from schemas.ports import span
from schemas.spec import TaskSpec

NO_CPUS = Miss("lacks CPUs", "lack CPUs", "lacks CPUs")
NO_MEMORY = Miss("lacks memory", "lack memory", "lacks memory")
NO_NETWORKS = plain("can't have networks")
TOO_BIG = plain("full (1 MiB of assignment)")

_TROUBLES = {
    text: plain(text) for text in ("down", "not ready", "not heard yet", "silent", "drained", "paused", "removed")
} | {"without a node record": Miss("without a node record", "without a node record", "has no node record")}


def steady_miss(spec: TaskSpec, view: NodeView) -> Miss | None:
    """What keeps tasks of this spec off the node, whatever else runs there."""
    return state_miss(view) or fit_miss(spec, view)


def state_miss(view: NodeView) -> Miss | None:
    """What keeps every new task off the node."""
    return _TROUBLES[view.trouble] if view.trouble else None


def fit_miss(spec: TaskSpec, view: NodeView) -> Miss | None:
    """Where the node is not what the spec asks for."""
    for constraint in spec.placement.constraints:
        if not satisfied(constraint, view):
            return Miss(f"does not match {constraint}", f"do not match {constraint}", f"does not match {constraint}")
    platform = spec.container.platform
    if not platform_fits(platform, view.facts):
        return Miss(f"is not {platform}", f"are not {platform}", f"is not {platform}")
    if spec.container.networks and view.facts.networking:
        return NO_NETWORKS
    return None


def changing_miss(room: Room, needs: Needs, same: int, most: int, limit: int) -> Miss | None:
    """What is used up on the node. `same` of at most `most` (0: any) tasks of the service, `limit` tasks in all."""
    if (port := clash(room, needs)) is not None:
        return port_miss(port)
    if needs.cpus and room.cpus_taken + needs.cpus > room.cpus:
        return NO_CPUS
    if needs.memory and room.memory_taken + needs.memory > room.memory:
        return NO_MEMORY
    if most and same >= most:
        return plain(f"at {most} task{'s' if most > 1 else ''} of the service")
    if room.tasks >= limit:
        return plain(f"full ({limit} tasks)")
    extra = 0 if needs.spec in room.specs else needs.size
    return TOO_BIG if room.size + TASK_BYTES + extra > ASSIGNMENT_LIMIT else None


def port_miss(port: HostPort) -> Miss:
    """The port is somebody else's, or all of the range are."""
    which = f"port {port.port}" if len(port.choices) == 1 else f"all ports of {span(port.choices)}"
    taken = f"{which}/{port.protocol} taken"
    return Miss(f"has {taken}", f"have {taken}", f"has {taken}")
