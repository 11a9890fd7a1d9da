"""A container's keys as canonical Compose: image, command, mounts, ports, health."""

from __future__ import annotations

import re
from typing import Any

from meshctl.compose.sparse import Always, kept, seconds, texts
from schemas.ports import Port
from schemas.spec import ContainerSpec, HealthCheck, Mount, ReadyCheck


class Volumes:
    """The top-level volumes that mounts stand for."""

    def __init__(self) -> None:
        self.declared: dict[str, dict[str, Any]] = {}

    def key(self, mount: Mount) -> str:
        """The key of the mount's volume, declared if it was not."""
        entry = kept(
            {
                "name": mount.source,
                "external": mount.external,
                "driver": mount.driver,
                "driver_opts": texts(mount.driver_opts),
                "labels": texts(mount.labels),
            }
        )
        base = re.sub(r"[^a-zA-Z0-9._-]+", "-", mount.source).strip("-") or "volume"
        names = (base if number == 1 else f"{base}-{number}" for number in range(1, len(self.declared) + 2))
        key = next(name for name in names if self.declared.get(name, entry) == entry)
        self.declared[key] = entry
        return key


def rendered_ready(check: ReadyCheck | None) -> dict[str, Any]:
    """`x-mesh.ready`."""
    if check is None:
        return {}
    asked = {"http": f":{check.port}{check.path}"} if check.kind == "http" else {"tcp": check.port}
    times = {"interval": seconds(check.interval, 5.0), "timeout": seconds(check.timeout, 2.0)}
    return {**asked, **times, "retries": check.retries}


def rendered_container(container: ContainerSpec, volumes: Volumes) -> dict[str, Any]:
    """The keys of a service that say what its container is; the volumes it mounts are declared in `volumes`."""
    same = (
        "platform", "user", "working_dir", "hostname", "tty", "stdin_open", "stop_signal", "read_only",
        "privileged", "pid", "ipc", "oom_score_adj", "network_mode",
    )  # fmt: skip
    lists = ("cap_add", "cap_drop", "security_opt", "group_add", "dns", "dns_search")
    logging = container.logging
    return {
        "image": container.image,
        "pull_policy": "" if container.pull_policy == "missing" else container.pull_policy,
        "entrypoint": Always(container.entrypoint),
        "command": Always(container.command),
        "environment": texts(container.environment),
        "labels": texts(container.labels),
        "sysctls": texts(container.sysctls),
        **{name: getattr(container, name) for name in same},
        **{name: list(getattr(container, name)) for name in lists},
        "dns_opt": list(container.dns_options),
        "extra_hosts": list(container.extra_hosts),
        "init": Always(container.init),
        "stop_grace_period": seconds(container.stop_grace, 10.0),
        "healthcheck": _health(container.healthcheck),
        "volumes": [_mount(mount, volumes) for mount in container.mounts],
        "networks": Always(_attachments(container) or None),
        "ports": [_port(port) for port in container.ports],
        "ulimits": {
            limit.name: {"soft": Always(limit.soft), "hard": Always(limit.hard)} for limit in container.ulimits
        },
        "devices": [f"{device.source}:{device.target}:{device.permissions}" for device in container.devices],
        "shm_size": container.shm_size,
        "logging": {"driver": logging.driver, "options": texts(logging.options)} if logging else None,
    }


def _health(check: HealthCheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    if check.test == ("NONE",):
        return {"disable": True}
    return {
        "test": list(check.test),
        "interval": seconds(check.interval),
        "timeout": seconds(check.timeout),
        "retries": check.retries,
        "start_period": seconds(check.start_period, 0.0),
        "start_interval": seconds(check.start_interval, 0.0),
    }


def _mount(mount: Mount, volumes: Volumes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": mount.kind, "target": mount.target, "read_only": mount.read_only}
    if mount.kind == "volume":
        return entry | {"source": volumes.key(mount), "volume": {"nocopy": mount.no_copy}}
    if mount.kind == "tmpfs":
        return entry | {"tmpfs": {"size": mount.size, "mode": f"0o{mount.mode:o}" if mount.mode else ""}}
    bind = {"propagation": mount.propagation, "create_host_path": mount.create_host_path}
    return entry | {"source": mount.source, "bind": bind}


def _attachments(container: ContainerSpec) -> dict[str, Any]:
    return {each.network: {"aliases": list(each.aliases)} if each.aliases else {} for each in container.networks}


def _port(port: Port) -> dict[str, Any]:
    protocol = "" if port.protocol == "tcp" else port.protocol
    published = port.span if len(port.choices) > 1 else port.published
    entry = {"target": port.target, "published": published, "protocol": protocol, "host_ip": port.host_ip}
    return entry | {"mode": port.mode}
