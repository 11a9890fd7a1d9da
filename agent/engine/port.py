"""The port to a container engine: what an agent may ask of it, and what it is told.

Two adapters: `agent.engine.docker` (real) and `agent.engine.memory` (simulation). Every method raises
`EngineUnavailable` when the engine does not answer within the call's time limit (whether it was done is then
unknown: look again), `NotFound` when the named container or volume is not there, `Conflict` when it is in use or its
name is taken, `ImageUnavailable` for a missing image, else `EngineError`: all `MeshError`s with one readable line.
An adapter changes only containers that carry the labels of an `Owner` which it has been asked about or has created
for: any other one is `Refused`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from schemas.nodeapi import LogPage
from schemas.observation import BoundPort, Health
from schemas.postmortem import HealthProbe
from schemas.spec import ReadyCheck

ContainerState = Literal["created", "running", "paused", "exited", "dead"]
"""As Docker has it; "restarting" is told as running, "removing" as dead."""

LABEL_MESH = "mesh.id"
LABEL_NODE = "mesh.node"
LABEL_TASK = "mesh.task"
LABEL_SERVICE = "mesh.service"
LABEL_SLOT = "mesh.slot"
LABEL_REVISION = "mesh.revision"
LABEL_SPEC = "mesh.spec"
LABEL_STACK = "mesh.stack"
LABEL_NETWORK = "mesh.network"
LABEL_INIT = "mesh.init"
"""On a container that runs before a task's own: the task's id."""


@dataclass(frozen=True)
class Owner:
    """Whose containers: several agents may share one engine."""

    mesh: str
    node: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels that all of its containers carry."""
        return {LABEL_MESH: self.mesh, LABEL_NODE: self.node}

    def owns(self, labels: Mapping[str, str]) -> bool:
        """Whether a thing with these labels is this owner's."""
        return all(labels.get(key) == value for key, value in self.labels.items())


def owner_of(labels: Mapping[str, str]) -> Owner:
    """Whose a thing with these labels is; empty names where they are missing."""
    return Owner(labels.get(LABEL_MESH, ""), labels.get(LABEL_NODE, ""))


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
class VolumePlan:
    """A named volume that must be there before a container is made; an `external` one is never made."""

    name: str
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    external: bool = False


@dataclass(frozen=True)
class NetworkPlan:
    """A network that the engine is to make. Ranges and addresses as text; `reserved`: addresses it may not give out."""

    name: str
    device: str
    subnet: str
    range: str
    gateway: str
    mtu: int
    internal: bool = False
    reserved: tuple[tuple[str, str], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Join:
    """A network, by the engine's name, that a container is to be on."""

    network: str


@dataclass(frozen=True)
class ContainerPlan:
    """What `Engine.create` makes: built by `agent.engine.container.plan_container`."""

    name: str
    image: str
    """The engine's own id of the image, so that a tag that moves does not matter."""
    labels: Mapping[str, str]
    body: Mapping[str, Any]
    """Docker's JSON of the create call."""
    volumes: tuple[VolumePlan, ...] = ()
    binds: tuple[str, ...] = ()
    """Host paths that must exist."""
    platform: str = ""


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


@dataclass(frozen=True)
class LogQuery:
    """Which page of a log. An empty `cursor` starts at `tail` lines from the end (-1: all) and not before `since`."""

    cursor: str = ""
    tail: int = -1
    since: float = 0.0
    """Seconds since 1970 by the engine's clock."""
    limit: int = 1000
    """Lines of the page."""
    wait: float = 0.0
    """Seconds to wait for a first line while there is none and the container runs."""


class Engine(Protocol):
    """One container engine. All methods may be called at the same time; adapters bound what really runs at once."""

    async def info(self) -> EngineInfo:
        """Facts and free space."""
        ...

    async def containers(self, owner: Owner) -> tuple[Container, ...]:
        """All of that owner's, ended ones too, sorted by name."""
        ...

    async def inspect(self, container: str) -> Container:
        """One by id or name. Raises NotFound."""
        ...

    async def setup(self, container: str) -> Setup:
        """How one is set up now. Raises NotFound."""
        ...

    async def changed_files(self, container: str) -> tuple[str, ...]:
        """What differs from its image, as "A /path" (added), "C ..." (changed), "D ..." (deleted), sorted by path.

        Walks its file system. Raises NotFound.
        """
        ...

    async def create(self, plan: ContainerPlan) -> str:
        """Make its volumes and then the container; its id. One of that name which has equal labels is it already.

        Raises:
            ImageUnavailable: the image is not there. Conflict: the name is taken.
            EngineError: a bind path or external volume is missing, disk full, a field that the engine refuses.
        """
        ...

    async def start(self, container: str) -> None:
        """Start it; does nothing while it runs. Raises EngineError: port taken, command not in the image, ..."""
        ...

    async def stop(self, container: str, *, signal: str = "", grace: float = 10.0) -> None:
        """Ask it to end ("": its own stop signal), kill it after `grace` seconds, return once it has ended."""
        ...

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        """Send a signal; does nothing when it has ended."""
        ...

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Forget it with its anonymous volumes; does nothing when it is gone. `force`: even if it runs."""
        ...

    async def logs(self, container: str, query: LogQuery) -> LogPage:
        """One page, oldest line first."""
        ...

    def events(self, owner: Owner) -> AsyncIterator[EngineEvent | EventGap]:
        """For ever; reconnects by itself and tells it with an `EventGap`. Close it with `aclosing`."""
        ...

    async def image(self, reference: str) -> ImageInfo | None:
        """The image with that tag, registry digest or id; None: it is not here. Never asks a registry."""
        ...

    async def images(self) -> tuple[ImageInfo, ...]:
        """All that is here."""
        ...

    async def digest(self, reference: str) -> str:
        """What its registry means by it now, "name@sha256:...", without getting it. Raises ImageUnavailable."""
        ...

    async def pull(
        self,
        reference: str,
        platform: str = "",
        progress: Callable[[PullProgress], None] | None = None,
        *,
        tag: str = "",
    ) -> ImageInfo:
        """Get it from its registry, and call it `tag`, too. Raises ImageUnavailable with the reason."""
        ...

    async def load(self, chunks: AsyncIterator[bytes]) -> tuple[str, ...]:
        """Load a docker-save archive in bounded memory: the references (or ids) it held."""
        ...

    def save(self, reference: str) -> AsyncIterator[bytes]:
        """The docker-save archive of an image, in bounded memory. Close it with `aclosing`."""
        ...

    async def remove_image(self, reference: str) -> None:
        """Remove it with its tags; does nothing when it is gone. Raises Conflict while a container needs it."""
        ...

    async def volumes(self) -> tuple[Volume, ...]:
        """All named volumes, sorted by name."""
        ...

    async def create_volume(self, plan: VolumePlan) -> None:
        """Make it; does nothing when it is there. Raises EngineError for an external one that is not."""
        ...

    async def remove_volume(self, name: str) -> None:
        """Remove it. Raises NotFound, or Conflict while a container uses it."""
        ...

    async def networks(self, owner: Owner) -> tuple[EngineNetwork, ...]:
        """That owner's, sorted by name."""
        ...

    async def create_network(self, plan: NetworkPlan) -> None:
        """Make it; does nothing when it is there. Raises Conflict when somebody else's has the name."""
        ...

    async def remove_network(self, name: str, owner: Owner) -> None:
        """Remove that owner's; does nothing when it is gone. Raises Conflict while a container runs on it."""
        ...

    async def attach(self, container: str, joins: Sequence[Join]) -> None:
        """Put a container that does not run yet on these networks, too. Raises NotFound."""
        ...

    async def probe(self, container: Container, check: ReadyCheck) -> str:
        """ "" if the running container answers as the check wants, else why not, in a few words."""
        ...

    async def other_ports(self, owner: Owner) -> tuple[BoundPort, ...]:
        """Host ports bound by running containers that are not that owner's."""
        ...

    async def path_exists(self, path: str) -> bool:
        """Whether a path of the engine's machine is there (for bind mounts)."""
        ...

    async def close(self) -> None:
        """End threads and connections; containers run on."""
        ...
