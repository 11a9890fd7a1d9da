"""Doing: what the faults stand on: the lab, who works on it, and what is noted where a promise is not kept."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.turmoil.remains import running
from benchmarks.turmoil.stack import RESTLESS, STACK
from lab.engine_api import EngineApi
from lab.eye import Eye
from lab.lab import Lab
from meshctl.client import Mesh
from schemas.errors import MeshError, TimedOut
from schemas.events import Event

T = TypeVar("T")

ENGINE_TIMEOUT = 10.0
LOOK_EVERY = 0.5
ANSWER_WITHIN = 20.0


@dataclass
class Ground:
    """Once `stop` is set nothing is waited for any more."""

    lab: Lab
    eye: Eye
    folder: Path
    say: Callable[[str], None]
    stop: threading.Event
    calm: Callable[[], bool]
    """Bring operators to rest and wait until all is as it is wanted; whether it is."""
    work: Callable[[], None]
    """Operators go on."""
    acknowledged: Callable[[], int]
    """How many of their orders were."""
    broken: list[str] = field(default_factory=list)
    """What a fault was promised not to do, and did, or the other way round."""
    excused: set[str] = field(default_factory=set)
    """What an engine that was killed has left for good ("node: name"), with and without Dockmesh: namespaces of the
    containers that it had (measured with plain containers on docker.io 20.10: they stay until the machine boots), and
    the shim of one that it was starting or ending just then."""
    _has_context: bool = False

    def fail(self, text: str) -> None:
        """A promise was not kept."""
        self.broken.append(text)
        self.say(f"NOT AS PROMISED: {text}")

    def wait(self, what: str, holds: Callable[[], bool], patience: float) -> bool:
        """Whether it came to hold in time; if not, that is a promise which was not kept."""
        until = time.monotonic() + patience
        while True:
            try:
                if holds():
                    return True
            except MeshError:
                pass  # nobody answers for a moment: that is part of what is waited out
            if self.stop.wait(LOOK_EVERY):
                raise KeyboardInterrupt
            if time.monotonic() > until:
                self.fail(f"not so within {patience:g} s: {what}")
                return False

    def engine(self, node: str) -> EngineApi:
        """A node's engine."""
        return EngineApi(self.lab.paths.docker_socket(node), timeout=ENGINE_TIMEOUT)

    def containers(self, *nodes: str) -> dict[str, tuple[str, str]]:
        """Running containers of the stack that end only if somebody ends them: id -> (service, slot).

        On these nodes, or on all. Raises MeshError.
        """
        return {
            each["Id"]: (each["Labels"]["mesh.service"], each["Labels"]["mesh.slot"])
            for node in nodes or self.lab.nodes
            for each in running(self.engine(node), f"mesh.stack={STACK}")
            if each["Labels"]["mesh.service"] not in RESTLESS
        }

    def untouched(self, before: dict[str, tuple[str, str]], seconds: float, when: str, *nodes: str) -> None:
        """All of these run on for so long, and no others begin to."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                now = self.containers(*nodes)
            except MeshError:
                now = before  # an engine that does not answer tells nothing
            ended = sorted(before[each][0] for each in before.keys() - now.keys())
            begun = sorted(now[each][0] for each in now.keys() - before.keys())
            if ended or begun:
                self.fail(f"{when}: ended {ended}, begun {begun}")
                return
            if self.stop.wait(LOOK_EVERY):
                raise KeyboardInterrupt

    def meshctl(self, *arguments: str) -> tuple[int, str]:
        """The operator's own command: its exit code and all that it said."""
        kept = {name: value for name, value in os.environ.items() if name not in ("MESH_CONTEXT", "NATS_URL")}
        environment = {**kept, "XDG_CONFIG_HOME": str(self.folder), "COLUMNS": "200"}
        context = ("context", "create", "chaos", "--credentials", str(self.lab.credentials_file()))
        for argv in (arguments,) if self._has_context else (context, arguments):
            done = subprocess.run(
                [sys.executable, "-m", "meshctl.main", *argv],
                env=environment, cwd=self.folder, capture_output=True, text=True, timeout=150, check=False,
            )  # fmt: skip
        self._has_context = True
        return done.returncode, done.stdout + done.stderr

    def ask(self, work: Callable[[Mesh], Awaitable[T]]) -> T:
        """One call of the public client. Raises MeshError."""

        async def asked() -> T:
            async with asyncio.timeout(ANSWER_WITHIN), Mesh.connect(self.lab.credentials()) as mesh:
                return await work(mesh)

        try:
            return asyncio.run(asked())
        except TimeoutError:
            raise TimedOut(f"no answer within {ANSWER_WITHIN:g} s") from None

    def reasons(self) -> str:
        """What is wrong, as `meshctl status` tells it. Raises MeshError."""

        async def ask(mesh: Mesh) -> str:
            return " ".join(reason.text for reason in (await mesh.status()).reasons)

        return self.ask(ask)

    def braked(self) -> bool:
        """Whether the brake holds. Raises MeshError."""

        async def ask(mesh: Mesh) -> bool:
            return (await mesh.status()).brake.engaged

        return self.ask(ask)

    def events(self, since: float, *kinds: str, service: str = "", node: str = "") -> list[Event]:
        """Events from `since` (seconds since 1970) to now. Raises MeshError."""

        async def read(mesh: Mesh) -> list[Event]:
            stream = mesh.events(since=since, until=time.time(), kinds=kinds, service=service, node=node)
            return [event async for event in stream]

        return self.ask(read)
