"""What an engine has and tells: itself, containers, images, volumes, networks, events. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.observation import BoundPort, Health
from schemas.postmortem import HealthProbe

ContainerState = Literal["created", "running", "paused", "exited", "dead"]
"""As Docker has it; "restarting" is told as running, "removing" as dead."""


@dataclass(frozen=True)
class EngineInfo:
    """What the engine tells of itself and its machine. Sizes are bytes."""

    version: str = ""
    api_version: str = ""
    hostname: str = ""
    os: str = "linux"
    architecture: str = ""
    """As the kernel has it: x86_64, aarch64."""
    kernel: str = ""
    cpus: float = 0.0
    memory: int = 0
    storage_driver: str = ""
    cgroup: str = ""
    """Version and driver: "v2 systemd"."""
    security: tuple[str, ...] = ()
    """Names of its security options, sorted: apparmor, seccomp, rootless."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Settings of its kernel; none where that can't be seen from here."""
    labels: Mapping[str, str] = field(default_factory=dict)
    data_root: str = ""
    disk_total: int = 0
    disk_free: int = 0
    """Of the file system that the data root is on; both 0 where it can't be seen from here."""


@dataclass(frozen=True)
class Container:
    """A container as the engine has it now. Times are seconds since 1970 by the engine's clock; 0.0 is never."""

    id: str
    name: str
    state: ContainerState
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    """The engine's id of the image it was made from."""
    health: Health = ""
    """Only while it runs: engines let a last, broken check count for an ended one."""
    health_log: str = ""
    """What its last health check printed."""
    probes: tuple[HealthProbe, ...] = ()
    """Its last health checks, oldest first."""
    exit_code: int | None = None
    """Set once it has ended."""
    oom_killed: bool = False
    told_to_end: bool = False
    """It has ended because it got its stop signal (or SIGKILL), and not from this agent: its engine was stopped or
    killed, or somebody stopped it by hand."""
    error: str = ""
    """Why the engine could not start it, in one line."""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    ports: tuple[BoundPort, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Engine's network -> address there, while it runs."""
    not_ready: str | None = None
    """What this agent's own check says, put in by whoever makes it (`agent.readiness`); None: nothing."""
    stop_grace: float | None = None
    """Seconds it was made with to end by itself after the stop signal."""

    @property
    def alive(self) -> bool:
        """It runs (a paused one does)."""
        return self.state in ("running", "paused")

    @property
    def ended(self) -> bool:
        """It ran, or was to run, and does not any more."""
        return self.state in ("exited", "dead")


@dataclass(frozen=True)
class Setup:
    """What can be changed of a container without making it anew. CPUs in cores, sizes in bytes, 0 is no limit."""

    name: str
    state: ContainerState
    cpus: float = 0.0
    memory: int = 0
    memory_reservation: int = 0
    pids: int = 0
    restart: str = "no"
    networks: tuple[str, ...] = ()
    """By the engine's names, sorted."""


@dataclass(frozen=True)
class EngineNetwork:
    """A network as the engine has it. `device`: its bridge."""

    name: str
    device: str
    range: str
    mtu: int
    subnet: str = ""
    internal: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


EventAction = Literal["create", "start", "die", "oom", "health", "pause", "unpause", "kill", "destroy", "other"]


@dataclass(frozen=True)
class EngineEvent:
    """Something happened to a container. May come twice; look (`inspect`) before you act."""

    action: EventAction
    container: str
    labels: Mapping[str, str] = field(default_factory=dict)
    at: float = 0.0
    exit_code: int | None = None
    health: Health = ""
    signal: int = 0
    """Of a kill: the signal's number."""


@dataclass(frozen=True)
class EventGap:
    """Events may be missing before this point (also told once at the start): list the containers anew."""

    why: str


@dataclass(frozen=True)
class ImageInfo:
    """An image that the engine has."""

    id: str
    """The engine's id; run containers by it."""
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """Registry digests: "name@sha256:..."."""
    size: int = 0
    created_at: float = 0.0
    os: str = "linux"
    architecture: str = ""
    variant: str = ""
    id_is_config: bool = True
    """Whether `id` is the digest of the image's config (classic stores), not of its manifest (containerd stores)."""


@dataclass(frozen=True)
class PullProgress:
    """How far a pull is. `total` 0: not known yet."""

    reference: str
    status: str
    current: int = 0
    total: int = 0


@dataclass(frozen=True)
class Volume:
    """A named volume on the engine."""

    name: str
    driver: str = "local"
    labels: Mapping[str, str] = field(default_factory=dict)
