"""Where each member's tunnel ends. Pure.

What an agent says of its address goes to all other nodes, so it is taken only if a tunnel can end there, and if it is
nobody else's. Of several members that tell the same one it is not one's that is down (its machine may have another name
by now, or its address another machine); then whose it was, by what is allotted; else that of one that can have
networks, then of one that had no other address before, then of the one that joined first. Who can't have what it tells
keeps what it had, unless that is somebody else's by now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.nodes import NodeView
from schemas.network import AllocationRecord, tunnel_refusal

ADVICE = "start its agent with the --address by which other nodes reach it"
QUOTED = 40
"""Characters of a wrong address that are told again."""


@dataclass(frozen=True)
class Tunnel:
    """A member's end. `why`: it has not got the address that it tells; `address` is the one it keeps, or ""."""

    address: str
    why: str = ""


def tunnels_of(members: Mapping[str, NodeView], allocations: Iterable[AllocationRecord]) -> dict[str, Tunnel]:
    """Of each member. `allocations`: as they stand before this round."""
    before = _before(allocations)
    eldest_first = sorted(members, key=lambda name: (_joined(members[name]), name))
    wrong = {name: _wrong(members[name].facts.address) for name in members}
    claims: dict[str, list[str]] = {}
    for name in eldest_first:
        claim = before.get(name, "") if wrong[name] else members[name].facts.address
        if claim:
            claims.setdefault(claim, []).append(name)
    owners = {address: _owner(address, names, members, before) for address, names in claims.items()}
    found: dict[str, Tunnel] = {}
    for name in eldest_first:
        told, why = members[name].facts.address, wrong[name]
        if not why and owners[told] == name:
            found[name] = Tunnel(told)
            continue
        if not why:
            owner = owners[told]
            why = f"the address that it tells, {told}, is that of {owner}: {ADVICE}, or remove {owner} if it is no more"
        kept = before.get(name, "")
        if not kept or owners.setdefault(kept, name) != name:
            found[name] = Tunnel("", why)
        else:
            # One that tells none may do so for a moment, or was not heard yet.
            found[name] = Tunnel(kept, why if told else "")
    return found


def _owner(address: str, names: list[str], members: Mapping[str, NodeView], before: Mapping[str, str]) -> str:
    """Whose it is, of those that tell it; `names`: the one that joined first is first."""

    def rank(name: str) -> tuple[bool, bool, bool, bool]:
        view = members[name]
        return view.status == "down", before.get(name) != address, bool(view.facts.networking), name in before

    return min(names, key=rank)


def _joined(view: NodeView) -> float:
    return view.record.joined_at if view.record is not None else 0.0


def _wrong(address: str) -> str:
    """Why a tunnel can't end at what a node tells; "" if it can."""
    if not address:
        return "it tells no address for its tunnel: start its agent with --address"
    why = tunnel_refusal(address)
    return f"the address that it tells, {address[:QUOTED]!r}, {why}: {ADVICE}" if why else ""


def _before(allocations: Iterable[AllocationRecord]) -> dict[str, str]:
    """Node -> where its tunnel ended, if one can end there."""
    return {
        name: held.tunnel
        for record in sorted(allocations, key=lambda record: record.network)
        for name, held in record.nodes.items()
        if not tunnel_refusal(held.tunnel)
    }
