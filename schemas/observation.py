"""The observation: all that one node does run, one record in `KV_mesh_observed`, written by its agent.

An ended task stays in the observation (and its container on the engine) until an assignment no longer names it.
"""

from __future__ import annotations

from typing import Literal

from schemas.assignment import Applied
from schemas.wire import Bytes, Count, Seconds, Token, Wire

TaskState = Literal["new", "pulling", "starting", "running", "stopping", "exited", "failed"]
"""`exited`: ended with code 0 or stopped on request. `failed`: ended otherwise, or never started."""

ENDED: frozenset[TaskState] = frozenset({"exited", "failed"})

Health = Literal["", "starting", "healthy", "unhealthy"]
"""As the engine tells it; "" where there is no health check."""

LOG_TAIL_LINES = 10
LOG_TAIL_WIDTH = 256
"""The last log lines kept with an ended task: at most so many, each cut to so many characters."""


class BoundPort(Wire, frozen=True, kw_only=True):
    """A port as the engine bound it."""

    target: Count
    published: Count
    protocol: Literal["tcp", "udp"] = "tcp"
    host_ip: str = ""


class ObservedTask(Wire, frozen=True, kw_only=True):
    """One task as its node sees it."""

    id: str
    service: Token
    slot: str
    revision: Count
    spec: str
    state: TaskState
    stack: str = ""
    since: Seconds = 0.0
    """Seconds since 1970 (the node's wall clock) at which this state began: for people."""
    health: Health = ""
    not_ready: str = ""
    """Why its agent's own check (`ContainerSpec.ready`) says that it is not ready; "": it is, or is not checked."""
    container: str = ""
    """The engine's id of the container; "" before it was created."""
    image: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    """Why it failed, in one line; "" if it did not."""
    log_tail: tuple[str, ...] = ()
    ports: tuple[BoundPort, ...] = ()
    ran: Seconds = 0.0
    """Seconds it ran, once it has ended."""
    predecessor: str = ""
    """Of a successor: the id of the task that it replaced without the leader."""
    addresses: dict[str, str] = {}
    """Network of the mesh -> the task's address there, while its container runs."""

    @property
    def ended(self) -> bool:
        """Nothing of it runs any more, and never will."""
        return self.state in ENDED

    @property
    def up(self) -> bool:
        """Running, healthy where there is a health check, and ready where its agent checks that."""
        return self.state == "running" and self.health in ("", "healthy") and not self.not_ready


class EndedTask(Wire, frozen=True, kw_only=True):
    """What is kept of a task in its service's history."""

    id: str
    node: str
    revision: Count
    state: TaskState
    at: float = 0.0
    """Stream time at which the leader saw it ended."""
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    log_tail: tuple[str, ...] = ()
    image: str = ""
    why: str = ""
    """Why it was to end, where that was wanted."""
    spec: str = ""
    """Its spec hash."""


class NodeFacts(Wire, frozen=True, kw_only=True):
    """What a node is: told by its agent, never set by people."""

    hostname: str = ""
    address: str = ""
    os: str = "linux"
    architecture: str = ""
    cpus: Seconds = 0.0
    memory: Bytes = 0
    engine_version: str = ""
    agent_version: str = ""
    kernel: str = ""
    storage_driver: str = ""
    cgroup: str = ""
    """Version and driver: "v2 systemd"."""
    security: tuple[str, ...] = ()
    """The engine's security options by name."""
    sysctls: dict[str, str] = {}
    """Settings of the kernel that matter to containers, as far as they can be seen."""
    engine_labels: dict[str, str] = {}
    controller: bool = False
    """A controller runs on this machine: what node.role==manager means."""
    routes: tuple[str, ...] = ()
    """Address ranges that this machine routes besides those of the mesh's networks."""
    networking: str = "not told"
    """Why this node can't have networks of the mesh; "" if it can."""


class Observation(Wire, frozen=True, kw_only=True):
    """`<node>` in `KV_mesh_observed`."""

    node: Token
    instance: str
    """The agent's identity, kept in its data directory."""
    boot: str
    """The kernel's boot id: a new one means that nothing of before runs."""
    counter: Count
    """Rises with every observation of this instance."""
    applied: Applied = Applied()
    tasks: tuple[ObservedTask, ...] = ()
    volumes: tuple[str, ...] = ()
    """Names of the volumes on this node's engine."""
    prepared: dict[str, str] | None = None
    """Of what the assignment wants prepared: spec hash -> "" (the image is here), or why it can't be had. None: this
    agent does not prepare anything."""
    ports_taken: tuple[BoundPort, ...] = ()
    """Host ports bound by containers that are not the mesh's."""
    facts: NodeFacts = NodeFacts()
    engine: str = ""
    """Why the engine can't be used now; "" while it answers."""
    troubles: dict[str, str] = {}
    """What of its networks does not work here: thing ("8080/tcp", an address, ...) -> why."""
    at: Seconds = 0.0
