"""Docker's JSON as the port's structs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from agent.engine.docker_texts import explain
from agent.engine.logs import nanoseconds_of
from agent.engine.model import (
    Container,
    ContainerState,
    EngineEvent,
    EngineInfo,
    EventAction,
    ImageInfo,
    PullProgress,
    Setup,
    Volume,
)
from schemas.observation import BoundPort, Health
from schemas.postmortem import POST_MORTEM_PROBES, HealthProbe

Json = Mapping[str, Any]

_STATES: dict[str, ContainerState] = {
    "created": "created",
    "running": "running",
    "restarting": "running",
    "paused": "paused",
    "exited": "exited",
    "dead": "dead",
    "removing": "dead",
}
_ACTIONS: dict[str, EventAction] = {
    "create": "create",
    "start": "start",
    "die": "die",
    "oom": "oom",
    "pause": "pause",
    "unpause": "unpause",
    "kill": "kill",
    "destroy": "destroy",
}
_NO_LABELS = frozenset({"image", "name", "exitCode", "signal", "execID", "execDuration"})
"""Attributes that Docker puts among the labels in its events."""

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_EVERYWHERE = ("", "0.0.0.0", "::")


def container_view(data: Json) -> Container:
    """The answer of an inspect call."""
    state = data.get("State") or {}
    config = data.get("Config") or {}
    status = _STATES.get(state.get("Status", ""), "dead")
    started = seconds_of(state.get("StartedAt"))
    error = explain(state.get("Error") or "")
    never_started = status == "created" and bool(error)
    return Container(
        id=data["Id"],
        name=data.get("Name", "").lstrip("/"),
        state=status,
        labels=dict(config.get("Labels") or {}),
        image=data.get("Image", ""),
        health=_health((state.get("Health") or {}).get("Status", "")) if status in ("running", "paused") else "",
        health_log=_health_log(state.get("Health") or {}),
        probes=_probes(state.get("Health") or {}),
        exit_code=state.get("ExitCode") if status in ("exited", "dead") or never_started else None,
        oom_killed=bool(state.get("OOMKilled")),
        error=error,
        created_at=seconds_of(data.get("Created")),
        started_at=started,
        finished_at=seconds_of(state.get("FinishedAt")),
        ports=bound_ports((data.get("NetworkSettings") or {}).get("Ports") or {}),
        addresses=_addresses((data.get("NetworkSettings") or {}).get("Networks") or {}),
        stop_grace=config.get("StopTimeout"),
    )


def setup_view(data: Json) -> Setup:
    """How an inspect call says that a container is set up."""
    host = data.get("HostConfig") or {}
    return Setup(
        name=data.get("Name", "").lstrip("/"),
        state=_STATES.get((data.get("State") or {}).get("Status", ""), "dead"),
        cpus=_cores(host),
        memory=int(host.get("Memory") or 0),
        memory_reservation=int(host.get("MemoryReservation") or 0),
        pids=max(0, int(host.get("PidsLimit") or 0)),
        restart=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
        networks=tuple(sorted((data.get("NetworkSettings") or {}).get("Networks") or {})),
    )


def _cores(host: Json) -> float:
    """Cores as they were given, or as quota and period (which `docker update --cpu-quota` sets)."""
    if nano := int(host.get("NanoCpus") or 0):
        return nano / 1e9
    quota = int(host.get("CpuQuota") or 0)
    return quota / (int(host.get("CpuPeriod") or 0) or 100_000) if quota > 0 else 0.0


def changed_files(entries: list[dict[str, Any]] | None) -> tuple[str, ...]:
    """The answer of a changes call."""
    found = ((str(entry["Path"]), "CAD"[int(entry["Kind"])]) for entry in entries or ())
    return tuple(f"{kind} {path}" for path, kind in sorted(found))


def _health_log(health: Mapping[str, Any]) -> str:
    log = health.get("Log") or ()
    return str(log[-1].get("Output", "")).strip() if log else ""


def _probes(health: Mapping[str, Any]) -> tuple[HealthProbe, ...]:
    log = list(health.get("Log") or ())[-POST_MORTEM_PROBES:]
    return tuple(
        HealthProbe(
            at=str(each.get("End") or each.get("Start") or ""),
            exit_code=int(each.get("ExitCode") or 0),
            output=str(each.get("Output", "")).strip(),
        )
        for each in log
    )


def _addresses(networks: Mapping[str, Json]) -> dict[str, str]:
    return {name: each["IPAddress"] for name, each in sorted(networks.items()) if each.get("IPAddress")}


def _health(status: str) -> Health:
    return cast("Health", status) if status in ("starting", "healthy", "unhealthy") else ""


def listed_key(data: Json) -> tuple[str, str, int]:
    """What tells from a list entry that a container has changed since it was inspected."""
    health = re.search(r"\((healthy|unhealthy|health: starting)\)", data.get("Status", ""))
    return data.get("State", ""), health.group(1) if health else "", len(data.get("Ports") or ())


def bound_ports(ports: Mapping[str, list[Json] | None]) -> tuple[BoundPort, ...]:
    """The ports of an inspect call; one that is bound on all IPv4 and IPv6 addresses is told once."""
    found: list[BoundPort] = []
    for target, places in sorted(ports.items()):
        number, _, protocol = target.partition("/")
        if protocol not in ("tcp", "udp"):
            continue
        places = [place for place in places or () if place.get("HostPort")]
        if any(place["HostIp"] == "0.0.0.0" for place in places):
            places = [place for place in places if place["HostIp"] != "::"]
        found += [_port(int(number), int(place["HostPort"]), protocol, place.get("HostIp", "")) for place in places]
    return tuple(found)


def listed_ports(data: Json) -> tuple[BoundPort, ...]:
    """The host ports of a list entry, each once."""
    found = (
        _port(entry["PrivatePort"], entry["PublicPort"], entry["Type"], entry.get("IP", ""))
        for entry in data.get("Ports") or ()
        if entry.get("PublicPort") and entry.get("Type") in ("tcp", "udp")
    )
    return tuple(dict.fromkeys(found))


def _port(target: int, published: int, protocol: str, address: str) -> BoundPort:
    return BoundPort(
        target=target,
        published=published,
        protocol=cast("Literal['tcp', 'udp']", protocol),
        host_ip="" if address in _EVERYWHERE else address,
    )


def info_view(data: Json, api_version: str, disk: tuple[int, int]) -> EngineInfo:
    """The answer of an info call; `disk`: total and free bytes of the data root's file system."""
    labels = (label.partition("=") for label in data.get("Labels") or ())
    return EngineInfo(
        version=data.get("ServerVersion", ""),
        api_version=api_version,
        hostname=data.get("Name", ""),
        os=data.get("OSType", "linux"),
        architecture=data.get("Architecture", ""),
        kernel=data.get("KernelVersion", ""),
        cpus=float(data.get("NCPU") or 0),
        memory=int(data.get("MemTotal") or 0),
        storage_driver=data.get("Driver", ""),
        cgroup=" ".join(filter(None, (_cgroup_version(data), data.get("CgroupDriver", "")))),
        security=tuple(sorted({_option(text) for text in data.get("SecurityOptions") or ()})),
        labels={key: value for key, _, value in labels},
        data_root=data.get("DockerRootDir", ""),
        disk_total=disk[0],
        disk_free=disk[1],
    )


def _cgroup_version(info: Json) -> str:
    version = str(info.get("CgroupVersion") or "")
    return f"v{version}" if version else ""


def _option(text: str) -> str:
    """The name of "name=seccomp,profile=default"."""
    return text.removeprefix("name=").partition(",")[0]


def has_manifest_ids(info: Json) -> bool:
    """Whether an info call tells of a containerd store: there an image's id is not the digest of its config."""
    return any(row[:1] == ["driver-type"] and "containerd" in str(row[-1]) for row in info.get("DriverStatus") or ())


def image_view(data: Json, *, manifest_ids: bool = False) -> ImageInfo:
    """The answer of an image inspect call."""
    return ImageInfo(
        id=data["Id"],
        tags=_named(data.get("RepoTags")),
        digests=() if manifest_ids and not _was_pulled(data) else _named(data.get("RepoDigests")),
        size=int(data.get("Size") or 0),
        created_at=seconds_of(data.get("Created")),
        os=data.get("Os") or "linux",
        architecture=data.get("Architecture") or "",
        variant=data.get("Variant") or "",
        id_is_config=not manifest_ids,
    )


def _was_pulled(data: Json) -> bool:
    """Whether a containerd store says that a registry has this image (it makes up digests for loaded ones, too)."""
    return bool((data.get("Identity") or {}).get("Pull"))


def listed_image_view(data: Json, *, manifest_ids: bool = False) -> ImageInfo:
    """An entry of the list of images."""
    return ImageInfo(
        id=data["Id"],
        tags=_named(data.get("RepoTags")),
        digests=() if manifest_ids else _named(data.get("RepoDigests")),
        size=int(data.get("Size") or 0),
        created_at=float(data.get("Created") or 0),
        id_is_config=not manifest_ids,
    )


def _named(names: list[str] | None) -> tuple[str, ...]:
    return tuple(name for name in names or () if not name.startswith("<none>"))


def volume_views(data: Json) -> tuple[Volume, ...]:
    """The answer of a volume list, sorted; volumes without a name of their own are left out."""
    volumes = (
        Volume(entry["Name"], entry.get("Driver", "local"), dict(entry.get("Labels") or {}))
        for entry in data.get("Volumes") or ()
        if not _ANONYMOUS.fullmatch(entry["Name"])
    )
    return tuple(sorted(volumes, key=lambda volume: volume.name))


def event_view(data: Json) -> EngineEvent | None:
    """One event of a container; None for what is not one."""
    if data.get("Type") != "container" or "Actor" not in data:
        return None
    attributes = dict(data["Actor"].get("Attributes") or {})
    action, _, detail = str(data.get("Action", "")).partition(": ")
    code = attributes.get("exitCode", "")
    return EngineEvent(
        action="health" if action == "health_status" else _ACTIONS.get(action, "other"),
        container=data["Actor"].get("ID", ""),
        labels={key: value for key, value in attributes.items() if key not in _NO_LABELS},
        at=int(data.get("timeNano") or 0) / 1e9,
        exit_code=int(code) if code.lstrip("-").isdigit() and action == "die" else None,
        health=_health(detail) if action == "health_status" else "",
        signal=signal_of(attributes) if action == "kill" else 0,
    )


def signal_of(attributes: Mapping[str, str]) -> int:
    """The number of the signal that the attributes of a kill tell; 0: none."""
    told = attributes.get("signal", "")
    return int(told) if told.isdigit() else 0


def progress_view(reference: str, data: Json) -> PullProgress:
    """One message of a pull."""
    detail = data.get("progressDetail") or {}
    layer = f"{data['id']}: " if data.get("id") else ""
    return PullProgress(
        reference, f"{layer}{data.get('status', '')}", int(detail.get("current") or 0), int(detail.get("total") or 0)
    )


def seconds_of(text: str | None) -> float:
    """Docker's time as seconds since 1970; 0.0 for none and for its zero time."""
    return max(0.0, nanoseconds_of(text or "") / 1e9)
