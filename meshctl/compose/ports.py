"""`ports`: published on the node that runs the task. Every other way is refused, with the entry to write instead."""

from __future__ import annotations

import ipaddress
import re

from meshctl.compose.cursor import At
from meshctl.compose.keys import remedy
from meshctl.compose.problems import quote
from meshctl.compose.scalars import chosen, text, whole
from schemas.spec import Port

_P = "services.*.ports"
_SHORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:.]+\]|\d{1,3}(?:\.\d{1,3}){3}):)?(?:(?P<published>\d{0,5}(?:-\d{1,5})?):)?(?P<target>\d{1,5}(?:-\d{1,5})?)(?:/(?P<protocol>\w+))?"
)


def read_ports(at: At | None) -> tuple[Port, ...]:
    """The published ports of a service."""
    found: dict[tuple[str, int, int, str], Port] = {}
    for item in at.elements() if at else ():
        if not item.is_mapping:
            _refuse_short(item)
            continue
        port = _long(item)
        if port is None:
            continue
        key = (port.host_ip, port.published or -port.target, port.target if not port.published else 0, port.protocol)
        if key in found:
            item.refuse(f"port {port.published or port.target}/{port.protocol} is published twice", "keep one of them")
        found[key] = port
    return tuple(found.values())


def _long(at: At) -> Port | None:
    target = at.get("target")
    if target is None:
        at.refuse("a port without `target`", "give the container's port: `target: 80`")
        return None
    number = whole(target, least=1, most=65535)
    published = _published(at.get("published"))
    protocol = text(at.get("protocol"), "tcp")
    if protocol not in ("tcp", "udp"):
        at_protocol = at.get("protocol") or at
        at_protocol.refuse(f"the protocol {quote(protocol)} is not supported", remedy(f"{_P}[].protocol=sctp"))
        return None
    mode = chosen(at.get("mode"), ("host", "ingress"), "ingress")
    if mode == "ingress":
        _refuse_ingress(at, number, published, protocol)
        return None
    if number == 0:
        return None
    address = _address(at.get("host_ip"))
    return Port(target=number, published=published, protocol="udp" if protocol == "udp" else "tcp", host_ip=address)


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


def _refuse_short(at: At) -> None:
    """Compose's short form means every node (ingress): refused, with the long form of what it says."""
    line = text(at)
    match = _SHORT.fullmatch(line)
    if not match:
        at.refuse(f"{quote(line)} is no port", remedy(f"{_P} (short form)"))
        return
    entry = [f"target: {match['target']}"]
    entry += [f"published: {match['published']}"] if match["published"] else []
    entry += [f"protocol: {match['protocol']}"] if match["protocol"] not in (None, "tcp") else []
    entry += [f"host_ip: {quote(match['ip'])}"] if match["ip"] else []
    ranges = "-" in line.split("/")[0]
    every = "each port by an entry of its own, " if ranges else ""
    at.refuse(
        f"{quote(line)} publishes on every node (ingress), which is not yet in the mesh",
        f"publish {every}on the node that runs the task: `{{{', '.join([*entry, 'mode: host'])}}}`",
    )


def _refuse_ingress(at: At, target: int, published: int, protocol: str) -> None:
    entry = f"target: {target}" + (f", published: {published}" if published else "")
    entry += ", protocol: udp" if protocol == "udp" else ""
    where = at.get("mode") or at
    said = "`mode: ingress` publishes" if at.get("mode") else "without `mode: host` it is published"
    where.refuse(
        f"{said} on every node (ingress), which is not yet in the mesh",
        f"publish on the node that runs the task: `{{{entry}, mode: host}}`",
    )
