"""The nftables table `dockmesh` as text: the whole of it, or the smallest change from one content to another. Pure.

A packet to a virtual address is sent on to one of its backends by chance: `@vips` goes to the chain `n<k>` for k
backends, which takes one of `@backends`. Published ports do the same with `@ports`, `tcp<k>` and `@tcp_backends`, and
the same for UDP (nft 1.0.6 takes no map to addresses and ports for both). A change is one transaction: no packet meets
half of it, and what is connected stays so (conntrack remembers). The node's own processes have `@own_vips`; the kernel
gives them the virtual address itself as source, so they are masqueraded. Virtual addresses lie in the subnet, and
every node answers ARP for them, so that also a container on several networks, or on an internal one, finds its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, TypeVar

from agent.network.model import Rules
from schemas.network import TUNNEL_PORT

K = TypeVar("K")
V = TypeVar("V")

TABLE = "dockmesh"
BRIDGES = '"br-m*"'

SKELETON = f"""
  map vips {{ type ifname . ipv4_addr : verdict; }}
  map own_vips {{ type ipv4_addr : verdict; }}
  map backends {{ typeof ip daddr . numgen random mod 65536 : ip daddr; }}
  map ports {{ type inet_proto . inet_service : verdict; }}
  map tcp_backends {{ typeof tcp dport . numgen random mod 65536 : ip daddr . tcp dport; }}
  map udp_backends {{ typeof udp dport . numgen random mod 65536 : ip daddr . udp dport; }}
  set own {{ type ipv4_addr; }}
  set hairpin {{ type ipv4_addr . ipv4_addr; }}
  set subnets {{ type ifname . ipv4_addr; flags interval; }}
  set virtual {{ type ipv4_addr; flags interval; }}
  chain dispatch {{
    iifname . ip daddr vmap @vips
    ip daddr @virtual return
    fib daddr type local meta l4proto {{ tcp, udp }} meta l4proto . th dport vmap @ports
  }}
  chain untracked_in {{
    type filter hook prerouting priority raw;
    udp dport {TUNNEL_PORT} notrack
    iifname {BRIDGES} ip daddr 127.0.0.0/8 drop
  }}
  chain untracked_out {{ type filter hook output priority raw; udp dport {TUNNEL_PORT} notrack; }}
  chain prerouting {{ type nat hook prerouting priority -110; jump dispatch; }}
  chain output {{
    type nat hook output priority -110;
    ip daddr vmap @own_vips
    fib daddr type local meta l4proto {{ tcp, udp }} meta l4proto . th dport vmap @ports
  }}
  chain input {{
    type filter hook input priority -10;
    ct status dnat accept
    ip daddr @virtual meta l4proto tcp reject with tcp reset
    ip daddr @virtual meta l4proto != icmp reject
  }}
  chain postrouting {{
    type nat hook postrouting priority 90;
    ct status dnat ip saddr . ip daddr @hairpin masquerade
    ip saddr 127.0.0.0/8 oifname {BRIDGES} masquerade
    ip saddr @virtual oifname {BRIDGES} masquerade
    ct status dnat oifname {BRIDGES} ip daddr != @own oifname . ip saddr != @subnets masquerade
  }}
"""


@dataclass(frozen=True)
class _Content:
    """Elements of the maps and sets, by their names in the table."""

    vips: Mapping[tuple[str, str], int]
    """(bridge, virtual address) -> how many backends."""
    backends: Mapping[tuple[str, int], str]
    """(virtual address, number) -> address."""
    ports: Mapping[tuple[str, int], int]
    """(protocol, published port) -> how many backends."""
    port_backends: Mapping[tuple[str, int, int], tuple[str, int]]
    """(protocol, published port, number) -> address and port."""
    local: frozenset[str]
    own: frozenset[str]
    subnets: frozenset[tuple[str, str]]
    virtual: frozenset[str]


def whole(rules: Rules) -> str:
    """The table with that content, in place of whatever stands; one transaction."""
    chains = _chains(_counts(rules))
    text = f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\ntable ip {TABLE} {{{SKELETON}}}\n"
    return text + "".join(chains) + "".join(_edits("add", _elements(_content(rules))))


def change(old: Rules, new: Rules) -> str:
    """What makes `new` of `old`; "" if they are the same."""
    before, after = _content(_differing(old, new)), _content(_differing(new, old))
    gone, come = _elements(_only_in(before, after)), _elements(_only_in(after, before))
    edits = [*_edits("delete", gone), *_edits("add", come)]
    return "".join((*_chains(_counts(new) - _counts(old)), *edits)) if edits else ""


def gone() -> str:
    """The table is no more."""
    return f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\n"


def left(old: Rules, new: Rules) -> frozenset[str]:
    """Addresses that something was sent on to, and is no more."""
    changed = _differing(old, new)
    candidates = set(chain.from_iterable(changed.services.values()))
    candidates |= {address for each in changed.ports.values() for address, _ in each}
    if not candidates:
        return frozenset()
    candidates.difference_update(*new.services.values())
    return frozenset(candidates.difference(address for each in new.ports.values() for address, _ in each))


def _differing(one: Rules, other: Rules) -> Rules:
    """Only the services and ports that the other does not have, or has differently."""
    services, ports = _unlike(one.services, other.services), _unlike(one.ports, other.ports)
    return replace(one, services=services, ports=ports)


def _unlike(one: Mapping[K, V], other: Mapping[K, V]) -> dict[K, V]:
    """Most are the very same objects (`model.Shares`), which need no comparison."""
    found: dict[K, V] = {}
    for key, to in one.items():
        held = other.get(key)
        if held is not to and held != to:
            found[key] = to
    return found


def _content(rules: Rules) -> _Content:
    return _Content(
        vips={key: len(to) for key, to in rules.services.items()},
        backends={(vip, n): address for (_, vip), to in rules.services.items() for n, address in enumerate(to)},
        ports={key: len(to) for key, to in rules.ports.items()},
        port_backends={(*key, n): each for key, to in rules.ports.items() for n, each in enumerate(to)},
        local=rules.local,
        own=rules.own,
        subnets=rules.subnets,
        virtual=rules.virtual,
    )


def _only_in(one: _Content, other: _Content) -> _Content:
    """What only one of them has, or has differently."""
    found: dict[str, Any] = {}
    for field in fields(_Content):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, Mapping):
            found[field.name] = {key: value for key, value in mine.items() if theirs.get(key) != value}
        else:
            found[field.name] = mine - theirs
    return _Content(**found)


def _counts(rules: Rules) -> set[tuple[str, int]]:
    """The chains that are needed: kind, and number of backends."""
    return {("n", len(to)) for to in rules.services.values()} | {
        (protocol, len(to)) for (protocol, _), to in rules.ports.items()
    }


def _chains(counts: Iterable[tuple[str, int]]) -> list[str]:
    """Chains for numbers of backends; one that is there is emptied and written anew in the same transaction."""
    text = []
    for kind, count in sorted(counts):
        turn = f"numgen random mod {count} map"
        if kind == "n":
            rule = f"meta l4proto {{ tcp, udp }} dnat ip to ip daddr . {turn} @backends"
        else:
            rule = f"dnat ip addr . port to {kind} dport . {turn} @{kind}_backends"
        name = f"ip {TABLE} {kind}{count}"
        text.append(f"add chain {name}\nflush chain {name}\nadd rule {name} {rule}\n")
    return text


def _elements(rules: _Content) -> Mapping[str, list[str]]:
    return {
        "vips": [f'"{bridge}" . {vip} : goto n{count}' for (bridge, vip), count in sorted(rules.vips.items())],
        "own_vips": [f"{vip} : goto n{count}" for (_, vip), count in sorted(rules.vips.items())],
        "backends": [f"{vip} . {number} : {to}" for (vip, number), to in sorted(rules.backends.items())],
        "ports": [f"{proto} . {port} : goto {proto}{count}" for (proto, port), count in sorted(rules.ports.items())],
        "tcp_backends": _port_backends(rules, "tcp"),
        "udp_backends": _port_backends(rules, "udp"),
        "own": sorted(rules.own),
        "hairpin": [f"{address} . {address}" for address in sorted(rules.local)],
        "subnets": [f'"{bridge}" . {subnet}' for bridge, subnet in sorted(rules.subnets)],
        "virtual": sorted(rules.virtual),
    }


def _port_backends(rules: _Content, wanted: str) -> list[str]:
    return [
        f"{port} . {number} : {address} . {target}"
        for (protocol, port, number), (address, target) in sorted(rules.port_backends.items())
        if protocol == wanted
    ]


def _edits(verb: str, elements: Mapping[str, list[str]]) -> Iterator[str]:
    for name, each in elements.items():
        if each:
            yield f"{verb} element ip {TABLE} {name} {{ {', '.join(each)} }}\n"
