"""Rubbish on every subject of the mesh, from whoever may publish there: nobody dies of it, and nothing else stops."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator

import pytest

from bus.commits import Delete
from bus.credentials import read_credentials
from bus.nats import connect
from bus.port import Bus
from bus.users import Credentials
from schemas import subjects
from schemas.api import REQUESTS
from schemas.clock import SystemClock
from schemas.errors import MeshError
from schemas.memberapi import AGENT_REQUESTS
from schemas.nodeapi import NODE_REQUESTS
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

RUBBISH = (
    b"",
    b"\x00\xff\xfe rubbish",
    b"{",
    b"null",
    b"[]",
    b'{"node": 3, "tasks": "many", "name": null}',
    b'{"node": "node-1", "instance": "x", "boot": "", "count": -1}',
    b"[" * 50_000,
    json.dumps({"x": "y" * 200_000}).encode(),
)

KEYS = (
    "service.rubbish",
    "revision.rubbish.1",
    "revision.rubbish.one",
    "stack.rubbish",
    "node.rubbish",
    "order.rubbish",
    "rollout.rubbish",
    "desired.rubbish",
    "liveness.rubbish",
    "network.rubbish",
    "alloc.rubbish",
    "endpoints.rubbish.rubbish",
    "cursor.rubbish",
    "what.ever",
)


@pytest.fixture
def running(site: Site) -> Iterator[Site]:
    """A mesh with work; afterwards the same processes and containers run, and new work is done."""
    site.deploy("calm", web=worker(replicas=3))
    containers, processes, began = site.ids("calm_web"), pids(site), site.now()
    yield site
    assert pids(site) == processes, "a process died"
    assert site.ids("calm_web") == containers, [event.why for event in site.events(began, service="calm_web")]
    site.all_ready()
    site.meshctl("service", "scale", "calm_web=6")
    assert containers < site.ids("calm_web")
    assert "Traceback" not in fresh_logs(site)


def pids(site: Site) -> dict[str, dict[str, int]]:
    """Every process of the mesh: machine -> program -> pid."""
    return {machine.name: site.lab.rack.host(machine.name).running() for machine in site.lab.status()}


def fresh_logs(site: Site) -> str:
    """The ends of what the controllers and agents have said."""
    names = [*((each, "controller") for each in site.lab.controllers), *((each, "agent") for each in site.lab.nodes)]
    return "\n".join(site.lab.log(*name).read_text(errors="replace")[-200_000:] for name in names)


def test_rubbish_from_the_operators_account_on_core_subjects(running: Site) -> None:
    names = [
        *(f"mesh.api.{name}" for name in (*REQUESTS, "no.such", "x")),
        *(f"mesh.node.node-1.{verb}" for verb in (*NODE_REQUESTS, "nothing")),
        *(f"mesh.agentapi.node-1.{verb}" for verb in (*AGENT_REQUESTS, "nothing")),
        *(f"mesh.heartbeat.{node}" for node in ("node-1", "rubbish")),
        *("mesh.leader", "mesh.controller.controller-1", "mesh.controller.rubbish", "mesh.nothing"),
        *(f"mesh.state.{key}" for key in ("desired.node-1", "service.calm_web", "election.epoch", "mesh", "rubbish")),
        *("mesh.observed.node-1", "mesh.observed.rubbish", "mesh.event.a.b.c.d", "mesh.event.batch.container.node-1._"),
    ]
    publish(running.lab.credentials(), names)


def test_rubbish_from_an_agent_on_all_that_it_may_publish(running: Site) -> None:
    own = read_credentials(running.lab.paths.credentials("node-3"), name="rubbish")
    credentials = Credentials(running.lab.credentials().servers, own.user, own.password)
    names = [
        *("mesh.heartbeat.node-3", "mesh.agentapi.node-3.join", "mesh.agentapi.node-3.nothing"),
        *("mesh.event.task.started.node-3._", "mesh.event.batch.container.node-3._", "$KV.mesh_observed.node-3"),
        "$JS.API.DIRECT.GET.KV_mesh_state.$KV.mesh_state.desired.node-3",
    ]
    publish(credentials, names)


def test_rubbish_in_the_stores(running: Site) -> None:
    """Only an operator can write there. Records that nobody can read are no decisions."""
    names = [f"{subjects.STATE_PREFIX}{key}" for key in KEYS]
    names += [f"{subjects.OBSERVED_PREFIX}{node}" for node in ("node-1", "node-2")]
    publish(running.lab.credentials(), names, RUBBISH[1:4])
    try:
        running.all_ready()
        running.meshctl("service", "scale", "calm_web=4")
        running.meshctl("service", "scale", "calm_web=3")
        running.wait("three run", lambda: len(running.containers("calm_web")) == 3)
    finally:
        running.ask(lambda mesh: forget(mesh.bus))


async def forget(bus: Bus) -> None:
    """Delete the rubbish."""
    await bus.state.commit([Delete(key) for key in KEYS])


def test_rubbish_in_the_records_that_the_leader_goes_by(running: Site) -> None:
    """An assignment that nobody can read stops nothing; the leader writes it anew."""
    keys = ("desired.node-1", "rollout.calm_web", "liveness.node-2", "brake")
    publish(running.lab.credentials(), [f"{subjects.STATE_PREFIX}{key}" for key in keys], RUBBISH[1:3])
    running.all_ready()
    running.meshctl("service", "scale", "calm_web=4")
    running.meshctl("service", "scale", "calm_web=3")
    running.wait("three run", lambda: len(running.containers("calm_web")) == 3)


def publish(credentials: Credentials, names: list[str], rubbish: tuple[bytes, ...] = RUBBISH) -> None:
    """All the rubbish on all the subjects, and noise of chance; with and without asking for an answer."""
    noise = random.Random(7).randbytes(2000)

    async def work() -> None:
        async with connect(credentials, clock=SystemClock(), timeout=10) as bus:
            for data in (*rubbish, noise, os.urandom(500)):
                for name in names:
                    await bus.core.publish(name, data)
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(ask(bus, name, rubbish[1]))

    asyncio.run(work())


async def ask(bus: Bus, name: str, data: bytes) -> None:
    try:
        await bus.core.request(name, data, timeout=1.0)
    except MeshError:
        return
