"""An agent may say anything that decodes: the others are served all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from bus.port import Entry
from controller.api.checks import check_service
from controller.changes import PutAssignment
from controller.plan import plan
from controller.records import Garbage, Records
from schemas.errors import Refused
from schemas.observation import BoundPort, Observation, ObservedTask
from schemas.records import RevisionRecord
from schemas.serviceapi import ServiceDeploy
from schemas.spec import RestartPolicy
from schemas.wire import encode
from tests.unit.controller.model import EVERYTHING, Mesh, service_spec, three_nodes

ODD = ("", "abc", "²", "٣", "9" * 5000, "-1", "1.2", "\x00", "z" * 100_000)
"""Slots and ids that no controller makes. Python's int takes some of them for numbers, and chokes on others."""


def placed(mesh: Mesh, **told: Any) -> int:
    """How many tasks of a service that was just wanted a round places while n1's observation holds all this."""
    mesh.deploy(service_spec("db", cpus=0.5), replicas=2)
    world = mesh.world()
    observation: Observation = msgspec.structs.replace(world.observations["n1"], **told)
    world = replace(world, observations={**world.observations, "n1": observation})
    changes = plan(world, EVERYTHING, mesh.now).changes
    assigned = [task for change in changes if isinstance(change, PutAssignment) for task in change.record.tasks]
    return sum(task.service == "db" for task in assigned)


def meshed() -> Mesh:
    mesh = three_nodes()
    mesh.deploy(service_spec("web"), replicas=2)
    mesh.settle()
    return mesh


@pytest.mark.parametrize("text", ODD, ids=[ascii(text[:8]) for text in ODD])
def test_odd_names_of_tasks_and_slots_keep_nobody_from_being_served(text: str) -> None:
    task = ObservedTask(id="1-1", service="web", slot="1", revision=1, spec="x", state="running")
    odd = [
        msgspec.structs.replace(task, slot=text),
        msgspec.structs.replace(task, id=text),
        msgspec.structs.replace(task, id=f"1-1.r{text}", predecessor=text, state="failed"),
        msgspec.structs.replace(task, id=f"{text}-{text}", spec=text),
    ]
    assert placed(meshed(), tasks=tuple(odd), volumes=(text,)) == 2


@pytest.mark.parametrize("cpus", [0.0, 1e300])
def test_odd_facts_keep_nobody_from_being_served(cpus: float) -> None:
    mesh = meshed()
    facts = mesh.world().observations["n1"].facts
    odd = msgspec.structs.replace(facts, cpus=cpus, memory=2**62, architecture="²", engine_labels={"": ""})
    port = BoundPort(target=0, published=2**62, host_ip="²")
    assert placed(mesh, facts=odd, ports_taken=(port,)) == 2


@pytest.mark.parametrize("number", ["²", "٣", "9" * 5000, "-1", ""], ids=["two", "three", "long", "negative", "none"])
def test_a_revision_of_an_odd_number_is_garbage(number: str) -> None:
    entry = Entry(f"revision.web.{number}", encode(RevisionRecord(number=1, spec=service_spec())), 5, 0.0)
    assert isinstance(Records().apply(entry), Garbage)


def test_numbers_that_nobody_means_are_refused() -> None:
    """Twice 1e308 seconds is no number any more, and can't be stored as one."""
    spec = service_spec(restart=RestartPolicy(delay=1e308, max_delay=1e308))
    with pytest.raises(Refused, match="is no duration"):
        check_service(ServiceDeploy(spec=spec, replicas=1))
