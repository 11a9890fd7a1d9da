"""The public client over the bus in memory, and archives sent through it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bus.memory import MemoryBroker
from bus.port import Message
from meshctl import asking
from meshctl.client import Mesh
from meshctl.transfer import send_archive
from schemas import nodeapi, subjects
from schemas.api import REQUESTS
from schemas.errors import Conflict, EngineError, Internal, MeshError, NotFound, TimedOut, Unreachable
from schemas.replies import reply_error, reply_with
from schemas.requests import Written
from schemas.serviceapi import ListServices, ServiceList
from schemas.stackapi import RemoveStack
from schemas.statusapi import GetStatus
from schemas.wire import Wire, decode

Handler = Callable[[Message], Awaitable[bytes | None]]


@asynccontextmanager
async def answering(broker: MemoryBroker, pattern: str, handle: Handler) -> AsyncIterator[None]:
    bus = broker.connect("controller-1")
    listening = asyncio.Event()

    async def serve() -> None:
        async with bus.core.subscribe(pattern) as subscription:
            listening.set()
            async for message in subscription:
                answer = await handle(message)
                if answer is not None:
                    await bus.core.respond(message, answer)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve())
        await listening.wait()
        yield
        task.cancel()


async def test_a_read_after_a_write_asks_for_what_the_write_made() -> None:
    broker = MemoryBroker()
    seen: list[int] = []

    async def handle(message: Message) -> bytes:
        if message.subject.endswith("service.scale"):
            return reply_with(Written(sequence=42))
        seen.append(decode(message.data, ListServices).min_sequence)
        return reply_with(ServiceList(services=()))

    mesh = Mesh(broker.connect("operator"))
    async with answering(broker, subjects.API_ALL, handle):
        await mesh.services()
        await mesh.scale({"web": 3})
        await mesh.services()
    assert seen == [0, 42]


async def test_every_command_has_an_id_of_its_own() -> None:
    broker = MemoryBroker()
    seen: list[str] = []

    async def handle(message: Message) -> bytes:
        seen.append(decode(message.data, RemoveStack).command)
        return reply_with(Written(sequence=1))

    mesh = Mesh(broker.connect("operator"))
    async with answering(broker, subjects.API_ALL, handle):
        await mesh.remove_stack("a")
        await mesh.remove_stack("b")
    assert len(set(seen)) == 2
    assert all(seen)


async def test_an_answer_that_can_not_be_read_is_no_fault_of_the_user() -> None:
    broker = MemoryBroker()

    async def handle(message: Message) -> bytes:
        return b"garbage" if message.subject.endswith("stack.list") else reply_with({"services": 3})

    async with answering(broker, subjects.API_ALL, handle):
        for ask in (Mesh(broker.connect("operator")).stacks, Mesh(broker.connect("operator")).services):
            with pytest.raises(Internal, match="can't be read"):
                await ask()


async def test_an_error_on_the_wire_is_raised_as_what_it_is() -> None:
    broker = MemoryBroker()

    async def handle(message: Message) -> bytes:
        return reply_error(Conflict("taken", hint="choose another"))

    async with answering(broker, subjects.API_ALL, handle):
        with pytest.raises(Conflict) as error:
            await Mesh(broker.connect("operator")).services()
    assert error.value.hint == "choose another"


async def test_what_nobody_answers_is_repeated_a_write_under_the_same_id() -> None:
    broker = MemoryBroker()
    asked: list[str] = []
    commands: list[str] = []

    async def handle(message: Message) -> bytes | None:
        if message.subject == subjects.api("stack", "remove"):
            commands.append(decode(message.data, RemoveStack).command)
        asked.append(message.subject.rsplit(".", 2)[-2])
        return (
            reply_with(ServiceList(services=())) if asked[-1:] == ["service"] and asked.count("service") == 2 else None
        )

    mesh = Mesh(broker.connect("operator"))
    async with answering(broker, subjects.API_ALL, handle):
        await mesh.ask("service.list", ListServices(), timeout=0.05)
        with pytest.raises(Unreachable) as error:
            await mesh.ask("stack.remove", RemoveStack(stack="a"), timeout=0.05)
    assert asked == ["service", "service", "stack", "stack"]
    assert commands[0]
    assert commands[0] == commands[1]
    assert "may or may not have been done" in error.value.hint


async def test_a_write_is_asked_again_while_the_first_is_still_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.05)
    broker = MemoryBroker()
    commands: list[str] = []

    async def handle(message: Message) -> bytes | None:
        commands.append(decode(message.data, RemoveStack).command)
        return reply_with(Written(sequence=7)) if len(commands) == 2 else None

    mesh = Mesh(broker.connect("operator"))
    loop = asyncio.get_running_loop()
    async with answering(broker, subjects.API_ALL, handle):
        began = loop.time()
        assert (await mesh.remove_stack("a")).sequence == 7
        assert loop.time() - began < 1.0, "whoever took the first one has died"
    assert len(commands) == 2
    assert len(set(commands)) == 1


async def test_an_answer_to_the_first_request_counts_even_after_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.02)
    asked: list[float] = []

    async def ask(seconds: float) -> bytes:
        asked.append(seconds)
        await asyncio.sleep(0.1 if len(asked) == 1 else 30)
        return b"first"

    answer = await asking.first_answer(ask, asking.Persistence(each=60, seconds=60))
    assert answer == b"first"
    assert 2 <= len(asked) <= 4


@pytest.mark.parametrize("wrote", [False, True])
async def test_what_a_store_that_just_starts_does_not_answer_is_asked_again(wrote: bool) -> None:
    broker, asked = MemoryBroker(), list[str]()

    async def handle(message: Message) -> bytes:
        asked.append(message.subject)
        if len(asked) == 1:
            return reply_error(Unreachable("JetStream system temporarily unavailable (JetStream 10008)"))
        return reply_with(Written(sequence=7) if wrote else ServiceList(services=()))

    mesh = Mesh(broker.connect("operator"))
    async with answering(broker, subjects.API_ALL, handle):
        await (mesh.remove_stack("a") if wrote else mesh.services())
    assert len(asked) == 2


@pytest.mark.parametrize("wrote", [False, True])
async def test_a_store_that_stays_away_is_told_in_the_controllers_own_words(wrote: bool) -> None:
    broker = MemoryBroker()

    async def handle(_: Message) -> bytes:
        return reply_error(Unreachable("the store has not answered for 12 s", hint="are the nats-servers up?"))

    mesh = Mesh(broker.connect("operator"))
    async with answering(broker, subjects.API_ALL, handle):
        asking = mesh.ask("stack.remove", RemoveStack(stack="a"), timeout=0.6) if wrote else mesh.services()
        with pytest.raises(Unreachable) as error:
            await asking
    assert error.value.message == "the store has not answered for 12 s"
    assert error.value.hint == "are the nats-servers up?"


async def test_a_write_that_may_have_been_done_is_not_told_as_undone_by_a_store_that_went_silent() -> None:
    broker, asked = MemoryBroker(), list[str]()

    async def handle(message: Message) -> bytes:
        asked.append(message.subject)
        if len(asked) == 1:
            return reply_error(TimedOut("the change may or may not be stored"))
        return reply_error(Unreachable("the store has not answered for 12 s: nothing was changed"))

    mesh = Mesh(broker.connect("operator"))
    async with answering(broker, subjects.API_ALL, handle):
        with pytest.raises(Unreachable) as error:
            await mesh.ask("stack.remove", RemoveStack(stack="a"), timeout=0.8)
    assert "nothing was changed" not in error.value.message
    assert "may or may not have been done" in error.value.hint


async def test_a_mesh_without_controllers_says_so() -> None:
    with pytest.raises(Unreachable, match="no controller answers"):
        await Mesh(MemoryBroker().connect("operator")).ask("status.get", GetStatus(), timeout=0.05)


def test_there_is_a_method_for_every_request() -> None:
    methods = {name for name in dir(Mesh) if not name.startswith("_")}
    spoken = {
        "stack.deploy": "deploy_stack",
        "stack.remove": "remove_stack",
        "stack.list": "stacks",
        "service.put": "put_service",
        "service.scale": "scale",
        "service.remove": "remove_services",
        "service.history": "history",
        "service.rollback": "rollback",
        "service.pause": "pause",
        "service.list": "services",
        "service.inspect": "service",
        "task.list": "tasks",
        "task.inspect": "task",
        "node.list": "nodes",
        "node.inspect": "node",
        "node.update": "update_node",
        "node.remove": "remove_node",
        "volume.list": "volumes",
        "status.get": "status",
        "order.give": "order",
        "stack.plan": "plan_stack",
        "stack.history": "stack_history",
        "stack.rollback": "rollback_stack",
        "service.promote": "promote",
        "service.refresh": "refresh",
        "network.create": "create_network",
        "network.remove": "remove_networks",
        "network.list": "networks",
        "network.inspect": "network",
        "rebalance.plan": "plan_rebalance",
        "rebalance.apply": "apply_rebalance",
        "rebalance.stop": "stop_rebalance",
        "rebalance.get": "rebalance",
    }
    assert set(REQUESTS) == set(spoken)
    assert set(spoken.values()) <= methods


# archives


class Node:
    """Takes chunks as an agent does; `fail` answers instead."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.largest = 0
        self.lost: set[tuple[str, int]] = set()
        self.fail: dict[str, MeshError] = {}

    async def take(self, message: Message) -> bytes | None:
        node = message.subject.split(".")[2]
        chunk = decode(message.data, nodeapi.LoadChunk)
        self.largest = max(self.largest, len(chunk.data))
        if node in self.fail:
            return reply_error(self.fail[node])
        held = self.data.get(node, b"")
        received = -(-len(held) // nodeapi.CHUNK)
        if chunk.index == received:
            self.data[node] = held + chunk.data
            received += 1
        if (node, chunk.index) in self.lost:
            self.lost.discard((node, chunk.index))
            return None
        if chunk.last:
            assert chunk.sha256 == hashlib.sha256(self.data[node]).hexdigest()
            return reply_with(nodeapi.LoadAnswer(received=received, images=("hello:1",)))
        return reply_with(nodeapi.LoadAnswer(received=received))


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [1, nodeapi.CHUNK - 1, nodeapi.CHUNK, 3 * nodeapi.CHUNK + 7])
async def test_an_archive_arrives_whole_and_checked_on_all_nodes(size: int) -> None:
    broker, node, shown = MemoryBroker(), Node(), []
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    async with answering(broker, subjects.NODE_ALL, node.take):
        mesh = Mesh(broker.connect("operator"))
        sent = await send_archive(mesh, ("n1", "n2"), pieces(data, 100_003), lambda *told: shown.append(told))
    assert [(each.node, each.images, each.error) for each in sent] == [
        ("n1", ("hello:1",), None),
        ("n2", ("hello:1",), None),
    ]
    assert node.data == {"n1": data, "n2": data}
    assert node.largest <= nodeapi.CHUNK
    assert shown[-1] == ("n2", size)


async def test_a_node_that_fails_is_left_behind_and_the_others_go_on() -> None:
    broker, node = MemoryBroker(), Node()
    node.fail["n2"] = EngineError("no space left on device")
    async with answering(broker, subjects.NODE_ALL, node.take):
        sent = await send_archive(
            Mesh(broker.connect("operator")), ("n1", "n2"), pieces(b"x" * 600_000, 65536), lambda *_: None
        )
    assert sent[0].error is None
    assert str(sent[1].error) == "no space left on device"


async def test_a_lost_answer_does_not_break_a_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshctl.calls.agents.NODE_TIMEOUT", 0.02)
    broker, node = MemoryBroker(), Node()
    node.lost = {("n1", 0), ("n1", 2)}
    data = b"y" * (2 * nodeapi.CHUNK + 5)
    async with answering(broker, subjects.NODE_ALL, node.take):
        mesh = Mesh(broker.connect("operator"))
        monkeypatch.setattr("meshctl.calls.agents.DEPLOY_TIMEOUT", 0.05)
        sent = await send_archive(mesh, ("n1",), pieces(data, 65536), lambda *_: None)
    assert sent[0].error is None
    assert node.data["n1"] == data


async def test_a_node_that_never_answers_is_named() -> None:
    with pytest.raises(Unreachable, match="node n9 does not answer"):
        await Mesh(MemoryBroker().connect("operator")).images("n9")


async def test_the_log_of_a_task_is_read_page_by_page() -> None:
    broker = MemoryBroker()
    pages: list[Wire] = [
        nodeapi.LogPage(lines=(nodeapi.LogLine(at="1", text="one"),), cursor="c1"),
        nodeapi.LogPage(lines=(nodeapi.LogLine(at="2", text="two"),), cursor="c2", ended=True),
    ]
    cursors: list[str] = []

    async def handle(message: Message) -> bytes:
        cursors.append(decode(message.data, nodeapi.ReadLogs).cursor)
        return reply_with(pages[len(cursors) - 1])

    async with answering(broker, subjects.NODE_ALL, handle):
        lines = [line.text async for line in Mesh(broker.connect("operator")).logs("n1", "a-1", follow=True)]
    assert (lines, cursors) == (["one", "two"], ["", "c1"])
    assert NotFound.exit_code == 4
