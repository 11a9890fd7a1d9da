"""What a wanted service is checked for before anything is written. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from controller.api.dependents import check_circles
from controller.constraints import satisfied
from controller.nodes import NodeView
from controller.records import Records
from schemas.errors import Refused
from schemas.leases import STOP_AFTER_LEAST
from schemas.observation import Observation
from schemas.placeholders import unknown_placeholders
from schemas.serviceapi import ServiceDeploy
from schemas.spec import SPEC_LIMIT, ServiceSpec
from schemas.wire import encode

REPLICAS_LIMIT = 20_000
"""Replicas of one service. A round goes through each, and followers wait a second for a leader: 20,000 took 0.5 s,
100,000 took 2.2 s (`plan`, N = 3, on 2 busy CPUs)."""

NUMBER_LIMIT = 1e9
"""Seconds, cores and shares beyond that are nobody's meaning; what is reckoned from them could be no number at all."""

STACK_SERVICES = 90
"""Services in one deploy: each may take two writes of the one batch that holds them all."""


def check_service(wanted: ServiceDeploy) -> None:
    """Raises Refused: too large, too many, or with a placeholder that nobody fills."""
    spec = wanted.spec
    size = len(encode(spec))
    if size > SPEC_LIMIT:
        raise Refused(
            f"the spec of service {spec.name} takes {size:,} bytes, at most {SPEC_LIMIT:,} are allowed",
            hint="keep large values out of environment, labels and commands: put them into a file or volume",
        )
    if wanted.replicas is not None and wanted.replicas > REPLICAS_LIMIT:
        raise Refused(f"service {spec.name}: {wanted.replicas:,} replicas, at most {REPLICAS_LIMIT:,} are allowed")
    if (number := _largest(msgspec.to_builtins(spec))) > NUMBER_LIMIT:
        raise Refused(f"service {spec.name}: {number:g} is no duration or number of CPUs")
    _check_stop_after(spec)
    container = spec.task.container
    if not container.image.strip():
        raise Refused(f"service {spec.name} names no image")
    texts = [container.hostname, *container.environment.values(), *(mount.source for mount in container.mounts)]
    for text in texts:
        unknown = unknown_placeholders(text)
        if unknown:
            raise Refused(f"service {spec.name}: nobody fills the placeholder {{{{{unknown[0]}}}}}")


def _check_stop_after(spec: ServiceSpec) -> None:
    stop_after = spec.task.stop_after
    if stop_after and stop_after < STOP_AFTER_LEAST:
        raise Refused(
            f"service {spec.name}: on_disconnect stop_after {stop_after:g} s is below {STOP_AFTER_LEAST:g} s",
            hint="the death of a nats-server would stop it",
        )
    if stop_after and "start-first" in (spec.update.order, spec.rollback.order):
        raise Refused(
            f"service {spec.name}: with on_disconnect stop_after no task may run beside another of its slot",
            hint="use order: stop-first",
        )


def _largest(value: object) -> float:
    """The largest number with a fraction in a tree: durations, CPUs, ratios."""
    if isinstance(value, float):
        return value
    parts: Iterable[object] = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    )
    return max(map(_largest, parts), default=0.0)


def check_stack(stack: str, wanted: Sequence[ServiceDeploy]) -> None:
    """Raises Refused: no services, too many, one named twice, one of another stack, or some that wait in a circle."""
    names: set[str] = set()
    for each in wanted:
        if each.spec.name in names:
            raise Refused(f"service {each.spec.name} stands twice in stack {stack}")
        names.add(each.spec.name)
        if each.spec.stack != stack:
            raise Refused(f"service {each.spec.name} says it is of stack {each.spec.stack!r}, not of {stack!r}")
        check_service(each)
    if not names:
        raise Refused(f"stack {stack} has no services", hint=f"to remove it: meshctl stack rm {stack}")
    check_circles([each.spec for each in wanted])
    if len(names) > STACK_SERVICES:
        raise Refused(f"stack {stack} has {len(names)} services, at most {STACK_SERVICES} can be deployed at once")


def warnings_for(spec: ServiceSpec, records: Records, observations: Mapping[str, Observation]) -> tuple[str, ...]:
    """What is accepted and will not run as things are: said with the answer."""
    views = node_views(records, observations)
    if not views:
        return (f"service {spec.name}: no node has joined yet; it waits for one",)
    wanted, task = spec.task.reservations, spec.task
    fitting = [view for view in views if all(satisfied(each, view) for each in task.placement.constraints)]
    if not fitting:
        rules = " and ".join(map(str, task.placement.constraints))
        return (f"service {spec.name}: no node fulfils {rules}; it waits for one",)
    cpus = max(view.facts.cpus for view in fitting)
    memory = max(view.facts.memory for view in fitting)
    said: list[str] = []
    if wanted.cpus and cpus and wanted.cpus > cpus:
        said.append(f"service {spec.name} reserves {wanted.cpus:g} CPUs, the largest fitting node has {cpus:g}")
    if wanted.memory and memory and wanted.memory > memory:
        mib = wanted.memory / 2**20
        said.append(f"service {spec.name} reserves {mib:,.0f} MiB, the largest fitting node has {memory / 2**20:,.0f}")
    return tuple(said)


def node_views(records: Records, observations: Mapping[str, Observation]) -> list[NodeView]:
    """Each member as constraints see it, by name."""
    return [
        NodeView(name, stored.record, "ready", observations.get(name), settled=True)
        for name, stored in sorted(records.nodes.items())
        if not stored.record.removed
    ]
