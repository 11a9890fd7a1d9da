"""What a service is: the immutable spec that a revision freezes.

`TaskSpec` is what one container's life depends on; its `fingerprint` is the *spec hash*. Two revisions with
the same spec hash (only update policy or labels of the service differ) need no replacement of tasks.
Durations are seconds, sizes are bytes, CPUs are cores.
"""

from __future__ import annotations

from typing import Literal

from schemas.drift import DriftPolicy
from schemas.network import Attachment, EndpointMode
from schemas.ports import Port
from schemas.wire import Bytes, Count, Seconds, Token, Wire, fingerprint

SPEC_LIMIT = 64 * 1024
"""Bytes of one encoded spec (DESIGN: limits)."""

Mode = Literal["replicated", "global"]

OnReconnect = Literal["keep-replacement", "keep-original"]


class HealthCheck(Wire, frozen=True, kw_only=True):
    """Docker's health check. `test` as Docker has it: ("CMD", ...), ("CMD-SHELL", text) or ("NONE",)."""

    test: tuple[str, ...]
    interval: Seconds = 30.0
    timeout: Seconds = 30.0
    retries: Count = 3
    start_period: Seconds = 0.0
    start_interval: Seconds = 0.0


class ReadyCheck(Wire, frozen=True, kw_only=True):
    """Whether a task is ready, as its node's agent asks it: an HTTP answer from 200 to 399, or a TCP connection."""

    kind: Literal["http", "tcp"] = "tcp"
    port: Count
    """Of the container."""
    path: str = "/"
    interval: Seconds = 5.0
    timeout: Seconds = 2.0
    retries: Count = 3
    """So many bad answers in a row, and a ready task is not ready any more."""


class Mount(Wire, frozen=True, kw_only=True):
    """A volume, a path of the host, or memory, seen inside the container at `target`."""

    kind: Literal["volume", "bind", "tmpfs"]
    target: str
    source: str = ""
    read_only: bool = False
    external: bool = False
    """A named volume that somebody else makes: never created by Dockmesh."""
    driver: str = ""
    driver_opts: dict[str, str] = {}
    labels: dict[str, str] = {}
    no_copy: bool = False
    propagation: str = ""
    create_host_path: bool = False
    size: Bytes = 0
    mode: Count = 0


class Ulimit(Wire, frozen=True, kw_only=True):
    """A limit of the kernel by name ("nofile"); -1 is unlimited."""

    name: str
    soft: int
    hard: int


class Device(Wire, frozen=True, kw_only=True):
    """A device of the host inside the container."""

    source: str
    target: str
    permissions: str = "rwm"


class LogDriver(Wire, frozen=True, kw_only=True):
    """Docker's log driver and its options."""

    driver: str = "json-file"
    options: dict[str, str] = {}


class ContainerSpec(Wire, frozen=True, kw_only=True):
    """What the engine is asked to run. Placeholders like {{.Task.Slot}} stand unexpanded in it."""

    image: str
    """The reference as the user wrote it: name[:tag] or name@digest."""
    image_id: str = ""
    """The pinned identity, set by the api: "name@sha256:..." of a registry, or "sha256:..." of the image's config."""
    pull_policy: Literal["missing", "always", "never"] = "missing"
    platform: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    init: bool | None = None
    tty: bool = False
    stdin_open: bool = False
    stop_signal: str = ""
    stop_grace: Seconds = 10.0
    healthcheck: HealthCheck | None = None
    ready: ReadyCheck | None = None
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    read_only: bool = False
    privileged: bool = False
    security_opt: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    shm_size: Bytes = 0
    pid: str = ""
    ipc: str = ""
    group_add: tuple[str, ...] = ()
    oom_score_adj: int = 0
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    """As Docker takes them: "name:address"."""
    logging: LogDriver | None = None
    network_mode: str = ""
    """"" (the engine's default bridge), "host" or "none"; without effect where `networks` are named."""
    networks: tuple[Attachment, ...] = ()
    """Networks of the mesh; the first is the one that ports are published over."""


class Resources(Wire, frozen=True, kw_only=True):
    """CPUs in cores, memory in bytes, 0 is none. As limits: what is enforced; as reservations: what is set aside."""

    cpus: Seconds = 0.0
    memory: Bytes = 0
    pids: Count = 0


class RestartPolicy(Wire, frozen=True, kw_only=True):
    """When an ended task gets another in its slot.

    The n-th restart in a row waits `delay * 2**(n-1)`, at most `max_delay`; a task that ran for `reset_after` starts
    the row anew. `max_attempts` 0 is without limit, counted within `window` (0: for ever).
    """

    condition: Literal["none", "on-failure", "any"] = "any"
    delay: Seconds = 0.5
    max_delay: Seconds = 60.0
    max_attempts: Count = 0
    window: Seconds = 0.0
    reset_after: Seconds = 60.0


class Constraint(Wire, frozen=True, kw_only=True):
    """`key op value`, e.g. node.labels.zone == eu. Keys and values as in Docker."""

    key: str
    op: Literal["==", "!="]
    value: str

    def __str__(self) -> str:
        return f"{self.key}{self.op}{self.value}"


class Placement(Wire, frozen=True, kw_only=True):
    """Where tasks may and should run."""

    constraints: tuple[Constraint, ...] = ()
    spread: tuple[str, ...] = ()
    """Keys to spread over, outermost first: node.labels.zone."""
    max_per_node: Count = 0
    affinity: tuple[str, ...] = ()
    """Services (by their full names) that the node must run when a task is placed."""
    anti_affinity: tuple[str, ...] = ()
    """Services that the node must not run; nor are these placed beside one of its tasks. May name itself."""


class PreStart(Wire, frozen=True, kw_only=True):
    """What runs to its end, with code 0, before a task's container is made: on its node, volumes and networks.

    What is not given is as in the service's container; of another image, its own entrypoint and directory.
    """

    command: tuple[str, ...]
    image: str = ""
    image_id: str = ""
    """Pinned, as `ContainerSpec.image_id`; of the service's own image it is empty."""
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    """Over that of the service."""
    user: str = ""
    working_dir: str = ""


class TaskSpec(Wire, frozen=True, kw_only=True):
    """All that a task's life depends on."""

    container: ContainerSpec
    limits: Resources = Resources()
    reservations: Resources = Resources()
    restart: RestartPolicy = RestartPolicy()
    placement: Placement = Placement()
    pre_start: tuple[PreStart, ...] = ()
    """In this order, each once the one before has ended."""
    drift: DriftPolicy = "report"
    """What follows when its container is changed by hand."""
    stop_after: Seconds = 0.0
    """At most one at a time: a node that had no answer of the leader for so many seconds stops such a task by itself,
    and it is replaced only when that must have happened (`schemas.leases`). 0: it runs on where the node is cut off."""
    force: Count = 0
    """Raised by `service update --force` to have tasks replaced without another change."""

    @property
    def hash(self) -> str:
        """The spec hash: 16 hex digits."""
        return fingerprint(self)


class UpdatePolicy(Wire, frozen=True, kw_only=True):
    """Compose's update_config / rollback_config with Docker's meaning."""

    parallelism: Count = 1
    delay: Seconds = 0.0
    order: Literal["stop-first", "start-first"] = "stop-first"
    monitor: Seconds = 5.0
    failure_action: Literal["pause", "continue", "rollback"] = "pause"
    max_failure_ratio: Seconds = 0.0
    max_unavailable: str = ""
    """So many slots ("2") or such a share of them ("25%") may be without a task that is up once one is ended, for
    whatever reason they are. "": as `parallelism` says."""


Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]


class Dependency(Wire, frozen=True, kw_only=True):
    """Compose's depends_on: a service that must have got so far before a task is started."""

    service: Token
    """Its name in the mesh: <stack>_<name>."""
    condition: Condition = "service_started"
    restart: bool = False
    """An update that replaces its tasks replaces those of the dependent, too."""
    required: bool = True
    """False: it is not waited for once it has failed, or is not there."""


class ServiceSpec(Wire, frozen=True, kw_only=True):
    """A whole service but for its replica count, which is intent (`schemas.records.ServiceRecord`)."""

    name: Token
    task: TaskSpec
    stack: str = ""
    mode: Mode = "replicated"
    labels: dict[str, str] = {}
    update: UpdatePolicy = UpdatePolicy()
    rollback: UpdatePolicy = UpdatePolicy()
    progress_deadline: Seconds = 600.0
    """A rollout that does not get further for so long has failed; 0: never."""
    canary: Count = 0
    """So many slots get a new revision first; then it waits until it is promoted. 0: all get it."""
    endpoint_mode: EndpointMode = "vip"
    on_reconnect: OnReconnect = "keep-replacement"
    """Which of two is kept when a node comes back with a task that was replaced, both being up."""
    depends_on: tuple[Dependency, ...] = ()
    """No part of the task: a change of it replaces nothing."""
