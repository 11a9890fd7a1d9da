"""Core messages, told of both adapters."""

from __future__ import annotations

import asyncio

import pytest

from bus.commits import Put
from bus.port import Bus, Entry, Message
from schemas.errors import Refused, Unreachable


async def answer(bus: Bus, message: Message, text: bytes) -> None:
    await bus.core.respond(message, text)


async def test_a_message_reaches_everyone_who_listens(mesh) -> None:
    async with (
        mesh.connect("controller-1") as one,
        mesh.connect("controller-2") as two,
        one.core.subscribe("mesh.leader") as first,
        two.core.subscribe("mesh.*") as second,
    ):
        await one.core.publish("mesh.leader", b"I lead")
        assert (await first.next()).data == b"I lead"
        heard = await second.next()
        assert (heard.subject, heard.data) == ("mesh.leader", b"I lead")


async def test_messages_of_one_sender_keep_their_order(mesh) -> None:
    async with (
        mesh.connect("controller-1") as one,
        mesh.connect("controller-2") as two,
        two.core.subscribe("mesh.>") as heard,
    ):
        for number in range(200):
            await one.core.publish(f"mesh.leader.{number % 3}", str(number).encode())
        assert [int((await heard.next()).data) for _ in range(200)] == list(range(200))


async def test_one_of_a_queue_group_gets_each_message(mesh) -> None:
    async with (
        mesh.connect("controller-1") as one,
        mesh.connect("controller-2") as two,
        one.core.subscribe("mesh.api.>", queue="all") as first,
        two.core.subscribe("mesh.api.>", queue="all") as second,
        two.core.subscribe("mesh.api.>") as silent,
    ):
        for number in range(50):
            await one.core.publish("mesh.api.status.get", str(number).encode())
        for _ in range(50):
            await silent.next()
        got: list[int] = []

        async def collect(subscription) -> None:
            while True:
                got.append(int((await subscription.next()).data))

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            collecting = [group.create_task(collect(each)) for each in (first, second)]
            while len(got) < 50:
                await asyncio.sleep(0.01)
            for each in collecting:
                each.cancel()
        assert sorted(got) == list(range(50))


async def test_a_request_gets_the_first_answer(mesh) -> None:
    async with mesh.connect("controller-1") as server, mesh.connect("operator") as client:
        async with server.core.subscribe("mesh.api.>") as asked, asyncio.TaskGroup() as group:
            answered = group.create_task(client.core.request("mesh.api.status.get", b"?", timeout=5))
            message = await asked.next()
            await answer(server, message, b"fine")
            await answer(server, message, b"too late")
        assert answered.result() == b"fine"


async def test_a_request_that_nobody_serves_is_unreachable_at_once(mesh) -> None:
    async with (
        mesh.connect("operator") as client,
        asyncio.timeout(5),
    ):
        with pytest.raises(Unreachable):
            await client.core.request("mesh.api.status.get", b"", timeout=60)


async def test_a_request_without_an_answer_is_unreachable_in_time(mesh) -> None:
    async with (
        mesh.connect("controller-1") as server,
        mesh.connect("operator") as client,
        server.core.subscribe("mesh.api.>"),
    ):
        with pytest.raises(Unreachable, match="within"):
            await client.core.request("mesh.api.status.get", b"", timeout=0.05)


async def test_an_agent_is_heard_and_answered(mesh) -> None:
    async with (
        mesh.connect("controller-1") as leader,
        mesh.connect("controller-2") as silent,
        mesh.connect("agent-n1") as agent,
    ):
        async with (
            leader.core.subscribe("mesh.heartbeat.*") as beats,
            silent.core.subscribe("mesh.heartbeat.*") as overheard,
            asyncio.TaskGroup() as group,
        ):
            answered = group.create_task(agent.core.request("mesh.heartbeat.n1", b"1", timeout=5))
            await answer(leader, await beats.next(), b"yes")
            assert (await overheard.next()).data == b"1"
        assert answered.result() == b"yes"


async def test_an_agent_serves_requests_many_times(mesh) -> None:
    async with (
        mesh.connect("operator") as client,
        mesh.connect("agent-n1") as agent,
        agent.core.subscribe("mesh.node.n1.>") as asked,
    ):
        for number in range(20):
            async with asyncio.TaskGroup() as group:
                page = group.create_task(client.core.request("mesh.node.n1.logs", b"%d" % number, timeout=5))
                message = await asked.next()
                await answer(agent, message, message.data + b"!")
            assert page.result() == b"%d!" % number


@pytest.mark.parametrize(
    "subject", ["mesh.heartbeat.n2", "mesh.api.status.get", "mesh.leader", "$KV.mesh_state.election.epoch"]
)
async def test_an_agent_is_told_no_when_it_says_what_it_may_not(mesh, subject: str) -> None:
    async with mesh.connect("agent-n1") as agent:
        with pytest.raises(Refused):
            await agent.core.publish(subject, b"")
        with pytest.raises(Refused):
            await agent.core.request(subject, b"", timeout=0.1)


@pytest.mark.parametrize("subject", ["mesh.node.n2.>", "mesh.node.>", "mesh.>", ">", "mesh.state.desired.n2"])
async def test_an_agent_is_told_no_when_it_listens_where_it_may_not(mesh, subject: str) -> None:
    async with mesh.connect("agent-n1") as agent:
        with pytest.raises(Refused):
            agent.core.subscribe(subject)


async def test_a_full_subscription_drops_the_oldest_and_counts(mesh) -> None:
    async with (
        mesh.connect("controller-1") as one,
        one.core.subscribe("mesh.leader", limit=3) as heard,
        one.core.subscribe("mesh.end") as end,
    ):
        for number in range(10):
            await one.core.publish("mesh.leader", b"%d" % number)
        await one.core.publish("mesh.end", b"")
        await end.next()
        await asyncio.sleep(0.05)
        assert [(await heard.next()).data for _ in range(3)] == [b"7", b"8", b"9"]
        assert heard.dropped == 7


async def test_who_disconnects_is_told(mesh) -> None:
    async with mesh.connect("controller-1") as controller, controller.disconnects() as gone:
        async with mesh.connect("agent-n2"):
            pass
        assert (await gone.next()).subject == "agent-n2"
        async with mesh.connect("controller-2"):
            pass
        assert (await gone.next()).subject == "controller-2"


async def test_a_line_that_answers_is_kept_however_often_it_is_asked(mesh) -> None:
    async with (
        mesh.connect("controller-1") as one,
        mesh.connect("agent-n1") as agent,
        agent.state.watch("desired.n1") as watch,
        one.core.subscribe("mesh.leader") as heard,
        asyncio.TaskGroup() as group,
    ):
        checks = [group.create_task(bus.check_line(0.4)) for bus in (one, agent) for _ in range(3)]
        assert [await check for check in checks] == [False] * 6
        await one.core.publish("mesh.leader", b"still here")
        assert (await heard.next()).data == b"still here"
        await one.state.commit([Put("desired.n1", b"no gap before it")])
        assert isinstance(await watch.next(), Entry)
