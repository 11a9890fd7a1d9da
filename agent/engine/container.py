"""From a task's spec to the engine's create call. Pure: the same arguments give the same plan.

The body is Docker's JSON of `POST /containers/create`; no library stands between. Docker's own restart policy is
always "no": who restarts what is the mesh's decision. Mounts use the strict form: a missing host path is an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent.engine.host_config import host_config, resource_limits
from agent.engine.labels import (
    LABEL_REVISION,
    LABEL_SERVICE,
    LABEL_SLOT,
    LABEL_SPEC,
    LABEL_STACK,
    LABEL_STOP_AFTER,
    LABEL_TASK,
    Owner,
)
from agent.engine.plans import ContainerPlan, Join, VolumePlan
from schemas.assignment import container_name
from schemas.placeholders import LABELS as LABEL_PLACEHOLDERS
from schemas.placeholders import expand
from schemas.spec import ContainerSpec, HealthCheck, Mount, TaskSpec


@dataclass(frozen=True)
class TaskContext:
    """What a container is made for: fills labels, name and placeholders."""

    owner: Owner
    task: str
    service: str
    slot: str
    revision: int
    spec_hash: str
    stack: str = ""
    hostname: str = ""
    """The node's."""
    os: str = "linux"
    architecture: str = ""
    service_labels: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    """More labels of the agent's own."""
    joins: tuple[Join, ...] = ()
    """Networks of the mesh. Docker's own aliases are not used: they would hide tasks on other nodes."""
    dns: tuple[str, ...] = ()
    """Who answers for the names of these networks."""

    @property
    def name(self) -> str:
        """The container's name."""
        return container_name(self.service, self.slot, self.task)

    @property
    def placeholders(self) -> dict[str, str]:
        """The values of Docker's placeholders."""
        values = {
            "Service.ID": self.service,
            "Service.Name": self.service,
            "Node.ID": self.owner.node,
            "Node.Hostname": self.hostname or self.owner.node,
            "Node.Platform.OS": self.os,
            "Node.Platform.Architecture": self.architecture,
            "Task.ID": self.task,
            "Task.Name": self.name,
            "Task.Slot": self.slot,
        }
        return values | {f"{LABEL_PLACEHOLDERS}{key}": value for key, value in self.service_labels.items()}


def plan_container(spec: TaskSpec, context: TaskContext, image: str) -> ContainerPlan:
    """The create call for one task. `image` is the engine's own id of the image (`ImageInfo.id`)."""
    container = spec.container
    values = context.placeholders
    mounts = tuple(_expanded(mount, values) for mount in container.mounts)
    labels = task_labels(container, context) | _lease_label(spec)
    return ContainerPlan(
        name=context.name,
        image=image,
        labels=labels,
        body=_config(container, values, labels, image)
        | {
            "HostConfig": host_config(container, mounts)
            | resource_limits(spec.limits, spec.reservations)
            | _network_config(container, context)
        },
        volumes=tuple(_volume(mount) for mount in mounts if mount.kind == "volume" and mount.source),
        binds=tuple(mount.source for mount in mounts if mount.kind == "bind" and not mount.create_host_path),
        platform=container.platform,
    )


def task_labels(container: ContainerSpec, context: TaskContext) -> dict[str, str]:
    """The user's labels, then the mesh's, which win."""
    mesh = context.owner.labels | {
        LABEL_TASK: context.task,
        LABEL_SERVICE: context.service,
        LABEL_SLOT: context.slot,
        LABEL_REVISION: str(context.revision),
        LABEL_SPEC: context.spec_hash,
        LABEL_STACK: context.stack,
    }
    return dict(container.labels) | dict(context.labels) | mesh


def _lease_label(spec: TaskSpec) -> dict[str, str]:
    """For an agent that has lost the spec."""
    return {LABEL_STOP_AFTER: str(spec.stop_after)} if spec.stop_after else {}


def named_volumes(container: ContainerSpec, context: TaskContext) -> tuple[VolumePlan, ...]:
    """The named volumes that a task of this slot uses, placeholders filled in."""
    mounts = (_expanded(mount, context.placeholders) for mount in container.mounts)
    return tuple(_volume(mount) for mount in mounts if mount.kind == "volume" and mount.source)


def _expanded(mount: Mount, values: Mapping[str, str]) -> Mount:
    return msgspec.structs.replace(
        mount,
        target=expand(mount.target, values),
        source=expand(mount.source, values),
        driver_opts={key: expand(value, values) for key, value in mount.driver_opts.items()},
        labels={key: expand(value, values) for key, value in mount.labels.items()},
    )


def _volume(mount: Mount) -> VolumePlan:
    return VolumePlan(mount.source, mount.driver, dict(mount.driver_opts), dict(mount.labels), mount.external)


def _config(
    container: ContainerSpec, values: Mapping[str, str], labels: Mapping[str, str], image: str
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Image": image,
        "Labels": dict(labels),
        "Env": [f"{name}={expand(value, values)}" for name, value in container.environment.items()],
        "Tty": container.tty,
        "OpenStdin": container.stdin_open,
        "StopTimeout": math.ceil(container.stop_grace),
        "ExposedPorts": {f"{port.target}/{port.protocol}": {} for port in container.ports},
    }
    optional = {
        "Hostname": expand(container.hostname, values),
        "User": container.user,
        "WorkingDir": container.working_dir,
        "StopSignal": container.stop_signal,
    }
    body |= {key: value for key, value in optional.items() if value}
    if container.entrypoint is not None:
        # Docker's way to say "none" is one empty word; an empty list would mean the image's.
        body["Entrypoint"] = list(container.entrypoint) or [""]
    if container.command is not None:
        body["Cmd"] = list(container.command)
    if container.healthcheck is not None:
        body["Healthcheck"] = _health(container.healthcheck)
    return body


def _health(check: HealthCheck) -> dict[str, Any]:
    if check.test[:1] == ("NONE",):
        return {"Test": ["NONE"]}
    body: dict[str, Any] = {
        "Test": list(check.test),
        "Interval": _nanoseconds(check.interval),
        "Timeout": _nanoseconds(check.timeout),
        "Retries": check.retries,
        "StartPeriod": _nanoseconds(check.start_period),
    }
    if check.start_interval:
        body["StartInterval"] = _nanoseconds(check.start_interval)
    return body


def _nanoseconds(seconds: float) -> int:
    # Engines refuse a duration below a millisecond unless it is 0 (which means their default).
    return 0 if seconds <= 0 else max(1_000_000, round(seconds * 1e9))


def _network_config(container: ContainerSpec, context: TaskContext) -> dict[str, Any]:
    """The first network; the engine is asked for the others before the start. Names are asked of the mesh first."""
    if not context.joins:
        return {}
    options = list(container.dns_options)
    if not any(option.startswith("timeout:") for option in options):
        # Any `ndots` of the machine would stop names of one word: an option of our own replaces them all.
        options.append("timeout:2")
    return {
        "NetworkMode": context.joins[0].network,
        "Dns": [*context.dns, *container.dns],
        "DnsOptions": options,
    }
