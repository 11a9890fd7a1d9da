"""A command that comes again, or too late: real controllers in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from meshctl.client import Mesh as Client
from schemas import subjects
from schemas.errors import Conflict, NotFound, TimedOut
from schemas.memberapi import RemoveNode, UpdateNode
from schemas.netapi import CreateNetwork, RemoveNetworks
from schemas.network import NetworkRecord
from schemas.requests import Command
from schemas.serviceapi import PutService, RemoveServices, ScaleServices, ServiceDeploy
from schemas.stackapi import RemoveStack
from schemas.statusapi import GiveOrder
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import Mesh, mesh_of, ready, spec, stack_of

WEB = ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2)
API = ServiceDeploy(spec=spec("api"), replicas=1)


def on_a_mesh(scenario: Callable[[Mesh], Coroutine[Any, Any, None]]) -> None:
    """Play a scenario on a mesh that is ready."""

    async def play() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            await scenario(mesh)

    run(play())


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("stack.deploy", stack_of(WEB, prune=True)),
        ("service.put", PutService(service=API, create=True)),
        ("service.put", PutService(service=replace(WEB, replicas=3), create=False, expected=1)),
        ("service.scale", ScaleServices(replicas={"shop_web": 4})),
        ("service.remove", RemoveServices(services=("shop_web", "shop_db"))),
        ("stack.remove", RemoveStack(stack="shop")),
        ("node.update", UpdateNode(node="n1", availability="pause")),
        ("node.remove", RemoveNode(node="n2", force=True)),
        ("order.give", GiveOrder(kind="rebalance")),
        ("network.create", CreateNetwork(network=NetworkRecord(name="back"))),
        ("network.remove", RemoveNetworks(networks=("front",))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_that_comes_again_is_answered_as_done_and_writes_nothing(name: str, request_: Command) -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(WEB, ServiceDeploy(spec=spec("shop_db", "shop")))
        await mesh.ask("network.create", CreateNetwork(network=NetworkRecord(name="front")))
        await asyncio.sleep(5)
        command = replace(request_, command="c1")
        if isinstance(command, PutService) and command.expected is not None:
            stored = mesh.broker.state.existing().entries["service.shop_web"]
            command = replace(command, expected=stored.sequence)
        batches: list[str] = []
        mesh.broker.state.on_commit = lambda user, batch, fence, outcome: (
            batches.append(type(outcome).__name__) if fence is None else None
        )
        first = await mesh.ask(name, command)
        assert batches == ["Committed"]
        again = await mesh.ask(name, command)
        assert batches == ["Committed"]
        assert type(again) is type(first)

    on_a_mesh(scenario)


@pytest.mark.parametrize(
    ("name", "early", "other", "late"),
    [
        (
            "service.scale",
            ScaleServices(replicas={"shop_web": 4}),
            ("service.scale", ScaleServices(replicas={"shop_web": 1})),
            "service.shop_web",
        ),
        (
            "stack.deploy",
            stack_of(replace(WEB, replicas=5)),
            ("stack.deploy", stack_of(replace(WEB, spec=spec("shop_web", "shop", working_dir="/w")))),
            "service.shop_web",
        ),
        (
            "node.update",
            UpdateNode(node="n1", availability="drain"),
            ("node.update", UpdateNode(node="n1", availability="active")),
            "node.n1",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_that_comes_again_after_others_does_not_undo_them(
    name: str, early: Command, other: tuple[str, Command], late: str
) -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.deploy(WEB)
        await mesh.ask(name, replace(early, command="c1"))
        for number in range(3):
            await mesh.ask(other[0], replace(other[1], command=f"c{number + 2}"))
        before = mesh.broker.state.existing().entries[late]
        with pytest.raises(Conflict, match="done before"):
            await mesh.ask(name, replace(early, command="c1"))
        assert mesh.broker.state.existing().entries[late] == before

    on_a_mesh(scenario)


def test_a_removal_that_comes_again_to_who_has_not_yet_seen_it_done_is_answered_as_done() -> None:
    async def scenario(mesh: Mesh) -> None:
        request = RemoveStack(stack="shop", command="c1")
        await mesh.deploy(WEB)

        held = mesh.broker.hold("mesh.state.>")
        async with asyncio.TaskGroup() as group:
            group.create_task(mesh.ask("stack.remove", request))
            await asyncio.sleep(0.1)
            group.create_task(mesh.ask("stack.remove", request))
            await asyncio.sleep(0.1)
            mesh.broker.release(held)

    on_a_mesh(scenario)


def test_another_command_of_the_same_words_is_another_command() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.ask("service.put", PutService(service=API, create=True, command="c1"))
        with pytest.raises(Conflict):
            await mesh.ask("service.put", PutService(service=API, create=True, command="c2"))
        with pytest.raises(Conflict):
            await mesh.ask("service.put", PutService(service=API, create=True))
        await mesh.ask("service.remove", RemoveServices(services=("api",), command="c3"))
        with pytest.raises(NotFound):
            await mesh.ask("service.remove", RemoveServices(services=("api",), command="c4"))

    on_a_mesh(scenario)


def test_a_command_that_comes_too_late_is_not_carried_out() -> None:
    async def scenario(mesh: Mesh) -> None:
        await mesh.ask("service.put", PutService(service=API, create=True))
        bus = mesh.broker.connect("operator")
        now = (await bus.state.info()).now
        await mesh.ask("service.scale", ScaleServices(replicas={"api": 2}, until=now + 10))
        await asyncio.sleep(11)
        before = mesh.broker.state.existing().entries["service.api"].sequence
        with pytest.raises(TimedOut, match="too late"):
            await mesh.ask("service.scale", ScaleServices(replicas={"api": 3}, until=now + 10))
        assert mesh.broker.state.existing().entries["service.api"].sequence == before

    on_a_mesh(scenario)


def test_a_write_whose_answer_was_lost_is_repeated_and_done_once() -> None:
    async def scenario(mesh: Mesh) -> None:
        bus = mesh.broker.connect("operator")
        client = Client(bus)
        lost: list[str] = []
        request = bus.core.request

        async def lossy(subject: str, data: bytes, *, timeout: float) -> bytes:
            answer = await request(subject, data, timeout=timeout)
            if subject == subjects.api("service", "put") and not lost:
                lost.append(subject)
                await request(subjects.api("no", "body"), encode(GiveOrder(kind="")), timeout=0.1)
                raise client_gone()
            return answer

        bus.core.request = lossy  # type: ignore[method-assign]
        answer = await client.put_service(PutService(service=API, create=True))
        assert lost
        assert [each.change for each in answer.services] == ["created"]

    def client_gone() -> Exception:
        from schemas.errors import Unreachable

        return Unreachable("the connection was lost before the answer came")

    on_a_mesh(scenario)
