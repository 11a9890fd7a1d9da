"""The life of `meshctl dev`: write files, start children, create the mesh once, wait until it is ready, show events."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bus.credentials import read_credentials, write_credentials
from bus.nats_admin import create_mesh, mesh_exists
from meshctl.client import Mesh
from meshctl.contexts import ContextStore
from meshctl.dev.children import Children
from meshctl.dev.plan import CONTEXT, DevPlan, Passwords
from meshctl.views.events import event_line
from schemas.errors import MeshError, StoreMissing, TimedOut, Unreachable, UsageError

READY_WITHIN = 30.0
PREFERRED_PORT = 4222

Say = Callable[[str], None]


class Ended(Exception):
    """Somebody pressed Ctrl-C."""


def make_plan(directory: Path, node: str, port: int, engine: str) -> DevPlan:
    """The plan with fresh passwords. `port` 0: 4222 if it is free, else any. Raises UsageError: no engine there."""
    _check_engine(engine)
    words = Passwords(*(secrets.token_urlsafe(18) for _ in range(3)))
    return DevPlan(directory=directory, node=node, port=port or _free_port(), engine=engine, passwords=words)


async def run_dev(plan: DevPlan, contexts: ContextStore, say: Say, *, color: bool = False) -> None:
    """Run it until SIGINT or SIGTERM. Raises Refused when a child ends, TimedOut when it does not get ready."""
    children = Children(plan.directory)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            await children.start(plan.server())
            group.create_task(_end_on(stop))
            await _create(plan)
            for child in plan.children():
                await children.start(child)
            group.create_task(children.watch())
            contexts.put(CONTEXT, plan.operator_file, use=True, description="meshctl dev")
            await _show(plan, say, color)
    except* Ended:
        say("Stopping ...")
    finally:
        await children.stop()


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the directory. Raises UsageError while another `meshctl dev` does."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(f"meshctl dev runs already (in {directory})", hint="meshctl status shows how it is") from None
    try:
        yield
    finally:
        os.close(handle)


def write_files(plan: DevPlan) -> None:
    """The configuration and credentials."""
    for path, credentials in plan.credentials().items():
        write_credentials(path, credentials)
    config = plan.directory / "nats.conf"
    config.unlink(missing_ok=True)
    config.touch(mode=0o600)
    config.write_text(plan.server_config())


async def _end_on(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Ended


async def _create(plan: DevPlan) -> None:
    """The streams, at the very first start."""
    from meshctl.connection import connected
    from schemas.clock import SystemClock

    credentials = read_credentials(plan.operator_file)
    async with connected(credentials, SystemClock(), 10.0) as bus:
        try:
            there = await mesh_exists(bus)
        except StoreMissing:
            there = False
        if not there:
            await create_mesh(bus, f"dev-{plan.node}", 1)


async def _show(plan: DevPlan, say: Say, color: bool) -> None:
    """Say that it is ready, then each event, for ever."""
    async with Mesh.connect(read_credentials(plan.operator_file)) as mesh:
        await _wait_until_ready(plan, mesh)
        say(f"Mesh dev is ready: node {plan.node} on {plan.engine}, NATS on 127.0.0.1:{plan.port}.")
        say(f"  context  {CONTEXT} (now the current one)")
        say(f"  state    {plan.directory}")
        say("  Ctrl-C ends it; containers run on until it is started again and told otherwise.")
        async for event in mesh.events():
            say(event_line(event, color=color))


async def _wait_until_ready(plan: DevPlan, mesh: Mesh) -> None:
    why = "nobody has answered"
    try:
        async with asyncio.timeout(READY_WITHIN):
            while True:
                try:
                    view = await mesh.node(plan.node)
                    if view.status == "ready":
                        return
                    why = f"node {plan.node}: {view.why or view.status}"
                except MeshError as error:
                    why = error.message
                await asyncio.sleep(0.2)
    except TimeoutError:
        hint = f"logs are in {plan.directory}"
        raise TimedOut(f"the mesh did not get ready in {READY_WITHIN:g} s: {why}", hint=hint) from None


def _check_engine(engine: str) -> None:
    path = engine.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(3)
        try:
            probe.connect(path)
        except OSError as error:
            hint = "start Docker, or set DOCKER_HOST=unix:///path/docker.sock"
            raise Unreachable(f"no Docker engine answers at {path}: {error.strerror or error}", hint=hint) from None


def _free_port() -> int:
    for port in (PREFERRED_PORT, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UsageError("there is no free port on 127.0.0.1")
