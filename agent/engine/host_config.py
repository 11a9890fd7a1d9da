"""The part of the engine's create call that says how a container stands on its machine. Pure."""

from __future__ import annotations

from typing import Any

from schemas.spec import ContainerSpec, Device, LogDriver, Mount, Resources

LOG_CAP = {"max-size": "10m", "max-file": "3"}
"""What a json-file or local log may grow to, unless the spec says otherwise."""

_CAPPED_DRIVERS = ("json-file", "local")


def host_config(container: ContainerSpec, mounts: tuple[Mount, ...]) -> dict[str, Any]:
    """What of `HostConfig` follows from the container alone; `mounts` with their placeholders filled in."""
    host: dict[str, Any] = {
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "LogConfig": _log_config(container.logging),
        "NetworkMode": container.network_mode or "default",
        "PortBindings": _bindings(container),
        "Binds": [_bind(mount) for mount in mounts if mount.kind == "bind" and mount.create_host_path],
        "Mounts": [_mount(mount) for mount in mounts if not (mount.kind == "bind" and mount.create_host_path)],
        "Privileged": container.privileged,
        "ReadonlyRootfs": container.read_only,
        "OomScoreAdj": container.oom_score_adj,
    }
    if container.init is not None:
        host["Init"] = container.init
    lists: dict[str, list[Any]] = {
        "CapAdd": list(container.cap_add),
        "CapDrop": list(container.cap_drop),
        "SecurityOpt": list(container.security_opt),
        "GroupAdd": list(container.group_add),
        "Dns": list(container.dns),
        "DnsSearch": list(container.dns_search),
        "DnsOptions": list(container.dns_options),
        "ExtraHosts": list(container.extra_hosts),
        "Ulimits": [{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in container.ulimits],
        "Devices": [_device(device) for device in container.devices],
    }
    optional: dict[str, Any] = {
        "Sysctls": dict(container.sysctls),
        "ShmSize": container.shm_size,
        "PidMode": container.pid,
        "IpcMode": container.ipc,
    }
    return host | {key: value for key, value in (lists | optional).items() if value}


def _device(device: Device) -> dict[str, str]:
    return {
        "PathOnHost": device.source,
        "PathInContainer": device.target or device.source,
        "CgroupPermissions": device.permissions,
    }


def resource_limits(limits: Resources, reservations: Resources) -> dict[str, Any]:
    """CPUs, memory and processes, in the engine\'s units."""
    body = {
        "NanoCpus": round(limits.cpus * 1e9),
        "Memory": limits.memory,
        "PidsLimit": limits.pids,
        "MemoryReservation": reservations.memory,
    }
    return {key: value for key, value in body.items() if value}


def _log_config(logging: LogDriver | None) -> dict[str, Any]:
    driver = (logging.driver if logging else "") or "json-file"
    options = dict(logging.options) if logging else {}
    return {"Type": driver, "Config": (LOG_CAP | options) if driver in _CAPPED_DRIVERS else options}


def _bindings(container: ContainerSpec) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in container.ports:
        if port.mode == "host":
            # Of a range ("8000-8010") the engine picks a free one; of an empty HostPort any.
            at = {"HostIp": port.host_ip, "HostPort": port.span}
            bindings.setdefault(f"{port.target}/{port.protocol}", []).append(at)
    return bindings


def _bind(mount: Mount) -> str:
    options = [word for word in ("ro" if mount.read_only else "", mount.propagation) if word]
    return ":".join([mount.source, mount.target, *([",".join(options)] if options else [])])


def _mount(mount: Mount) -> dict[str, Any]:
    body: dict[str, Any] = {"Type": mount.kind, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.kind != "tmpfs" and mount.source:
        body["Source"] = mount.source
    if mount.kind == "bind" and mount.propagation:
        body["BindOptions"] = {"Propagation": mount.propagation}
    if mount.kind == "volume":
        options = _volume_options(mount)
        body |= {"VolumeOptions": options} if options else {}
    if mount.kind == "tmpfs":
        options = {key: value for key, value in (("SizeBytes", mount.size), ("Mode", mount.mode)) if value}
        body |= {"TmpfsOptions": options} if options else {}
    return body


def _volume_options(mount: Mount) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if mount.no_copy:
        options["NoCopy"] = True
    if mount.labels:
        options["Labels"] = dict(mount.labels)
    if mount.driver or mount.driver_opts:
        options["DriverConfig"] = {"Name": mount.driver or "local", "Options": dict(mount.driver_opts)}
    return options
