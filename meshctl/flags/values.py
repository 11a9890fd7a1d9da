"""Values of flags as docker writes them: publish, mount, constraint, ulimit ... Each parser raises UsageError.

A parser gets the text and what to call it ("--mount").
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from typing import Literal, cast

from meshctl.format.near import did_you_mean
from meshctl.format.portranges import NoPorts, ends, paired, port_range
from meshctl.format.sizes import parse_size
from schemas.errors import UsageError
from schemas.network import Attachment
from schemas.ports import Port
from schemas.spec import Constraint, Mount, Ulimit
from schemas.subjects import is_token

CONSTRAINT_KEYS = ("node.id", "node.hostname", "node.role", "node.ip", "node.platform.os", "node.platform.arch")
CONSTRAINT_PREFIXES = ("node.labels.", "engine.labels.")

_CONSTRAINT = re.compile(r"\s*([^=!\s]+)\s*(==|!=)\s*(.+?)\s*")
_ADDRESS = r"(?:(?P<ip>\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\]):)?"
_PORTS = r"\d+(?:-\d+)?"
_SHORT_PORT = re.compile(_ADDRESS + rf"(?:(?P<published>{_PORTS}):)?(?P<target>{_PORTS})(?:/(?P<protocol>tcp|udp))?")


def parse_constraint(text: str, what: str) -> Constraint:
    """`node.labels.zone==eu`."""
    match = _CONSTRAINT.fullmatch(text)
    if match is None:
        raise UsageError(f"{what}: '{text}' is no constraint", hint="write KEY==VALUE or KEY!=VALUE: node.hostname==n1")
    key, op, value = match.groups()
    if key not in CONSTRAINT_KEYS and not key.startswith(CONSTRAINT_PREFIXES):
        known = (*CONSTRAINT_KEYS, *(f"{prefix}*" for prefix in CONSTRAINT_PREFIXES))
        raise UsageError(f"{what}: nodes have no '{key}'", hint=did_you_mean(key, known, f"known: {', '.join(known)}"))
    return Constraint(key=key, op=cast("Literal['==', '!=']", op), value=value)


def parse_spread(text: str, what: str) -> str:
    """`spread=node.labels.zone`."""
    strategy, _, key = text.partition("=")
    if strategy.strip() != "spread" or not key.strip().startswith(CONSTRAINT_PREFIXES):
        raise UsageError(f"{what}: '{text}' is no preference", hint="write spread=node.labels.KEY")
    return key.strip()


def parse_ports(text: str, what: str) -> tuple[Port, ...]:
    """`8080:80[/udp]`, or `published=8080,target=80,mode=host,protocol=tcp`; ingress without a mode.

    Published `8000-8010` is a free one of them; `8101-8102:80-81` are two ports.
    `local`: only tasks on the node that was asked answer, and they see the client's address.
    """
    if "=" not in text:
        return _short_ports(text, what)
    fields = _fields(text, what, {"target", "published", "protocol", "mode", "local"})
    mode, protocol = fields.get("mode", "ingress"), fields.get("protocol", "tcp")
    if mode not in ("ingress", "host"):
        raise UsageError(f"{what}: mode '{mode}' can't be", hint="ingress (on every node) or host (where it runs)")
    if protocol not in ("tcp", "udp"):
        raise UsageError(f"{what}: protocol '{protocol}' is not supported", hint="tcp or udp")
    local = _truth(fields.get("local", "false"), what)
    if local and mode == "host":
        raise UsageError(f"{what}: a port in host mode is local anyway", hint="leave out local")
    first, last = _choices(fields.get("published", "0"), what)
    port = Port(
        target=_port(fields.get("target", ""), what, "target", least=1),
        published=first,
        published_last=last,
        protocol=cast("Literal['tcp', 'udp']", protocol),
        mode=cast("Literal['ingress', 'host']", mode),
        local=local,
    )
    return (port,)


def _choices(text: str, what: str) -> tuple[int, int]:
    if "-" not in text:
        return _port(text, what, "published", least=0), 0
    try:
        return ends(port_range(text))
    except NoPorts as error:
        raise UsageError(f"{what}: published '{text}': {error.what}", hint=error.remedy) from None


def _short_ports(text: str, what: str) -> tuple[Port, ...]:
    match = _SHORT_PORT.fullmatch(text)
    if match is None:
        raise UsageError(f"{what}: '{text}' is no port", hint=f"write {what} 8080:80 or target=80,published=8080")
    if match["ip"]:
        raise UsageError(
            f"{what}: '{text}': a port that is published on every node has no address",
            hint=f"leave {match['ip']} out, or write target={match['target']},mode=host",
        )
    try:
        pairs = [(ends(choices), target) for choices, target in paired(match["published"] or "", match["target"])]
    except NoPorts as error:
        raise UsageError(f"{what}: '{text}': {error.what}", hint=error.remedy) from None
    protocol: Literal["tcp", "udp"] = "udp" if match["protocol"] == "udp" else "tcp"
    return tuple(
        Port(target=target, published=first, published_last=last, protocol=protocol, mode="ingress")
        for (first, last), target in pairs
    )


def parse_attachment(text: str, what: str) -> Attachment:
    """`front`, or `name=front,alias=web,alias=www`."""
    if "=" not in text:
        return Attachment(network=_network(text, what))
    name, aliases = "", list[str]()
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key.strip() == "name":
            name = value.strip()
        elif key.strip() == "alias":
            aliases.append(value.strip())
        else:
            raise UsageError(f"{what}: unknown key '{key}' in '{text}'", hint="name=NETWORK,alias=NAME")
    return Attachment(network=_network(name, what), aliases=tuple(checked_alias(each, what) for each in aliases))


def checked_alias(alias: str, what: str) -> str:
    """The alias. Raises UsageError: it can't be a name."""
    if len(alias) > 253 or not all(is_token(word) for word in alias.lower().split(".")):
        raise UsageError(f"{what}: '{alias}' can't be a name", hint="use a-z, 0-9, - and _")
    return alias


def _network(name: str, what: str) -> str:
    if not is_token(name):
        raise UsageError(f"{what}: '{name}' can't be a network's name", hint="meshctl network ls shows them")
    return name


def parse_mount(text: str, what: str) -> Mount:
    """`type=volume,source=data,target=/data,readonly`."""
    known = {"type", "source", "src", "target", "dst", "destination", "readonly", "ro", "tmpfs-size", "tmpfs-mode"}
    known |= {"volume-driver", "volume-nocopy", "bind-propagation"}
    fields = _fields(text, what, known)
    kind = fields.get("type", "volume")
    source = fields.get("source", fields.get("src", ""))
    target = fields.get("target", fields.get("dst", fields.get("destination", "")))
    if kind not in ("volume", "bind", "tmpfs"):
        raise UsageError(f"{what}: type '{kind}' is not supported", hint="volume, bind or tmpfs")
    if not target.startswith("/"):
        raise UsageError(f"{what}: '{text}' has no absolute target", hint="add target=/path/in/the/container")
    if kind == "bind" and not source.startswith("/"):
        raise UsageError(f"{what}: a bind mount needs an absolute source", hint="add source=/path/on/the/node")
    return Mount(
        kind=cast("Literal['volume', 'bind', 'tmpfs']", kind),
        target=target,
        source=source,
        read_only=_truth(fields.get("readonly", fields.get("ro", "false")), what),
        driver=fields.get("volume-driver", ""),
        no_copy=_truth(fields.get("volume-nocopy", "false"), what),
        propagation=fields.get("bind-propagation", ""),
        size=parse_size(fields["tmpfs-size"], f"{what} tmpfs-size") if "tmpfs-size" in fields else 0,
        mode=_octal(fields.get("tmpfs-mode", "0"), what),
    )


def parse_ulimit(text: str, what: str) -> Ulimit:
    """`nofile=1024:2048`."""
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
    except ValueError:
        raise UsageError(
            f"{what}: '{text}' is no limit", hint="write NAME=SOFT[:HARD], e.g. nofile=1024:2048"
        ) from None


def parse_pair(text: str, what: str) -> tuple[str, str]:
    """`key=value`; `key` alone is an empty value."""
    key, _, value = text.partition("=")
    if not key.strip():
        raise UsageError(f"{what}: '{text}' has no name", hint="write KEY=VALUE")
    return key, value


def parse_host(text: str, what: str) -> str:
    """`name:address`."""
    name, _, address = text.partition(":")
    if not name or not address:
        raise UsageError(f"{what}: '{text}' is no host", hint="write NAME:ADDRESS")
    return text


def parse_words(text: str, what: str) -> tuple[str, ...]:
    """A command line, split as a shell splits it."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{what}: '{text}' can't be split: {error}") from None


def parse_bearable(text: str, what: str) -> str:
    """A number of slots, or a share as 25%. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,6}|[0-9]{1,2}%|100%", text):
        raise UsageError(f"{what}: '{text}' is no number and no share", hint="write 2, or 25%")
    return text


def parse_service(text: str, what: str) -> str:
    """A service's full name."""
    if not is_token(text):
        raise UsageError(f"{what}: '{text}' can't be a service's name", hint="meshctl service ls shows them")
    return text


def parse_ratio(text: str, what: str) -> float:
    """A share between 0 and 1."""
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise UsageError(f"{what}: '{text}' is no share", hint="write a number from 0 to 1")
    return ratio


def parse_count(text: str, what: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdigit():
        raise UsageError(f"{what}: '{text}' is no number", hint="write a whole number, 0 or more")
    return int(text)


def one_of(text: str, what: str, allowed: Collection[str]) -> str:
    """One of the words that are `allowed`."""
    if text not in allowed:
        raise UsageError(f"{what}: '{text}' can't be", hint=f"one of {', '.join(allowed)}")
    return text


def _fields(text: str, what: str, known: Collection[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = key.strip()
        if key not in known:
            raise UsageError(
                f"{what}: unknown key '{key}' in '{text}'", hint=did_you_mean(key, known, "see docker's own")
            )
        fields[key] = value.strip() if equals else "true"
    return fields


def _port(text: str, what: str, name: str, *, least: int) -> int:
    if not text.isdigit() or not least <= int(text) <= 65535:
        raise UsageError(f"{what}: {name} '{text}' is no port", hint=f"a number from {least} to 65535")
    return int(text)


def _octal(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-7]{1,5}", text):
        raise UsageError(f"{what}: tmpfs-mode '{text}' is no mode", hint="write it in octal: 1770")
    return int(text, 8)


def _truth(text: str, what: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise UsageError(f"{what}: '{text}' is neither true nor false")
    return text.lower() in ("true", "1")
