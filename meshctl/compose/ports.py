"""`ports`: published on every node, or in host mode on the node that runs the task."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

import msgspec

from meshctl.compose.cursor import At
from meshctl.compose.keys import remedy
from meshctl.compose.problems import quote
from meshctl.compose.scalars import chosen, text, whole
from schemas.spec import Port

_P = "services.*.ports"
_SHORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:.]+\]|\d{1,3}(?:\.\d{1,3}){3}):)?(?:(?P<published>\d{0,5}(?:-\d{1,5})?):)?(?P<target>\d{1,5}(?:-\d{1,5})?)(?:/(?P<protocol>\w+))?"
)


RANGE_LIMIT = 256
"""Ports of one range."""


def read_ports(at: At | None, scope: At | None) -> tuple[Port, ...]:
    """The published ports of a service. `scope`: x-mesh.publish: whose tasks answer on those of every node."""
    local = chosen(scope, ("everywhere", "local"), "everywhere") == "local"
    found: dict[tuple[str, str, int, int, str], Port] = {}
    for item in at.elements() if at else ():
        for port in _long(item) if item.is_mapping else _short(item):
            key = (port.mode, port.host_ip, port.published, port.target if not port.published else 0, port.protocol)
            if key in found:
                said = f"port {port.published or port.target}/{port.protocol} is published twice"
                item.refuse(said, "keep one of them")
            found[key] = msgspec.structs.replace(port, local=local and port.mode == "ingress")
    if scope is not None and local and all(port.mode == "host" for port in found.values()):
        scope.refuse("the service publishes no port on every node", "remove it, or publish one: `ports: ['8080:80']`")
    return tuple(found.values())


def _long(at: At) -> tuple[Port, ...]:
    target = at.get("target")
    if target is None:
        at.refuse("a port without `target`", "give the container's port: `target: 80`")
        return ()
    number = whole(target, least=1, most=65535)
    published = _published(at.get("published"))
    protocol = text(at.get("protocol"), "tcp")
    if protocol not in ("tcp", "udp"):
        at_protocol = at.get("protocol") or at
        at_protocol.refuse(f"the protocol {quote(protocol)} is not supported", remedy(f"{_P}[].protocol=sctp"))
        return ()
    mode = chosen(at.get("mode"), ("host", "ingress"), "ingress")
    if number == 0:
        return ()
    address = _address(at.get("host_ip"))
    if mode == "ingress" and address:
        (at.get("host_ip") or at).refuse(
            "a port that is published on every node has no address", remedy(f"{_P}[].host_ip (of an ingress port)")
        )
    return (_port(number, published, protocol, "host" if mode == "host" else "ingress", address),)


def _port(target: int, published: int, protocol: str, mode: Literal["host", "ingress"], address: str = "") -> Port:
    return Port(
        target=target,
        published=published,
        protocol="udp" if protocol == "udp" else "tcp",
        mode=mode,
        host_ip=address,
    )


def _short(at: At) -> tuple[Port, ...]:
    """Compose's short form: on every node."""
    line = text(at)
    match = _SHORT.fullmatch(line)
    if not match or match["protocol"] not in (None, "tcp", "udp"):
        at.refuse(f"{quote(line)} is no port", remedy(f"{_P} (short form)"))
        return ()
    if match["ip"]:
        at.refuse(
            "a port that is published on every node has no address", remedy(f"{_P}[].host_ip (of an ingress port)")
        )
        return ()
    targets = _numbers(match["target"])
    published = _numbers(match["published"]) if match["published"] else (0,) * len(targets)
    if not targets or len(targets) != len(published) or len(targets) > RANGE_LIMIT:
        at.refuse(f"{quote(line)} is no port", remedy(f"{_P} (short form)"))
        return ()
    return tuple(
        _port(target, number, match["protocol"] or "tcp", "ingress")
        for target, number in zip(targets, published, strict=True)
    )


def _numbers(given: str) -> tuple[int, ...]:
    """The ports of `80` or `80-90`; none if they can't be."""
    first, _, last = given.partition("-")
    low, high = int(first), int(last or first)
    return tuple(range(low, high + 1)) if 1 <= low <= high <= 65535 else ()


def _published(at: At | None) -> int:
    if at is not None and re.fullmatch(r"\d+-\d+", text(at)):
        at.refuse(f"a range of published ports ({text(at)})", remedy(f"{_P}[].published=(a range)"))
        return 0
    return whole(at, least=0, most=65535)


def _address(at: At | None) -> str:
    address = text(at)
    if at is not None:
        try:
            return str(ipaddress.ip_address(address.strip("[]")))
        except ValueError:
            at.refuse(f"{quote(address)} is no address", "write one of the node's addresses, or 127.0.0.1")
    return ""
