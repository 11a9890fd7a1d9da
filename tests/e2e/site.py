"""A mesh as tests see it: told what to do by meshctl, looked at through its engines. Calls block."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from lab.eye import Eye
from lab.lab import Lab
from lab.plan import Service
from meshctl.client import Mesh
from schemas.errors import MeshError, Unreachable
from schemas.events import Event
from schemas.taskapi import TaskView

T = TypeVar("T")

BUSYBOX = "dockmesh/busybox:1"
PATIENCE = 60.0
"""Seconds until a wait of a test gives up: many times what is needed on an idle machine."""


@dataclass(frozen=True)
class Said:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        """Both streams."""
        return self.out + self.err


@dataclass(frozen=True)
class Found:
    """A container of the mesh as its engine lists it."""

    id: str
    node: str
    """The node whose it is (its label)."""
    engine: str
    """The machine on whose engine it was found."""
    service: str
    slot: str
    task: str
    state: str


Compose = dict[str, Any]
"""A service as it stands in a Compose file."""


def worker(script: str = "exec sleep 100000", *, replicas: int = 1, image: str = BUSYBOX, **more: Any) -> Compose:
    """A service that runs a shell script and ends at once when told to. `deploy` is merged."""
    deploy = {"replicas": replicas, "update_config": {"monitor": "1s"}, **more.pop("deploy", {})}
    if deploy.get("mode") == "global":
        del deploy["replicas"]
    return {
        "image": image,
        "command": ["sh", "-c", script],
        "init": True,
        "stop_grace_period": "2s",
        "deploy": deploy,
        **more,
    }


class Site:
    """A lab's mesh and the one who operates it."""

    def __init__(self, lab: Lab, eye: Eye, folder: Path) -> None:
        self.lab = lab
        self.eye = eye
        self._folder = folder
        self.meshctl("context", "create", "site", "--credentials", str(lab.credentials_file()), "--use")

    # telling

    def argv(self, *arguments: str) -> list[str]:
        """The command line of meshctl."""
        return [sys.executable, "-m", "meshctl.main", *arguments]

    def environment(self) -> dict[str, str]:
        """Where meshctl finds its context."""
        kept = {name: value for name, value in os.environ.items() if name not in ("MESH_CONTEXT", "NATS_URL")}
        return {**kept, "XDG_CONFIG_HOME": str(self._folder), "COLUMNS": "200"}

    def meshctl(self, *arguments: str, code: int = 0, stdin: str | None = None, timeout: float = 150) -> Said:
        """Run meshctl; the test fails if it exits with another code."""
        done = subprocess.run(
            self.argv(*arguments), env=self.environment(), input=stdin, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == code, f"meshctl {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return Said(done.returncode, done.stdout, done.stderr)

    def run(self, *arguments: str) -> Said:
        """Run meshctl, whatever comes of it."""
        argv, environment = self.argv(*arguments), self.environment()
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=150)
        return Said(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def program(self, machine: str, name: str, *argv: str) -> Iterator[Path]:
        """A further program on a machine of the lab; its log. It has to live until it is ended with the context."""
        host = self.lab.rack.host(machine)
        log = self.lab.paths.log(machine, name)
        log.unlink(missing_ok=True)
        host.start(Service(name=name, argv=argv))
        try:
            yield log
            assert name in host.running(), log.read_text()[-3000:]
        finally:
            host.stop(name, patience=10)

    @contextlib.contextmanager
    def running_meshctl(self, *arguments: str, stdin: str = "") -> Iterator[subprocess.Popen[str]]:
        """Run meshctl beside the test; it is ended with the context."""
        with subprocess.Popen(
            self.argv(*arguments),
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(stdin)
            process.stdin.close()
            try:
                yield process
            finally:
                process.terminate()

    def deploy(self, stack: str, *flags: str, code: int = 0, volumes: tuple[str, ...] = (), **services: Any) -> Said:
        """stack deploy of these services, and wait until it runs."""
        return self.meshctl("stack", "deploy", *flags, "-c", "-", stack, stdin=compose(volumes, services), code=code)

    def ask(self, work: Callable[[Mesh], Awaitable[T]]) -> T:
        """One call of the public client."""
        credentials = self.lab.credentials()

        async def asked() -> T:
            async with Mesh.connect(credentials) as mesh:
                return await work(mesh)

        return asyncio.run(asked())

    # looking

    @staticmethod
    def now() -> float:
        """Seconds since 1970."""
        return time.time()

    def containers(self, service: str = "", *, node: str = "", every: bool = False) -> list[Found]:
        """Containers that Dockmesh made, running or `every`, as the engines that are up list them."""
        machines = [each.name for each in self.lab.status() if each.kind == "node" and each.services.get("dockerd")]
        labels = [f"mesh.service={service}"] if service else ["mesh.task"]
        return [
            _found(each, machine)
            for machine in machines
            if node in ("", machine)
            for each in self.lab.engine(machine).containers(*labels, every=every)
        ]

    def ids(self, service: str) -> set[str]:
        """The ids of a service's running containers."""
        return {found.id for found in self.containers(service)}

    def spread(self, service: str) -> dict[str, int]:
        """Node -> how many of a service's containers run there."""
        found = [each.engine for each in self.containers(service)]
        return {node: found.count(node) for node in sorted(set(found))}

    def tasks(self, service: str, *, ended: bool = False) -> tuple[TaskView, ...]:
        """What the mesh says."""
        return self.eye.tasks(service, ended=ended)

    def settled(self, service: str, replicas: int) -> bool:
        """Whether the mesh says that so many run, and the engines have just these containers."""
        up = {task.container for task in self.tasks(service) if task.state == "running" and task.current}
        return len(up) == replicas and up == self.ids(service)

    def settle(self, service: str, replicas: int, patience: float = PATIENCE) -> float:
        """Wait until it is settled; seconds."""
        what = f"{replicas} of {service} run, each once"
        try:
            return self.eye.wait_until(what, lambda: self.settled(service, replicas), patience)
        except MeshError:
            raise AssertionError(f"not so: {what}\n{self.tasks(service)}\n{self.containers(service)}") from None

    def wait(self, what: str, holds: Callable[[], bool], patience: float = PATIENCE) -> float:
        """Wait until something holds; seconds. Raises TimedOut, saying `what`."""
        return self.eye.wait_until(what, holds, patience)

    def ready(self) -> set[str]:
        """The nodes that are ready."""
        return {node.node for node in self.eye.nodes() if node.status == "ready"}

    def all_ready(self) -> None:
        """Wait until all nodes are ready, and open for work."""
        self.wait("all nodes are ready", lambda: self.ready() == set(self.lab.nodes))

    def events(self, since: float, *, kinds: tuple[str, ...] = (), service: str = "", node: str = "") -> list[Event]:
        """All events of what happened from `since` (seconds since 1970) to now.

        Not what happened before and was stored late: it is of the test before.
        """
        began = datetime.fromtimestamp(since, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

        async def read(mesh: Mesh) -> list[Event]:
            stream = mesh.events(since=since, until=time.time(), kinds=kinds, service=service, node=node)
            return [event async for event in stream if event.at >= began]

        return self.ask(read)

    def read(self, *, cursor: str, since: float, seconds: float) -> list[Event]:
        """What a reader with a cursor of that name gets next within so many seconds."""
        found: list[Event] = []

        async def read(mesh: Mesh) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    async for event in mesh.events(since=since, cursor=cursor):
                        found.append(event)  # noqa: PERF401  (what was read before the time is up counts)

        with contextlib.suppress(Unreachable):
            self.ask(read)
        return found

    # tidying

    def clear(self) -> None:
        """Everything works again, no service is left, nothing of the mesh runs."""
        self.lab.mend()
        self.all_ready()

        async def remove(mesh: Mesh) -> None:
            for stack in (await mesh.stacks()).stacks:
                await mesh.remove_stack(stack.stack)
            alone = [view.record.name for view in (await mesh.services()).services if not view.record.removed]
            if alone:
                await mesh.remove_services(alone)
            for node in (await mesh.nodes()).nodes:
                if node.availability != "active":
                    await mesh.update_node(node.node, availability="active")

        self.ask(remove)
        self.wait("nothing of the mesh runs", lambda: not self.containers())


def compose(volumes: tuple[str, ...], services: dict[str, Any]) -> str:
    """A Compose file (JSON is YAML, too)."""
    named = {"volumes": {volume: {} for volume in volumes}} if volumes else {}
    return json.dumps({"services": services, **named})


def _found(listed: dict[str, Any], machine: str) -> Found:
    labels = listed["Labels"]
    return Found(
        id=listed["Id"],
        node=labels["mesh.node"],
        engine=machine,
        service=labels["mesh.service"],
        slot=labels["mesh.slot"],
        task=labels["mesh.task"],
        state=listed["State"],
    )
