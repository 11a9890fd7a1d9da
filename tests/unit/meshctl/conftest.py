"""A mesh that answers from a script over the bus in memory, and meshctl run on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bus.memory import MemoryBroker
from bus.port import Bus
from meshctl.client import Mesh
from meshctl.failure import tell
from meshctl.main import cli
from meshctl.session import Session
from schemas import nodeapi, subjects
from schemas.api import REQUESTS
from schemas.errors import MeshError
from schemas.memberapi import NodeList
from schemas.replies import reply_error, reply_with
from schemas.requests import Written
from schemas.serviceapi import ServiceList
from schemas.stackapi import StackList, StackView
from schemas.taskapi import TaskList
from schemas.wire import Wire, decode
from tests.unit.meshctl.answers import COMPOSE, node, service, task

NOW = 1_790_000_000.0


class FixedClock:
    """A wall clock that stands."""

    def wall(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


Answer = Wire | MeshError | Callable[[Any], "Wire | MeshError"]


@dataclass
class Ran:
    """What a command printed, and how it ended."""

    out: str
    err: str
    code: int


@dataclass
class ScriptedMesh:
    """Answers by request name ("node.list") or node and verb ("n1/logs"); remembers what it was asked."""

    home: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    prepare: list[Callable[[Bus], Any]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    def answer(self, name: str, answer: Answer) -> None:
        """From now on `name` is answered with this."""
        self.answers[name] = answer

    def requests(self, name: str) -> list[Any]:
        """All requests of that name, in order."""
        return [request for asked, request in self.asked if asked == name]

    def run(self, *arguments: str, stdin: str | None = None) -> Ran:
        """Run one command line on this mesh."""
        environ = {"XDG_CONFIG_HOME": str(self.home / "config"), "HOME": str(self.home), **self.environ}
        session = Session(environ=environ, clock=FixedClock(), opener=self.open)
        result = CliRunner().invoke(cli, arguments, obj=session, input=stdin, standalone_mode=False)
        error = result.exception
        if error is None:
            code = result.return_value if isinstance(result.return_value, int) else result.exit_code
            return Ran(result.stdout, result.stderr, code)
        told = tell(error)
        if told.unexpected:
            raise error
        lines = [result.stderr.rstrip("\n"), f"error: {told.line}", f"hint: {told.hint}" if told.hint else ""]
        return Ran(result.stdout, "\n".join(filter(None, lines)), told.exit_code)

    @asynccontextmanager
    async def open(self, session: Session) -> AsyncIterator[Mesh]:
        """What `Session` opens instead of a real mesh: it lives in the command's own loop."""
        broker = MemoryBroker(clock=session.clock)
        server, client = broker.connect("controller-1"), broker.connect("operator")
        for prepare in self.prepare:
            await prepare(server)
        async with asyncio.TaskGroup() as group:
            ready: list[asyncio.Event] = []
            tasks = []
            for pattern in (subjects.API_ALL, subjects.NODE_ALL):
                listening = asyncio.Event()
                ready.append(listening)
                tasks.append(group.create_task(self._serve(server, pattern, listening)))
            for listening in ready:
                await listening.wait()
            failure: Exception | None = None
            try:
                yield Mesh(client, clock=session.clock)
            except Exception as error:  # raised again below, outside the group that would wrap it
                failure = error
            for task in tasks:
                task.cancel()
        if failure is not None:
            raise failure

    async def _serve(self, bus: Bus, pattern: str, listening: asyncio.Event) -> None:
        async with bus.core.subscribe(pattern) as subscription:
            listening.set()
            async for message in subscription:
                await bus.core.respond(message, self._reply(message.subject, message.data))

    def _reply(self, subject: str, data: bytes) -> bytes:
        tokens = subject.split(".")
        if tokens[1] == "api":
            name = ".".join(tokens[2:])
            kind = REQUESTS[name][0]
        else:
            name = f"{tokens[2]}/{tokens[3]}"
            kind = nodeapi.NODE_REQUESTS[tokens[3]][0]
        request = decode(data, kind)
        self.asked.append((name, request))
        answer = self.answers[name]
        if callable(answer):
            answer = answer(request)
        return reply_error(answer) if isinstance(answer, MeshError) else reply_with(answer)


@pytest.fixture
def scripted(tmp_path: Path) -> ScriptedMesh:
    """A mesh that answers nothing yet."""
    return ScriptedMesh(home=tmp_path)


@pytest.fixture
def mesh(scripted):  # type: ignore[no-untyped-def]
    scripted.answer("node.list", NodeList(nodes=(node("n1"), node("n2"), node("n3", "down", why="no heartbeat"))))
    scripted.answer("service.list", ServiceList(services=(service(),)))
    scripted.answer("stack.list", StackList(stacks=(StackView(stack="hello", revision=1, services={"hello_web": 1}),)))
    scripted.answer("task.list", TaskList(tasks=(task("1"), task("2", node="n2"))))
    for name in ("node.update", "node.remove", "order.give", "service.scale", "service.remove", "stack.remove"):
        scripted.answer(name, Written(sequence=6))
    return scripted


@pytest.fixture
def compose(tmp_path: Path) -> str:
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE)
    return str(file)
