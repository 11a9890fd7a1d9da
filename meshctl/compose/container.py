"""A service's container: every key that the engine is told of."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, TypeAlias

from meshctl.compose.cursor import At
from meshctl.compose.environment import read_environment
from meshctl.compose.health import read_health
from meshctl.compose.keys import remedy
from meshctl.compose.mounts import read_mounts
from meshctl.compose.networks import read_attachments
from meshctl.compose.ports import read_ports
from meshctl.compose.problems import quote
from meshctl.compose.project import Project, check_placeholders
from meshctl.compose.readiness import read_ready
from meshctl.compose.scalars import (
    duration,
    entries,
    pairs,
    size,
    split,
    text,
    text_or_texts,
    texts,
    truth,
    whole,
    words,
)
from schemas.placeholders import expand
from schemas.ports import Port
from schemas.spec import ContainerSpec, Device, LogDriver, Ulimit

_S = "services.*."
_COMPONENT = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{{1,5}})?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_SIGNAL = re.compile(r"[A-Za-z0-9+-]{1,12}")
_PLATFORM = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+(/[a-z0-9_.]+)?)?")
_PullPolicy: TypeAlias = Literal["missing", "always", "never"]
_PULL: dict[str, _PullPolicy] = {
    "": "missing",
    "missing": "missing",
    "if_not_present": "missing",
    "always": "always",
    "never": "never",
}
_OURS = "mesh."


def read_container(service: At, project: Project) -> ContainerSpec:
    """The container of a service."""
    return ContainerSpec(
        image=_image(service),
        pull_policy=_pull_policy(service.get("pull_policy")),
        platform=_matching(service.get("platform"), _PLATFORM, "a platform", "write it as linux/amd64"),
        entrypoint=words(service.get("entrypoint")),
        command=words(service.get("command")),
        environment=read_environment(service, project),
        labels=read_labels(service.get("labels")),
        user=text(service.get("user")),
        working_dir=text(service.get("working_dir")),
        hostname=_hostname(service.get("hostname")),
        init=truth(service.get("init")) if service.get("init") else None,
        tty=truth(service.get("tty")),
        stdin_open=truth(service.get("stdin_open")),
        stop_signal=_matching(service.get("stop_signal"), _SIGNAL, "a signal", "write it as SIGTERM").upper(),
        stop_grace=duration(service.get("stop_grace_period"), 10.0),
        healthcheck=read_health(service.get("healthcheck")),
        ready=read_ready(service),
        mounts=read_mounts(service, project),
        ports=_ports_of(service),
        ulimits=_ulimits(service.get("ulimits")),
        cap_add=_unique(service.get("cap_add")),
        cap_drop=_unique(service.get("cap_drop")),
        sysctls=pairs(service.get("sysctls")),
        read_only=truth(service.get("read_only")),
        privileged=truth(service.get("privileged")),
        security_opt=_security(service.get("security_opt")),
        devices=_devices(service.get("devices")),
        shm_size=size(service.get("shm_size")),
        pid=_namespace(service.get("pid"), "pid", ("host",)),
        ipc=_namespace(service.get("ipc"), "ipc", ("host", "private", "shareable", "none")),
        group_add=_unique(service.get("group_add")),
        oom_score_adj=whole(service.get("oom_score_adj"), least=-1000, most=1000),
        dns=_addresses(service.get("dns")),
        dns_search=text_or_texts(service.get("dns_search")),
        dns_options=text_or_texts(service.get("dns_opt")),
        extra_hosts=_extra_hosts(service.get("extra_hosts")),
        logging=_logging(service.get("logging")),
        network_mode=_network_mode(service.get("network_mode")),
        networks=read_attachments(service, project.networks),
    )


def read_labels(at: At | None) -> dict[str, str]:
    """Labels; Dockmesh's own prefix is refused."""
    labels = pairs(at)
    for name in labels:
        if at is not None and name.startswith(_OURS):
            at.refuse(f"the label {quote(name)} begins with `mesh.`, which is Dockmesh's", "give it another name")
    return labels


def _image(service: At) -> str:
    at = service.get("image")
    if at is None or not text(at):
        row = "build (without image)" if service.get("build") else "image (missing)"
        (at or service).refuse("a service without `image`", remedy(_S + row))
        return ""
    name = text(at)
    if len(name) <= 512 and _IMAGE.fullmatch(name):
        return name
    lower = name.lower()
    at.refuse(
        f"{quote(name)} is no image's name", f"write {lower}" if _IMAGE.fullmatch(lower[:512]) else "write name[:tag]"
    )
    return ""


def _pull_policy(at: At | None) -> _PullPolicy:
    policy = text(at)
    if at is not None and policy not in _PULL:
        at.refuse(f"{quote(policy)} is not supported", remedy(_S + "pull_policy=build daily weekly every_..."))
    return _PULL.get(policy, "missing")


def _matching(at: At | None, pattern: re.Pattern[str], kind: str, how: str) -> str:
    value = text(at)
    if at is not None and value and not pattern.fullmatch(value):
        at.refuse(f"{quote(value)} is not {kind}", how)
    return value


def _hostname(at: At | None) -> str:
    name = text(at)
    if at is None:
        return ""
    check_placeholders(at, name)
    if len(name) > 253 or not re.fullmatch(r"[A-Za-z0-9.{}_-]*", expand(name, {})):
        at.refuse(f"{quote(name)} is no host name", "use letters, digits, `-` and `.`")
    return name


def _ports_of(service: At) -> tuple[Port, ...]:
    ports = service.get("ports")
    mode = service.get("network_mode")
    if ports is not None and mode is not None and text(mode) in ("host", "none"):
        ports.refuse(f"nothing is published with `network_mode: {text(mode)}`", "remove one of the two")
    return read_ports(ports, service.dig("x-mesh", "publish"))


def _ulimits(at: At | None) -> tuple[Ulimit, ...]:
    found = []
    for name, value in at.entries() if at else ():
        if not value.is_mapping:
            soft = hard = whole(value, least=-1)
        else:
            missing = [key for key in ("soft", "hard") if value.get(key) is None]
            if missing:
                value.refuse(f"a limit without `{missing[0]}`", "give both, or one number for both")
            soft, hard = whole(value.get("soft"), least=-1), whole(value.get("hard"), least=-1)
        if hard != -1 and (soft > hard or soft == -1):
            value.refuse(f"the soft limit {soft} is above the hard limit {hard}", "lower it")
        found.append(Ulimit(name=name, soft=soft, hard=hard))
    return tuple(found)


def _unique(at: At | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts(at)))


def _security(at: At | None) -> tuple[str, ...]:
    for item in at.elements() if at else ():
        name, _, value = split(text(item), "=:")
        if name == "seccomp" and value not in ("unconfined", "builtin") and not value.startswith("{"):
            item.refuse("a seccomp profile's file is not read", "use seccomp=unconfined, or the profile's JSON itself")
    return texts(at)


def _devices(at: At | None) -> tuple[Device, ...]:
    found = []
    for item in at.elements() if at else ():
        if item.is_mapping:
            source, target = text(item.get("source")), text(item.get("target"))
            parts = [source, target or source, text(item.get("permissions"), "rwm")]
        else:
            parts = text(item).split(":")
            parts += [parts[0]] if len(parts) == 1 else []
            parts += ["rwm"] if len(parts) == 2 else []
        good = len(parts) == 3 and all(path.startswith("/") and ":" not in path for path in parts[:2])
        if not good or not re.fullmatch(r"[rwm]{1,3}", parts[2]):
            item.refuse(
                f"{quote(text(item))} is no device" if not item.is_mapping else "no device",
                "write /dev/host:/dev/container:rwm",
            )
            continue
        found.append(Device(source=parts[0], target=parts[1], permissions=parts[2]))
    return tuple(found)


def _namespace(at: At | None, key: str, allowed: tuple[str, ...]) -> str:
    value = text(at)
    if at is not None and value and value not in allowed:
        at.refuse(f"{quote(value)} is not supported", remedy(f"{_S}{key}=service:... container:..."))
        return ""
    return value


def _network_mode(at: At | None) -> str:
    mode = text(at)
    if at is not None and mode not in ("", "bridge", "default", "host", "none"):
        at.refuse(f"{quote(mode)} is not supported", remedy(_S + "network_mode=service:... container:..."))
        return ""
    return "" if mode in ("bridge", "default") else mode


def _addresses(at: At | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_address(item) for item in at.one_or_more())) if at else ()


def _address(at: At) -> str:
    address = text(at)
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        at.refuse(f"{quote(address)} is no address", "write it as 10.0.0.53")
        return ""


def _extra_hosts(at: At | None) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name, value in entries(at, "=:"):
        addresses = [value] if isinstance(value, str) else [text(item) for item in value.one_or_more()]
        for address in addresses:
            bare = address.strip("[]")
            if at is not None and not _is_host_address(bare):
                at.refuse(f"{quote(address)} is no address for {quote(name)}", "write name:10.0.0.5, or host-gateway")
            found[f"{name}:{bare}"] = None
    return tuple(found)


def _is_host_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return address == "host-gateway"
    return True


def _logging(at: At | None) -> LogDriver | None:
    if at is None:
        return None
    return LogDriver(driver=text(at.get("driver")) or "json-file", options=pairs(at.get("options")))
