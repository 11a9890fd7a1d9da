"""What a container is set up with, as far as somebody may change it behind the mesh's back: made of plans. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent.engine.model import ContainerState, Setup
from agent.engine.plans import ContainerPlan, Join

DEFAULT_NETWORK = "bridge"


def planned_setup(plan: ContainerPlan, joins: Iterable[Join] = (), state: ContainerState = "running") -> Setup:
    """The setup of a container that was made by `plan` and put on `joins`, too."""
    host = plan.body.get("HostConfig") or {}
    mode = str(host.get("NetworkMode") or "default")
    first = DEFAULT_NETWORK if mode == "default" else mode
    return Setup(
        name=plan.name,
        state=state,
        cpus=float(host.get("NanoCpus") or 0) / 1e9,
        memory=int(host.get("Memory") or 0),
        memory_reservation=int(host.get("MemoryReservation") or 0),
        pids=int(host.get("PidsLimit") or 0),
        restart=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
        networks=tuple(sorted({first, *(join.network for join in joins)})),
    )
