"""What a plan of a deploy rests on, and what of that has moved on since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.records import Records
from schemas import subjects
from schemas.network import NetworkRecord
from schemas.records import LivenessRecord, NodeRecord, ServiceRecord, StackRecord
from schemas.stackapi import DeployStack
from schemas.wire import Wire


def base_of(records: Records, request: DeployStack) -> dict[str, str]:
    """What a deploy of this rests on: the stack, its services and networks, the nodes and whether they are up."""
    keys = [subjects.stack_key(request.stack)]
    keys += [subjects.service_key(each.spec.name) for each in request.services]
    keys += [subjects.service_key(name) for name in _services_of(records, request.stack)]
    keys += [subjects.network_key(each.name) for each in request.networks]
    keys += [subjects.node_key(name) for name in records.nodes]
    base = {key: _mark(records, key) for key in sorted(set(keys))}
    base |= {subjects.liveness_key(name): records.liveness[name].verdict for name in sorted(records.liveness)}
    mesh = records.mesh
    return {subjects.MESH: f"{mesh.mesh_id}/{mesh.generation}" if mesh is not None else "", **base}


def moved_on(records: Records, expected: Mapping[str, str], request: DeployStack) -> list[str]:
    """In words, what is not any more as `expected` has it."""
    now = base_of(records, request)
    keys = sorted({*now, *expected})
    return [_words(records, key) for key in keys if now.get(key, "0") != expected.get(key, "0")]


def _mark(records: Records, key: str) -> str:
    return str(records.sequence_of(key) or 0) if records.holds(key) else "0"


def _words(records: Records, key: str) -> str:
    noun, _, name = key.partition(".")
    match _record(records, noun, name):
        case ServiceRecord() | StackRecord() | NetworkRecord() | NodeRecord() as record:
            return f"{noun} {name} was {(record.change or 'changed').replace('_', ' ')}"
        case LivenessRecord(verdict=verdict):
            return f"node {name} is {verdict} now"
        case _:
            return "it is another mesh, or was restored" if key == subjects.MESH else f"{noun} {name} is gone"


def _record(records: Records, noun: str, name: str) -> Wire | None:
    if noun == "liveness":
        return records.liveness.get(name)
    tables: dict[str, Mapping[str, object]] = {
        "service": records.services,
        "stack": records.stacks,
        "network": records.networks,
        "node": records.nodes,
    }
    stored = tables.get(noun, {}).get(name)
    return getattr(stored, "record", None)


def _services_of(records: Records, stack: str) -> Iterable[str]:
    return (name for name, each in records.services.items() if each.record.stack == stack and not each.record.removed)
