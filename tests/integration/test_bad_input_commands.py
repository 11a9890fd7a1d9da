"""What people type wrong and what can't be: told at once and clearly, and nothing else stops.

Controllers are processes on a real nats-server, agents are real, only their engines are in memory. After each test the
controllers still live, and what ran before still runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from agent.agent import Agent
from agent.engine.memory import MemoryEngine
from agent.engine.memory_life import Program
from agent.files import MemoryFiles
from agent.parts import AgentConfig
from bus.credentials import read_credentials, write_credentials
from bus.nats import connect
from bus.nats_admin import create_mesh
from meshctl.client import Mesh
from schemas.clock import SystemClock
from schemas.errors import Refused
from schemas.serviceapi import PutService, ServiceDeploy
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.stackapi import DeployStack
from tests.conftest import NODES, NatsServer

pytestmark = pytest.mark.timeout(180)

T = TypeVar("T")

PATIENCE = 60.0


@dataclass
class Town:
    """A mesh with one service that has to run on whatever happens."""

    home: Path
    controllers: list[subprocess.Popen[bytes]]

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        kept = {name: value for name, value in os.environ.items() if name not in ("NATS_URL", "MESH_CONTEXT")}
        return subprocess.run(
            [sys.executable, "-m", "meshctl.main", *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            env={**kept, "XDG_CONFIG_HOME": str(self.home)},
            cwd=self.home,
            timeout=120,
        )

    def good(self, *arguments: str, stdin: str | None = None) -> str:
        """One that succeeds; what it said."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def bad(self, code: int, *arguments: str, stdin: str | None = None) -> str:
        """One that is refused with that exit code, in words and without a traceback; what it said on stderr."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        assert done.stderr.strip()
        return done.stderr

    def ask(self, work: Callable[[Mesh], Awaitable[T]]) -> T:
        """One call of the public client."""
        credentials = read_credentials(self.home / "operator.json", name="test")

        async def asked() -> T:
            async with Mesh.connect(credentials) as mesh:
                return await work(mesh)

        return asyncio.run(asked())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    server = NatsServer(folder / "nats")
    server.start()
    asyncio.run(create_mesh(server.credentials("operator"), "town"))
    for user in ("operator", "controller-1", "controller-2"):
        write_credentials(folder / f"{user}.json", server.credentials(user))
    controllers = [controller(folder, number) for number in ("1", "2")]
    town = Town(folder, controllers)
    town.good("context", "create", "town", "--credentials", str(folder / "operator.json"), "--use")
    stop, loop = asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_agents(server, stop)))
    thread.start()
    try:
        town_is_ready(town)
        town.good("service", "create", "--name", "steady", "--replicas", "3", "--update-monitor", "0s", "hello:1")
        yield town
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()
        for process in controllers:
            process.kill()
            process.wait()
        server.kill()


def controller(folder: Path, number: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "controller.main", "--name", number, "--data", str(folder / f"data-{number}")]
    with (folder / f"controller-{number}.log").open("wb") as log:
        return subprocess.Popen([*argv, "--credentials", str(folder / f"controller-{number}.json")], stderr=log)


def town_is_ready(town: Town) -> None:
    began = time.monotonic()
    while town.run("node", "ls", "--format", "{{.Status}}").stdout.split() != ["Ready"] * 3:
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.2)


async def _agents(server: NatsServer, stop: asyncio.Event) -> None:
    clock = SystemClock()

    async def serve(node: str) -> None:
        engine = MemoryEngine(chance=random.Random(node), clock=clock)
        engine.add_image("hello:1")
        engine.add_image("crash:1", Program(runs_for=0.1, exit_code=3, lines=("no such table: users",)))
        async with connect(server.credentials(f"agent-{node}"), clock=clock, timeout=30) as bus:
            await Agent(AgentConfig(node=node, boot="b"), bus, engine, MemoryFiles(), clock, random.Random(node)).run()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(serve(node)) for node in NODES]
        await stop.wait()
        for task in tasks:
            task.cancel()


@pytest.fixture
def town(made: Town) -> Iterator[Town]:
    before = made.ask(lambda mesh: running(mesh, "steady"))
    assert len(before) == 3
    yield made
    assert [process.poll() for process in made.controllers] == [None, None], "a controller died of it"
    assert made.ask(lambda mesh: running(mesh, "steady")) == before, "something else stopped"
    made.ask(clear)


async def running(mesh: Mesh, service: str) -> list[str]:
    """The ids of its running tasks."""
    return sorted(task.id for task in (await mesh.tasks(service=service, ended=False)).tasks if task.state == "running")


async def clear(mesh: Mesh) -> None:
    """Nothing but the steady service is left."""
    for stack in (await mesh.stacks()).stacks:
        await mesh.remove_stack(stack.stack)
    others = [view.record.name for view in (await mesh.services()).services if view.record.name != "steady"]
    if others:
        await mesh.remove_services(others)


async def names(mesh: Mesh) -> list[str]:
    """All services and stacks."""
    stacks = [view.stack for view in (await mesh.stacks()).stacks]
    return sorted([*(view.record.name for view in (await mesh.services()).services), *stacks])


FILES = {
    "no YAML": ("services:\n  web: {image: [hello:1\n", 2, ["compose.yaml:3: not YAML"]),
    "a tab": ("services:\n\tweb:\n", 2, ["compose.yaml:2"]),
    "no mapping": ("- services\n", 2, ["compose.yaml:1"]),
    "an unknown key": ("services:\n  web:\n    imgae: hello:1\n", 2, ["compose.yaml:3", "imgae", "image"]),
    "an unknown key below deploy": (
        "services:\n  web:\n    image: hello:1\n    deploy:\n      replica: 3\n",
        2,
        ["compose.yaml:5", "deploy.replica", "replicas"],
    ),
    "a constraint that is none": (
        "services:\n  web:\n    image: hello:1\n    deploy:\n      placement:\n        constraints: [node.id = n1]\n",
        2,
        ["compose.yaml:6", "node.id = n1", "=="],
    ),
    "a constraint on nothing": (
        "services:\n  web:\n    image: hello:1\n    deploy:\n      placement: {constraints: ['node.hue == red']}\n",
        2,
        ["compose.yaml:5", "node.hue", "node.labels"],
    ),
    "a service's name": ("services:\n  Web.App:\n    image: hello:1\n", 2, ["compose.yaml:2", "web-app"]),
    "a number that is a word": (
        "services:\n  web:\n    image: hello:1\n    deploy: {replicas: many}\n",
        2,
        ["compose.yaml:4", "deploy.replicas", "many"],
    ),
    "replicas below zero": (
        "services:\n  web:\n    image: hello:1\n    deploy: {replicas: -1}\n",
        2,
        ["compose.yaml:4", "deploy.replicas", "-1"],
    ),
    "a port that is none": ("services:\n  web:\n    image: hello:1\n    ports: ['99999:80']\n", 2, ["99999"]),
    "no image": ("services:\n  web: {command: [a]}\n", 2, ["compose.yaml:2", "image"]),
    "two of a key": ("services:\n  web:\n    image: hello:1\n    image: hello:1\n", 2, ["compose.yaml:4", "image"]),
    "an endless alias": ("services: &a\n  web: *a\n", 2, ["compose.yaml"]),
    "what nobody defined": ("services:\n  web:\n    image: ${NO:?say which}\n", 2, ["compose.yaml:3", "say which"]),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_refused_with_the_place_and_a_remedy(town: Town, tmp_path: Path, case: str) -> None:
    text, code, words = FILES[case]
    (tmp_path / "compose.yaml").write_text(text)
    said = town.bad(code, "stack", "deploy", "-c", str(tmp_path / "compose.yaml"), "shop")
    for word in words:
        assert word in said, said
    assert town.ask(names) == ["steady"]


COMMANDS = {
    "a stack's name": (("stack", "deploy", "-c", "-", "My Shop"), 2, "my-shop"),
    "a constraint": (("service", "create", "--name", "x", "--constraint", "node.id", "hello:1"), 2, "=="),
    "a node's name": (("node", "drain", "nowhere"), 4, "nowhere"),
    "a service's name": (("service", "scale", "stedy=3"), 4, "steady"),
    "replicas": (("service", "scale", "steady=-3"), 2, "-3"),
    "more replicas than can be": (("service", "scale", "steady=1000000000"), 6, "20,000"),
    "a service name twice": (("service", "create", "--name", "steady", "hello:1"), 5, "exists already"),
    "a label": (("node", "update", "--label-add", "no spaces here=1", "n1"), 6, "letters"),
    "a size": (("service", "create", "--name", "x", "--limit-memory", "much", "hello:1"), 2, "much"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_bad_command_is_refused_in_a_line(town: Town, case: str) -> None:
    arguments, code, word = COMMANDS[case]
    assert word in town.bad(code, *arguments, stdin="services: {web: {image: 'hello:1'}}")


def test_a_spec_of_two_mebibytes_is_refused(town: Town) -> None:
    text = json.dumps({"services": {"web": {"image": "hello:1", "environment": {"BIG": "x" * (2 << 20)}}}})
    assert "more than 2 MiB" in town.bad(2, "stack", "deploy", "-c", "-", "shop", stdin=text)
    with pytest.raises(Refused, match="at most 65,536"):
        town.ask(lambda mesh: mesh.put_service(PutService(service=big("web", 2 << 20))))
    with pytest.raises(Refused, match="too large"):
        town.ask(lambda mesh: mesh.put_service(PutService(service=big("web", 5 << 20))))
    assert town.ask(names) == ["steady"]


def test_many_services_that_are_together_too_much_are_refused_as_one(town: Town) -> None:
    services = tuple(big(f"shop_{number}", 60_000, stack="shop") for number in range(60))
    with pytest.raises(Refused, match="too much for one request"):
        town.ask(lambda mesh: mesh.deploy_stack(DeployStack(stack="shop", services=services)))
    assert town.ask(names) == ["steady"]


def big(name: str, size: int, stack: str = "") -> ServiceDeploy:
    """A service whose spec takes some more than `size` bytes."""
    container = ContainerSpec(image="hello:1", environment={"BIG": "x" * size})
    return ServiceDeploy(spec=ServiceSpec(name=name, stack=stack, task=TaskSpec(container=container)))


def test_a_reservation_that_no_node_can_fulfil_is_told_within_moments(town: Town) -> None:
    text = "services: {web: {image: 'hello:1', deploy: {resources: {reservations: {memory: 900T}}}}}"
    began = time.monotonic()
    said = town.bad(7, "stack", "deploy", "--timeout", "3s", "-c", "-", "shop", stdin=text)
    assert time.monotonic() - began < 20
    assert "memory" in said
    assert "3 nodes" in said


def test_ten_thousand_replicas_fill_the_nodes_and_the_rest_is_told_to_wait(town: Town) -> None:
    text = "services: {web: {image: 'hello:1', deploy: {replicas: 10000, resources: {reservations: {memory: 1G}}}}}"
    town.good("stack", "deploy", "-d", "-c", "-", "shop", stdin=text)
    began = time.monotonic()
    told, full = False, 0
    while not (told and full):
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.5)
        told = any("lack memory" in reason for reason in town.ask(reasons))
        full = len(town.ask(lambda mesh: running(mesh, "shop_web")))
    assert full < 100
    town.good("service", "scale", "--timeout", "60s", "shop_web=3")
    assert len(town.ask(lambda mesh: running(mesh, "shop_web"))) == 3


async def reasons(mesh: Mesh) -> list[str]:
    """Why slots of the web service wait."""
    rollout = (await mesh.service("shop_web")).rollout
    return [reason.text for reason in rollout.reasons] if rollout else []


def test_an_image_that_does_not_exist_fails_the_deploy_with_each_nodes_reason(town: Town) -> None:
    said = town.bad(6, "service", "create", "--name", "x", "nothing/like-it:9")
    for word in ("nothing/like-it:9", *NODES, "meshctl image push"):
        assert word in said
    assert town.ask(names) == ["steady"]


def test_a_task_that_ends_at_once_fails_the_deploy_with_its_last_words(town: Town) -> None:
    said = town.bad(8, "service", "create", "--name", "x", "--restart-delay", "100ms", "crash:1")
    assert "no such table: users" in said
    assert "exit code 3" in said
