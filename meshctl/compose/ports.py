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
from meshctl.format.portranges import NoPorts, ends, paired, port_range
from schemas.ports import Port

_P = "services.*.ports"
_SHORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:.]+\]|\d{1,3}(?:\.\d{1,3}){3}):)?(?:(?P<published>(?:\d+(?:-\d+)?)?):)?(?P<target>\d+(?:-\d+)?)(?:/(?P<protocol>\w+))?"
)


def read_ports(at: At | None, scope: At | None) -> tuple[Port, ...]:
    """The published ports of a service. `scope`: x-mesh.publish: whose tasks answer on those of every node."""
    local = chosen(scope, ("everywhere", "local"), "everywhere") == "local"
    found: dict[tuple[str, str, str, int, str], Port] = {}
    for item in at.elements() if at else ():
        for port in _long(item) if item.is_mapping else _short(item):
            target = 0 if len(port.choices) == 1 else port.target
            key = (port.mode, port.host_ip, port.span, target, port.protocol)
            if key in found:
                said = f"port {port.span or port.target}/{port.protocol} is published twice"
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


def _port(target: int, choices: range, protocol: str, mode: Literal["host", "ingress"], address: str = "") -> Port:
    published, last = ends(choices)
    return Port(
        target=target,
        published=published,
        published_last=last,
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
    try:
        pairs = paired(match["published"] or "", match["target"])
    except NoPorts as error:
        at.refuse(f"{quote(line)}: {error.what}", error.remedy)
        return ()
    return tuple(_port(target, choices, match["protocol"] or "tcp", "ingress") for choices, target in pairs)


def _published(at: At | None) -> range:
    """The choices of the long form; none: any port."""
    if at is None or "-" not in text(at)[1:]:
        number = whole(at, least=0, most=65535)
        return range(number, number + 1) if number else range(0)
    try:
        return port_range(text(at))
    except NoPorts as error:
        at.refuse(f"{quote(text(at))}: {error.what}", error.remedy)
        return range(0)


def _address(at: At | None) -> str:
    address = text(at)
    if at is not None:
        try:
            return str(ipaddress.ip_address(address.strip("[]")))
        except ValueError:
            at.refuse(f"{quote(address)} is no address", "write one of the node's addresses, or 127.0.0.1")
    return ""
