"""Records as people see them: services, nodes, volumes, status. Pure; tasks are in `controller.task_views`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controller.network_troubles import network_troubles
from controller.records import Records
from schemas.memberapi import NodeView
from schemas.network import Publication
from schemas.observation import NodeFacts, Observation
from schemas.records import Reason, ServiceRecord
from schemas.serviceapi import ServiceList, ServiceView
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.statusapi import ControllerView, Status
from schemas.volumeapi import VolumeView

Observations = Mapping[str, Observation]


@dataclass(frozen=True)
class Heads:
    """Who leads and who is there, as one controller has heard it."""

    leader: str
    controllers: tuple[ControllerView, ...]
    rounds: int
    version: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class _Seen:
    """What is told of services beside their own records, by their names."""

    running: Mapping[str, int]
    troubles: Mapping[str, tuple[str, ...]]
    published: Mapping[str, tuple[Publication, ...]]


def service_list(records: Records, observations: Observations, stack: str = "") -> ServiceList:
    """All services that stand (of a stack), by name."""
    seen = _seen(records, observations)
    listed = (
        _service(records, seen, stored.record, stored.sequence)
        for _, stored in sorted(records.services.items())
        if not stored.record.removed and stack in ("", stored.record.stack)
    )
    return ServiceList(services=tuple(listed), sequence=records.sequence)


def service_view(records: Records, observations: Observations, service: str) -> ServiceView:
    """One service. Raises KeyError."""
    stored = records.services[service]
    return _service(records, _seen(records, observations), stored.record, stored.sequence)


def node_views(records: Records, observations: Observations) -> Iterator[NodeView]:
    """All members, by name."""
    for name, stored in sorted(records.nodes.items()):
        if not stored.record.removed:
            yield node_view(records, observations, name)


def node_view(records: Records, observations: Observations, name: str) -> NodeView:
    """One member. Raises KeyError."""
    record = records.nodes[name].record
    observation = observations.get(name)
    verdict = records.liveness.get(name)
    stored = records.assignments.get(name)
    tasks = stored.record.tasks if stored else ()
    specs = stored.record.specs if stored else {}
    held = [specs[task.spec].reservations for task in tasks if task.desired == "running" and task.spec in specs]
    return NodeView(
        node=name,
        status=node_status(records, name),
        availability=record.availability,
        labels=record.labels,
        facts=observation.facts if observation else NodeFacts(),
        why=verdict.why if verdict else "not heard yet",
        since=verdict.since if verdict else 0.0,
        instance=record.instance,
        tasks=sum(task.desired == "running" for task in tasks),
        running=0 if observation is None or node_status(records, name) == "down" else _up(observation),
        reserved_cpus=sum(each.cpus for each in held),
        reserved_memory=sum(each.memory for each in held),
        volumes=observation.volumes if observation else (),
        joined_at=record.joined_at,
    )


def _up(observation: Observation) -> int:
    return sum(task.state == "running" for task in observation.tasks)


def node_status(records: Records, name: str) -> str:
    """ready | not-ready | down | unknown (no verdict yet)."""
    verdict = records.liveness.get(name)
    return verdict.verdict if verdict is not None else "unknown"


def volume_views(records: Records, observations: Observations) -> Iterator[VolumeView]:
    """Named volumes on all nodes, with the services whose specs name them."""
    users: dict[str, set[str]] = {}
    for service, spec in _specs(records):
        for mount in spec.task.container.mounts:
            if mount.kind == "volume" and mount.source:
                users.setdefault(mount.source, set()).add(service)
    for node, observation in sorted(observations.items()):
        stored = records.nodes.get(node)
        if stored is None or stored.record.removed:
            continue
        for volume in sorted(observation.volumes):
            services = tuple(sorted(users.get(volume, ())))
            yield VolumeView(name=volume, node=node, services=services, node_status=node_status(records, node))


def status(records: Records, observations: Observations, heads: Heads) -> Status:
    """How the mesh is."""
    epoch, _ = records.epoch
    mesh = records.mesh
    standing = [name for name, stored in records.services.items() if not stored.record.removed]
    members = [name for name, stored in records.nodes.items() if not stored.record.removed]
    progress = [rollout for name in standing if (rollout := records.rollouts.get(name)) is not None]
    return Status(
        mesh_id=mesh.mesh_id if mesh else "",
        generation=mesh.generation if mesh else 0,
        epoch=epoch,
        leader=heads.leader,
        controllers=heads.controllers,
        nodes_ready=sum(node_status(records, name) == "ready" for name in members),
        nodes=len(members),
        services=len(standing),
        services_converged=sum(_converged(records, name) for name in standing),
        tasks_running=sum(_running(records, observations).values()),
        tasks_wanted=sum(max(0, rollout.wanted - rollout.complete) for rollout in progress),
        brake=records.brake,
        reasons=(*heads.reasons, *_reasons(records, standing), *_troubles(records, observations)),
        sequence=records.sequence,
        rounds=heads.rounds,
        version=heads.version,
    )


def _converged(records: Records, service: str) -> bool:
    """Its rollout answers the intent that stands, and is done."""
    stored, rollout = records.services[service], records.rollouts.get(service)
    return rollout is not None and rollout.phase == "done" and rollout.intent == stored.sequence


def _reasons(records: Records, services: Iterable[str]) -> Iterator[Reason]:
    """Why services are not (yet) as wanted."""
    for name in sorted(services):
        rollout = records.rollouts.get(name)
        if rollout is not None:
            for reason in rollout.reasons:
                yield Reason(text=f"{name}: {reason.text}", count=reason.count)


def _troubles(records: Records, observations: Observations) -> Iterator[Reason]:
    """What does not work of networks."""
    for service, whys in network_troubles(records, observations).items():
        yield from (Reason(text=f"service {service}: {why}" if service else why) for why in whys)


def _seen(records: Records, observations: Observations) -> _Seen:
    published: dict[str, tuple[Publication, ...]] = {}
    for port in records.publish.ports:
        published[port.service] = (*published.get(port.service, ()), port)
    return _Seen(_running(records, observations), network_troubles(records, observations), published)


def _service(records: Records, seen: _Seen, record: ServiceRecord, sequence: int) -> ServiceView:
    rollout = records.rollouts.get(record.name)
    revision = records.revisions.get((record.name, record.target))
    desired = record.replicas if record.mode == "replicated" else (rollout.wanted if rollout else 0)
    return ServiceView(
        record=record,
        spec=revision.spec if revision else _missing(record),
        sequence=sequence,
        rollout=rollout,
        running=seen.running.get(record.name, 0),
        desired=desired,
        revisions=records.revisions_of(record.name),
        troubles=seen.troubles.get(record.name, ()),
        published=seen.published.get(record.name, ()),
    )


def _running(records: Records, observations: Observations) -> Counter[str]:
    """Tasks that run (healthy) on nodes that are not down, by service."""
    count: Counter[str] = Counter()
    for node, observation in observations.items():
        if node_status(records, node) != "down":
            count.update(task.service for task in observation.tasks if task.up)
    return count


def _specs(records: Records) -> Iterator[tuple[str, ServiceSpec]]:
    """The target spec of each service that stands."""
    for name, stored in sorted(records.services.items()):
        revision = records.revisions.get((name, stored.record.target))
        if revision is not None and not stored.record.removed:
            yield name, revision.spec


def _missing(record: ServiceRecord) -> ServiceSpec:
    """What is shown where the target revision is not in the store."""
    empty = TaskSpec(container=ContainerSpec(image=""))
    return ServiceSpec(name=record.name, stack=record.stack, mode=record.mode, task=empty)
