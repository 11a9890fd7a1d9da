"""What an agent that means harm can't do, tried with a plain client of the library on a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error
from nats.errors import TimeoutError as NatsTimeout

from bus.commits import Committed, Put
from bus.nats import connect
from bus.nats_admin import create_mesh
from bus.permissions import agent_publishes
from bus.port import Bus, Snapshot
from schemas.subjects import EPOCH, STATE_PREFIX

LITERAL = {
    "mesh.agentapi.n1.>": "mesh.agentapi.n1.join",
    "mesh.event.*.*.n1.*": "mesh.event.task.started.n1.web",
    "$JS.API.DIRECT.GET.KV_mesh_state.$KV.mesh_state.endpoints.>": (
        "$JS.API.DIRECT.GET.KV_mesh_state.$KV.mesh_state.endpoints.net.web"
    ),
}
PUBLISHABLE = [LITERAL.get(pattern, pattern) for pattern in agent_publishes("n1")]
TARGETS = ["election.epoch", "desired.n1", "desired.n2", "service.web", "mesh", "fresh"]


@contextlib.asynccontextmanager
async def attacker(server, user: str = "agent-n1") -> AsyncIterator[Client]:
    async def ignore(_: Exception) -> None:
        return

    client = await nats.connect(
        server.url, user=user, password="word", inbox_prefix=f"_INBOX.{user}", allow_reconnect=False, error_cb=ignore
    )
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def attacked(server) -> AsyncIterator[Bus]:
    """A mesh with a leader that answers whatever agents ask."""
    await create_mesh(server.credentials("operator"), "m1")
    async with (
        connect(server.credentials("controller-1"), timeout=5) as bus,
        bus.core.subscribe("mesh.heartbeat.*") as beats,
        bus.core.subscribe("mesh.agentapi.>") as calls,
        asyncio.TaskGroup() as group,
    ):
        outcome = await bus.state.commit([Put(EPOCH, b"{}", 0)])
        assert isinstance(outcome, Committed)
        for key in TARGETS[1:4]:
            assert isinstance(await bus.state.commit([Put(key, b"true")]), Committed)
        for node in ("n1", "n2"):
            assert isinstance(await bus.observed.commit([Put(node, b"true")]), Committed)

        async def answer_all(subscription) -> None:
            async for message in subscription:
                await bus.core.respond(message, b"harmless")

        tasks = [group.create_task(answer_all(each)) for each in (beats, calls)]
        yield bus
        for task in tasks:
            task.cancel()


async def settled(client: Client, bus: Bus) -> tuple[Snapshot, Snapshot]:
    """The stores once all that the attacker sent has been dealt with."""
    for _ in range(3):
        with contextlib.suppress(Error):
            await client.request("mesh.heartbeat.n1", b"last", timeout=1)
    await asyncio.sleep(0.05)
    return await bus.state.snapshot(), await bus.observed.snapshot()


@pytest.mark.parametrize("subject", PUBLISHABLE)
async def test_no_answer_can_be_reflected_into_the_state(nats_server, subject: str) -> None:
    async with attacked(nats_server) as bus, attacker(nats_server) as client:
        before = await bus.state.snapshot()
        for target in TARGETS:
            for payload in (b"", b"{}", b'{"last_by_subj":"x"}'):
                await client.publish(subject, payload, reply=STATE_PREFIX + target)
                await client.publish(
                    subject, payload, reply=STATE_PREFIX + target, headers={"Nats-Msg-Id": f"{target}{payload!r}"}
                )
        after, _ = await settled(client, bus)
        assert after == before
        epoch = await bus.state.read(EPOCH)
        assert epoch is not None
        assert epoch.value == b"{}"


async def test_over_a_stream_import_the_same_attack_deposes_the_leader(nats_server) -> None:
    """Why everything is a service; and the proof that the tests above would notice."""
    nats_server.stop()
    events = 'account: "CTRL", subject: "mesh.event.>"'
    nats_server.alter = lambda text: (
        text.replace('{ service: "mesh.event.>", accounts: ["AGENTS"] }', "")
        .replace("{ service: { " + events + " } }", "")
        .replace('response: "stream", accounts: ["CTRL"] }', 'response: "stream" }, { stream: "mesh.event.>" }')
        .replace(
            '{ service: { account: "AGENTS", subject: "mesh.node.>" } }',
            '{ stream: { account: "AGENTS", subject: "mesh.event.>" } }',
        )
    )
    nats_server.start()
    async with attacked(nats_server) as bus, attacker(nats_server) as client:
        await client.publish("mesh.event.task.started.n1.web", b"{}", reply=STATE_PREFIX + EPOCH)
        await settled(client, bus)
        epoch = await bus.state.read(EPOCH)
        assert epoch is not None
        assert b"mesh_events" in (epoch.value or b"")


@pytest.mark.parametrize("subject", PUBLISHABLE)
async def test_no_answer_can_be_reflected_into_another_nodes_observation(nats_server, subject: str) -> None:
    async with attacked(nats_server) as bus, attacker(nats_server) as client:
        for payload in (b"", b"{}"):
            await client.publish(subject, payload, reply="$KV.mesh_observed.n2")
        _, observed = await settled(client, bus)
        assert {entry.key: entry.value for entry in observed.entries}["n2"] == b"true"


@pytest.mark.parametrize(
    "subject",
    [
        "$KV.mesh_state.election.epoch",
        "$KV.mesh_state.desired.n1",
        "$KV.mesh_observed.n2",
        "mesh.event.task.started.n2.web",
        "mesh.heartbeat.n2",
        "mesh.agentapi.n2.join",
        "mesh.api.status.get",
        "mesh.leader",
        "mesh.controller.1",
        "mesh.state.desired.n2",
        "mesh.observed.n2",
        "mesh.node.n2.logs",
        "$JS.API.STREAM.INFO.KV_mesh_state",
        "$JS.API.STREAM.DELETE.KV_mesh_observed",
        "$JS.API.STREAM.PURGE.KV_mesh_observed",
        "$JS.API.STREAM.MSG.GET.KV_mesh_state",
        "$JS.API.CONSUMER.CREATE.mesh_events",
        "$JS.API.DIRECT.GET.KV_mesh_state",
        "$JS.API.DIRECT.GET.KV_mesh_state.$KV.mesh_state.desired.n2",
        "$JS.API.DIRECT.GET.KV_mesh_state.$KV.mesh_state.mesh",
        "$SYS.REQ.SERVER.PING",
    ],
)
async def test_an_agent_gets_no_answer_where_it_may_not_ask(nats_server, subject: str) -> None:
    async with attacked(nats_server) as bus, attacker(nats_server) as client, bus.core.subscribe("mesh.>") as heard:
        before = await bus.state.snapshot(), await bus.observed.snapshot()
        with pytest.raises(NatsTimeout):
            await client.request(subject, b"{}", timeout=0.15)
        assert await settled(client, bus) == before
        subjects = {(await heard.next()).subject for _ in range(len(heard._feed))}
        assert subjects <= {"mesh.heartbeat.n1"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Nats-Rollup": "all"},
        {"Nats-Rollup": "sub"},
        {"KV-Operation": "PURGE", "Nats-Rollup": "sub"},
        {"Nats-TTL": "1s"},
        {"Nats-Batch-Id": "x", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
        {"Nats-Expected-Last-Subject-Sequence": "1", "Nats-Expected-Last-Subject-Sequence-Subject": "$KV.>"},
    ],
    ids=lambda headers: "+".join(headers),
)
async def test_an_agent_can_not_wipe_what_others_have_stored(nats_server, headers: dict[str, str]) -> None:
    async with attacked(nats_server) as bus, attacker(nats_server) as client:
        await bus.events.append("mesh.event.node.joined.n2._", b"kept", "1")
        for subject in ("$KV.mesh_observed.n1", "mesh.event.task.started.n1.web"):
            with contextlib.suppress(Error):
                await client.request(subject, b"{}", timeout=0.5, headers=headers)
        _, observed = await settled(client, bus)
        assert {entry.key: entry.value for entry in observed.entries}["n2"] == b"true"
        assert (await bus.events.info()).first == 1


@pytest.mark.parametrize(
    "subject",
    [">", "mesh.>", "mesh.node.n2.>", "mesh.state.>", "mesh.state.desired.*", "mesh.observed.>", "_INBOX.>", "$SYS.>"],
)
async def test_an_agent_hears_nothing_that_is_not_for_it(nats_server, subject: str) -> None:
    async with attacked(nats_server) as bus, attacker(nats_server) as client:
        heard: list[str] = []

        async def keep(message) -> None:
            heard.append(message.subject)

        with contextlib.suppress(Error):
            await client.subscribe(subject, cb=keep)
        await bus.state.commit([Put("desired.n2", b"secret"), Put("service.db", b"secret")])
        await settled(client, bus)
        assert heard == []
