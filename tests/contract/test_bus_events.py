"""The event log, told of both adapters."""

from __future__ import annotations

import asyncio

import pytest

from bus.port import Bus, EventReader, From
from schemas.errors import Refused

STARTED = "mesh.event.task.started.n1.web"
SCALED = "mesh.event.service.scaled._.web"


async def append(bus: Bus, count: int, subject: str = SCALED, start: int = 0) -> None:
    for number in range(start, start + count):
        await bus.events.append(subject, b"%d" % number, f"{subject}:{number}")


async def numbers(reader: EventReader, count: int) -> list[int]:
    async with asyncio.timeout(10):
        return [int((await reader.next()).data) for _ in range(count)]


async def test_events_come_in_order_with_their_sequence(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        await append(bus, 600)
        async with bus.events.read(From(after=0)) as reader:
            assert await numbers(reader, 600) == list(range(600))
        async with bus.events.read(From(after=590)) as reader:
            event = await reader.next()
            assert (event.sequence, event.subject, event.data) == (591, SCALED, b"590")


async def test_a_reader_goes_on_with_what_comes(mesh) -> None:
    async with mesh.connect("controller-1") as bus, mesh.connect("operator") as other:
        await append(bus, 3)
        async with other.events.read(From()) as reader:
            await append(bus, 3, start=3)
            assert await numbers(reader, 3) == [3, 4, 5]
            await append(bus, 1, start=6)
            assert await numbers(reader, 1) == [6]


async def test_the_same_event_is_stored_once(mesh) -> None:
    async with mesh.connect("agent-n1") as agent, mesh.connect("controller-1") as bus:
        first = await agent.events.append(STARTED, b"1", "n1:1")
        assert await agent.events.append(STARTED, b"1", "n1:1") == first
        assert await agent.events.append(STARTED, b"2", "n1:2") == first + 1
        assert (await bus.events.info()).last == first + 1


async def test_a_reader_gets_the_subjects_that_it_asked_for(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        await append(bus, 3, STARTED)
        await append(bus, 2, SCALED, start=10)
        await append(bus, 1, STARTED, start=3)
        async with bus.events.read(From(after=0), ["mesh.event.task.>"]) as reader:
            assert await numbers(reader, 4) == [0, 1, 2, 3]
        async with bus.events.read(From(after=0), ["mesh.event.service.*.*.*", "mesh.event.*.*.n1.*"]) as reader:
            assert await numbers(reader, 6) == [0, 1, 2, 10, 11, 3]


async def test_a_cursor_goes_on_after_what_was_confirmed(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        await append(bus, 10)
        async with bus.events.read(From(after=0, cursor="watcher")) as reader:
            assert await numbers(reader, 5) == [0, 1, 2, 3, 4]
            await reader.confirm(3)
    async with mesh.connect("controller-2") as bus, bus.events.read(From(after=0, cursor="watcher")) as reader:
        assert await numbers(reader, 7) == [3, 4, 5, 6, 7, 8, 9]


async def test_a_new_cursor_remembers_where_it_began(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        await append(bus, 2)
        async with bus.events.read(From(cursor="late")):
            pass
        await append(bus, 2, start=2)
        async with bus.events.read(From(cursor="late")) as reader:
            assert await numbers(reader, 2) == [2, 3]


async def test_reading_can_start_at_a_time(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        await append(bus, 2)
        await asyncio.sleep(0.02)
        await append(bus, 2, start=2)
        async with bus.events.read(From(after=2)) as reader:
            third = await reader.next()
        async with bus.events.read(From(since=third.at - 0.001)) as reader:
            assert await numbers(reader, 2) == [2, 3]
        async with bus.events.read(From(since=0.0)) as reader:
            assert await numbers(reader, 4) == [0, 1, 2, 3]
        async with bus.events.read(From(since=third.at + 3600)) as reader:
            await append(bus, 1, start=4)
            assert await numbers(reader, 1) == [4]


async def test_an_event_is_found_by_its_subject(mesh) -> None:
    async with mesh.connect("agent-n1") as agent, mesh.connect("operator") as bus:
        await append(bus, 30)
        assert await bus.events.find("mesh.event.postmortem.2s-1.*.*") is None
        for task in ("2s-1", "2s-12"):
            await agent.events.append(f"mesh.event.postmortem.{task}.n1.web", task.encode(), task)
        await append(bus, 30, start=30)
        found = await bus.events.find("mesh.event.postmortem.2s-12.*.*")
        assert found is not None
        assert (found.sequence, found.data) == (32, b"2s-12")
        with pytest.raises(Refused):
            await agent.events.find("mesh.event.>")


async def test_an_agent_tells_events_of_its_own_node_only(mesh) -> None:
    async with mesh.connect("agent-n1") as agent:
        await agent.events.append("mesh.event.batch.container.n1._", b"{}", "1")
        with pytest.raises(Refused):
            await agent.events.append("mesh.event.task.started.n2.web", b"{}", "2")
        with pytest.raises(Refused):
            agent.events.read(From())
