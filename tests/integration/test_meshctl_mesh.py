"""The whole command line on a real nats-server with real controllers and agents; only the engines are in memory."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.agent import Agent
from agent.engine.memory import MemoryEngine
from agent.engine.memory_life import Program
from agent.files import MemoryFiles
from agent.parts import AgentConfig
from bus.credentials import write_credentials
from bus.nats import connect
from controller.config import Config
from controller.controller import Controller
from controller.highest import ForgetfulMemory
from controller.plan import plan
from meshctl.client import Mesh
from schemas.clock import SystemClock
from tests.conftest import CONTROLLERS, NODES, NatsServer

COMPOSE = """
services:
  web:
    image: hello:1
    deploy: {replicas: 4}
  edge:
    image: hello:1
    deploy: {mode: global}
    ports: [{target: 80, published: 8080, mode: host}]
  db:
    image: hello:1
    volumes: [data:/data]
volumes: {data: {}}
"""


@dataclass
class World:
    """Controllers and agents in a thread of their own, and meshctl as a process."""

    server: NatsServer
    home: Path

    @property
    def environ(self) -> dict[str, str]:
        """What meshctl is started with."""
        kept = {name: value for name, value in os.environ.items() if name not in ("NATS_URL", "MESH_CONTEXT")}
        return {**kept, "XDG_CONFIG_HOME": str(self.home / "config"), "XDG_STATE_HOME": str(self.home / "state")}

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One command line, to its end."""
        command = [sys.executable, "-m", "meshctl.main", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, input=stdin, env=self.environ, timeout=90, check=False
        )

    def good(self, *arguments: str, stdin: str = "") -> str:
        """The same, which has to succeed; what it printed."""
        ran = self.run(*arguments, stdin=stdin)
        assert ran.returncode == 0, f"{arguments}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("meshctl")
    server = NatsServer(folder / "nats")
    server.start()
    write_credentials(folder / "operator.json", server.credentials("operator"))
    made = World(server, folder)
    made.good("context", "create", "test", "--credentials", str(folder / "operator.json"))
    assert made.good("init", "--mesh-id", "m1", "--replicas", "1") == "m1\n"
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_live(server, ready, stop)))
    thread.start()
    assert ready.wait(30)
    yield made
    loop.call_soon_threadsafe(stop.set)
    thread.join(90)  # a busy machine takes its time; then what still runs is the error, not the loop
    assert not thread.is_alive(), sorted(str(task.get_coro()) for task in asyncio.all_tasks(loop))
    loop.close()
    server.kill()


async def _live(server: NatsServer, ready: threading.Event, stop: asyncio.Event) -> None:
    clock = SystemClock()

    async def control(name: str) -> None:
        async with connect(server.credentials(f"controller-{name}"), clock=clock) as bus:
            chance = random.Random(name)
            await Controller(Config(name=name), bus, clock=clock, rng=chance, memory=ForgetfulMemory(), plan=plan).run()

    async def serve(node: str) -> None:
        engine = MemoryEngine(chance=random.Random(node), clock=clock)
        engine.add_image("hello:1", Program(lines=("one", "two", "three")))
        engine.add_image("hello:2")
        engine.add_image("crash:1", Program(runs_for=0.2, exit_code=3, lines=("no such table: users",)))
        engine.add_image("once:1", Program(runs_for=0.2))
        async with connect(server.credentials(f"agent-{node}"), clock=clock) as bus:
            await Agent(AgentConfig(node=node, boot="b"), bus, engine, MemoryFiles(), clock, random.Random(node)).run()

    async def tell_when_ready() -> None:
        async with Mesh.connect(server.credentials("operator")) as mesh:
            while (status := await mesh.status()).nodes_ready < len(NODES) or not status.leader:
                await asyncio.sleep(0.1)
        ready.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(control(name)) for name in CONTROLLERS[:2]]
        tasks += [group.create_task(serve(node)) for node in NODES]
        await _first_answer(server, tell_when_ready)
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _first_answer(server: NatsServer, tell) -> None:  # type: ignore[no-untyped-def]
    for _ in range(20):
        try:
            await tell()
        except Exception:
            await asyncio.sleep(0.2)
        else:
            return
    raise AssertionError("the mesh did not get ready")


@pytest.fixture(scope="module")
def hello(world: World) -> World:
    """The world with a stack in it."""
    out = world.good("stack", "deploy", "-c", "-", "hello", stdin=COMPOSE)
    assert out.splitlines()[:3] == [
        "Creating service hello_web",
        "Creating service hello_edge",
        "Creating service hello_db",
    ]
    assert out.splitlines()[-1].startswith("Stack hello runs: 3 services, ")
    return world


def test_a_second_init_touches_nothing(world: World) -> None:
    ran = world.run("init", "--mesh-id", "other", "--replicas", "1")
    assert (ran.returncode, "already" in ran.stderr) == (5, True)


def test_what_was_deployed_runs_where_it_should(hello: World) -> None:
    rows = [json.loads(line) for line in hello.good("stack", "ps", "hello", "--format", "json").splitlines()]
    assert [row["Name"] for row in rows] == [
        *(f"hello_{name}" for name in ("db.1", "edge.n1", "edge.n2", "edge.n3", "web.1", "web.2", "web.3", "web.4"))
    ]
    assert {row["CurrentState"].split()[0] for row in rows} == {"Running"}
    assert {row["Image"] for row in rows} == {"hello:1"}
    assert {row["Ports"] for row in rows if row["Service"] == "hello_edge"} == {"*:8080->80/tcp"}
    out = hello.good("volume", "ls", "--format", "{{.Name}} {{.Services}}")
    assert out == "hello_data hello_db\n"


def test_deploying_the_same_again_changes_nothing(hello: World) -> None:
    before = hello.good("stack", "ps", "-q", "hello")
    out = hello.good("stack", "deploy", "-c", "-", "hello", stdin=COMPOSE)
    assert "Service hello_web is unchanged" in out
    assert hello.good("stack", "ps", "-q", "hello") == before


def test_status_and_nodes_tell_that_all_is_well(hello: World) -> None:
    text = hello.good("status")
    assert "3 of 3 ready" in text
    assert "3 of 3 converged" in text
    assert "!" not in text
    assert hello.good("node", "ls", "--format", "{{.Hostname}} {{.Status}}") == "n1 Ready\nn2 Ready\nn3 Ready\n"


def test_logs_are_those_of_all_tasks(hello: World) -> None:
    lines = hello.good("service", "logs", "--tail", "2", "hello_web").splitlines()
    assert len(lines) == 8
    assert sorted({line.split(" | ")[1] for line in lines}) == ["three", "two"]


def test_following_logs_and_events_ends_with_ctrl_c(hello: World) -> None:
    for arguments in (("service", "logs", "-f", "hello_db"), ("events", "--since", "10m")):
        command = [sys.executable, "-m", "meshctl.main", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=hello.environ
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err.strip()) == (130, "")


def test_an_update_replaces_and_keeps_history(world: World) -> None:
    world.good("service", "create", "--name", "up", "--replicas", "2", "--update-monitor", "0s", "hello:1")
    world.good("service", "update", "--image", "hello:2", "--env-add", "A=1", "up")
    rows = [json.loads(line) for line in world.good("service", "ps", "up", "--format", "json").splitlines()]
    assert [(row["Name"], row["Word"], row["DesiredState"]) for row in rows] == [
        ("up.1", "Running", "Running"),
        (" \\_ up.1", "Shutdown", "Shutdown"),
        ("up.2", "Running", "Running"),
        (" \\_ up.2", "Shutdown", "Shutdown"),
    ]
    world.good("service", "scale", "up=1")
    assert world.good("service", "ls", "-f", "name=up", "--format", "{{.Replicas}}") == "1/1\n"
    found = world.good("service", "inspect", "up", "--format", "{{json .Spec.Task.Container.Environment}}")
    assert found == '{"A":"1"}\n'
    world.good("service", "rm", "up")
    assert world.run("service", "ps", "up").returncode == 4


def test_a_service_that_ends_three_times_exits_8_with_its_last_words(world: World) -> None:
    ran = world.run("service", "create", "--name", "crash", "--restart-delay", "10ms", "crash:1")
    assert ran.returncode == 8
    assert "  | no such table: users" in ran.stderr
    assert "error: crash.1 ended 3 times: exit code 3" in ran.stderr
    world.good("service", "rm", "crash")


def test_a_job_that_is_complete_is_done(world: World) -> None:
    out = world.good("service", "create", "--name", "once", "--restart-condition", "none", "once:1")
    assert "1/1 complete" in out
    assert "(1/1 completed)" in world.good("service", "ls", "-f", "name=once")
    world.good("service", "rm", "once")


def test_what_finds_no_place_is_told_within_two_seconds_and_times_out_with_7(world: World) -> None:
    command = [sys.executable, "-m", "meshctl.main", "service", "create", "--name", "big", "--timeout", "6s"]
    command += ["--reserve-memory", "900g", "hello:1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=world.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "big\n"
    begun = time.monotonic()
    while "memory" not in process.stdout.readline():
        assert process.poll() is None
    assert time.monotonic() - begun < 10  # two seconds is the aim
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert "  big.1: Pending: " in err
    assert "! service big: 0/1 running: " in world.good("status")
    world.good("service", "rm", "big")


def test_ctrl_c_leaves_the_deploy_running_and_says_so(world: World) -> None:
    command = [sys.executable, "-m", "meshctl.main", "service", "create", "--name", "slow", "hello:1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=world.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "slow\n"
    assert process.stdout.readline().startswith("slow: ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, "No longer waiting; the update of slow goes on." in err) == (130, True)
    world.good("service", "update", "--replicas", "1", "slow")
    world.good("service", "rm", "slow")


def test_an_image_that_nobody_can_get_is_refused_by_name(world: World) -> None:
    ran = world.run("service", "create", "--name", "none", "nowhere/none:9")
    assert ran.returncode == 6
    assert "nowhere/none:9" in ran.stderr
    assert "meshctl image push" in ran.stderr


def test_an_archive_that_is_none_is_refused_by_each_node(world: World, tmp_path: Path) -> None:
    (tmp_path / "not.tar").write_bytes(random.Random(1).randbytes(1_200_000))
    ran = world.run("image", "load", "-i", str(tmp_path / "not.tar"))
    assert ran.returncode in (2, 6)
    assert "3 of 3 nodes did not take it" in ran.stderr
    assert "hello" in world.good("image", "ls", "--format", "{{.Repository}}")


def test_draining_moves_tasks_away(hello: World) -> None:
    hello.good("node", "drain", "n3")
    deadline = time.monotonic() + 30
    while hello.good("node", "ps", "n3", "-q", "-f", "desired-state=running", "-f", "state=running").strip():
        assert time.monotonic() < deadline
    assert "! node n3: drain" in hello.good("status")
    hello.good("node", "activate", "n3")
    hello.good("node", "update", "--label-add", "zone=eu", "n3")
    assert hello.good("node", "ls", "-q", "-f", "node.label=zone=eu") == "n3\n"


def test_a_server_that_is_not_there_is_told_in_seconds(world: World) -> None:
    begun = time.monotonic()
    environ = {**world.environ, "NATS_URL": "nats://127.0.0.1:9"}
    ran = subprocess.run(
        [sys.executable, "-m", "meshctl.main", "status"],
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 3
    assert ran.stderr.startswith("error: no NATS server answers at nats://127.0.0.1:9 (waited 3 s)\n")
    assert time.monotonic() - begun < 15


def test_a_wrong_password_is_refused_not_waited_for(world: World) -> None:
    environ = {**world.environ, "NATS_URL": f"nats://operator:wrong@127.0.0.1:{world.server.port}"}
    ran = subprocess.run(
        [sys.executable, "-m", "meshctl.main", "status"],
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, "do not accept the credentials" in ran.stderr) == (6, True)


def test_the_stack_goes_as_it_came(hello: World) -> None:
    out = hello.good("stack", "rm", "hello")
    assert sorted(out.splitlines()) == [f"Removing service hello_{name}" for name in ("db", "edge", "web")]
    assert hello.good("stack", "ls", "-q") == ""
    assert hello.good("volume", "ls", "-q") == "hello_data\n"
    kinds = hello.good(
        "events", "--since", "1h", "--until", "now", "--format", "{{.Kind}}", "-f", "stack=hello"
    ).split()
    assert {"service.created", "task.assigned", "task.started", "task.stopped", "service.removed"} <= set(kinds)
