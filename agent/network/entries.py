"""What becomes of a view with an entry taken in, or with a network let go. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable
from ipaddress import IPv4Network

import msgspec

from agent.network.model import View
from bus.port import Entry
from schemas import subjects
from schemas.liveness import digest_of
from schemas.network import AllocationRecord, EndpointsRecord, PublishRecord, is_address
from schemas.wire import decode


def with_entry(view: View, entry: Entry) -> View:
    """The view with an entry taken in. Raises BadMessage.

    What an allotment names no more has ended before it: that was not heard, and its address may be another's.
    """
    noun, _, name = entry.key.partition(".")
    sequences = {**view.sequences, entry.key: entry.sequence}
    if entry.key == subjects.PUBLISH:
        record = decode(entry.value, PublishRecord) if entry.value is not None else PublishRecord()
        return msgspec.structs.replace(view, publish=record, sequences=sequences)
    if noun == "alloc":
        allocations = {key: each for key, each in view.allocations.items() if key != name}
        services: Container[str] = ()
        if entry.value is not None:
            allocations[name] = decode(entry.value, AllocationRecord)
            services = allocations[name].services
        since = {key for key in view.endpoints if view.sequences.get(f"endpoints.{key}", 0) > entry.sequence}
        endpoints = {
            key: each
            for key, each in view.endpoints.items()
            if each.network != name or each.service in services or key in since
        }
        return msgspec.structs.replace(view, allocations=allocations, endpoints=endpoints, sequences=sequences)
    endpoints = {key: each for key, each in view.endpoints.items() if key != name}
    if entry.value is not None:
        endpoints[name] = _sound(decode(entry.value, EndpointsRecord))
    return msgspec.structs.replace(view, endpoints=endpoints, sequences=sequences)


def sound(view: View) -> View:
    """The view without what is no address: whoever wrote that, it does not come into this machine's rules."""
    return msgspec.structs.replace(view, endpoints={key: _sound(each) for key, each in view.endpoints.items()})


def _sound(record: EndpointsRecord) -> EndpointsRecord:
    backends = tuple(each for each in record.backends if is_address(each.address))
    return record if len(backends) == len(record.backends) else msgspec.structs.replace(record, backends=backends)


def of_generation(view: View, generation: int) -> View:
    """The view in a store that was made anew: all that is held stands until something of that store takes its place."""
    return msgspec.structs.replace(view, generation=generation, sequences=dict.fromkeys(view.sequences, 0), let_go=0)


def without_superseded(view: View, needed: frozenset[str]) -> View:
    """The view without allotments of a lost store of which the one of now has given the number or subnet to others.

    That is a decision, and both can't be on one machine. `needed`: networks that this node's tasks are on: they stand.
    """
    stored = [record for name, record in view.allocations.items() if record.subnet and _is_stored(view, name)]
    superseded = {
        name
        for name, record in view.allocations.items()
        if record.subnet and name not in needed and not _is_stored(view, name) and _collides(record, stored)
    }
    if not superseded:
        return view
    left = {name: record for name, record in view.allocations.items() if name not in superseded}
    return msgspec.structs.replace(view, allocations=left)


def _is_stored(view: View, network: str) -> bool:
    """In the store of now: what is held of a lost one has no sequence."""
    return view.sequences.get(subjects.allocation_key(network), 0) > 0


def _collides(record: AllocationRecord, others: Iterable[AllocationRecord]) -> bool:
    subnet = IPv4Network(record.subnet)
    return any(record.vni == other.vni or subnet.overlaps(IPv4Network(other.subnet)) for other in others)


def backends_in(view: View, key: str) -> set[str]:
    """Tasks that the record at a key names."""
    record = view.endpoints.get(key.removeprefix("endpoints."))
    return {each.task for each in record.backends} if record is not None else set()


def digest(view: View) -> int:
    """Of all records that the view holds: see `schemas.liveness.digest_of`."""
    keys = [f"alloc.{network}" for network in view.allocations] + [f"endpoints.{key}" for key in view.endpoints]
    return digest_of(view.sequences.get(key, 0) for key in (*keys, subjects.PUBLISH))


def networks_in(view: View) -> frozenset[str]:
    """The networks of which the view holds anything, if only that it is no more."""
    return frozenset(subjects.network_of(key) for key in view.sequences) - {""}


def without(view: View, networks: frozenset[str]) -> View:
    """The view without anything of these networks: nobody is told that they have ended, they are known no more."""
    gone = {key: each for key, each in view.sequences.items() if subjects.network_of(key) in networks}
    return msgspec.structs.replace(
        view,
        allocations={name: each for name, each in view.allocations.items() if name not in networks},
        endpoints={key: each for key, each in view.endpoints.items() if each.network not in networks},
        sequences={key: each for key, each in view.sequences.items() if key not in gone},
        let_go=max((view.let_go, *gone.values())),
    )
