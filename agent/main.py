"""`mesh-agent`: the process around an agent. SIGTERM ends the agent alone; its containers run on."""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import socket
import sys
from pathlib import Path

import structlog

from agent.agent import Agent
from agent.allocator import keep_giving_back
from agent.engine.docker import DockerEngine
from agent.engine.labels import Owner
from agent.files import DataDirectory
from agent.membership import FILE as IDENTITY_FILE
from agent.membership import Identity
from agent.network.machine import LinuxMachine
from agent.network.removal import remove_networks
from agent.parts import AgentConfig
from agent.surroundings import Machine, agent_version
from bus.credentials import read_credentials
from bus.ending import end, end_at_once_on_signals, on_signals
from bus.logs import configure_logging
from bus.nats import open_bus
from bus.users import Credentials
from schemas.clock import SystemClock
from schemas.errors import MeshError, Refused, UsageError
from schemas.network import tunnel_refusal
from schemas.nodelabels import label_trouble
from schemas.subjects import is_token, suggest_token
from schemas.wire import decode

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DEFAULT_ENGINE = "unix:///var/run/docker.sock"

log = structlog.get_logger()


class Stopped(Exception):
    """Somebody wants this process to end."""


def main() -> None:
    """The command."""
    options = _options(sys.argv[1:])
    configure_logging()
    end_at_once_on_signals()
    error: Exception | None = None
    try:
        config = config_of(options, boot_id())
        credentials = read_credentials(options.credentials, name=f"agent {config.node}")
        if options.remove_networks:
            asyncio.run(_remove_networks(config.node, options.engine, options.data))
        else:
            asyncio.run(_main(config, credentials, options.engine, options.data))
    except* (MeshError, OSError) as group:
        error = _first(group)
    if error is not None:
        sys.exit(_explained(error))
    end()


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """The first error in a group of groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _explained(error: Exception) -> int:
    """Tell the person who started the process; the exit code."""
    hint = getattr(error, "hint", "")
    sys.stderr.write(f"mesh-agent: {error}\n" + (f"  {hint}\n" if hint else ""))
    return error.exit_code if isinstance(error, MeshError) else 70


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("mesh-agent", description="Makes this machine match what the mesh wants of it.")
    parser.add_argument("--node", required=True, metavar="NAME", help="the name of this node in the mesh")
    parser.add_argument("--credentials", required=True, type=Path, metavar="FILE", help="servers, user, password")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="what must outlive a restart")
    parser.add_argument("--engine", default=DEFAULT_ENGINE, metavar="URL", help=f"default: {DEFAULT_ENGINE}")
    parser.add_argument("--address", default="", metavar="IP", help="as other nodes reach it; default: its way out")
    parser.add_argument("--label", action="append", default=[], metavar="K=V", help="a label of the node when it joins")
    parser.add_argument("--hostname", default="", help="default: this machine's")
    parser.add_argument("--controller-here", action="store_true", help="a controller runs on this machine")
    parser.add_argument(
        "--remove-networks",
        action="store_true",
        help="for a machine that leaves, drained and its agent stopped: remove the mesh's networks, and end",
    )
    parser.add_argument("--version", action="version", version=f"mesh-agent {agent_version()}")
    return parser.parse_args(arguments)


def config_of(options: argparse.Namespace, boot: str) -> AgentConfig:
    """What the options mean. Raises UsageError."""
    if not is_token(options.node):
        name = suggest_token(options.node) or "node-1"
        raise UsageError(f"{options.node!r} can't be the name of a node", hint=f"use --node {name}")
    if options.address and (why := tunnel_refusal(options.address)):
        raise UsageError(
            f"--address {options.address!r} {why}",
            hint="give the IPv4 address by which other nodes reach this machine, or leave it out: it is found",
        )
    labels = dict(label.partition("=")[::2] for label in options.label)
    if why := label_trouble(labels):
        raise UsageError(f"--label: {why}", hint="give labels as --label zone=eu")
    hostname = options.hostname or socket.gethostname()
    return AgentConfig(
        node=options.node,
        boot=boot,
        machine=Machine(hostname=hostname, address=options.address, controller_here=options.controller_here),
        labels=labels,
    )


async def _main(config: AgentConfig, credentials: Credentials, address: str, data: Path) -> None:
    chance = random.Random(secrets.randbits(128))  # noqa: S311 (spreads retries; the instance id is no secret)
    clock = SystemClock()
    files = DataDirectory(data)
    files.claim()
    engine = DockerEngine(address, clock=clock)
    structlog.contextvars.bind_contextvars(node=config.node)
    log.info("agent.starting", version=agent_version(), engine=address)
    try:
        async with open_bus(credentials, rng=chance) as bus:
            agent = Agent(config, bus, engine, files, clock, chance, LinuxMachine(chance))
            await _until_signal(agent)
            await agent.leave()
    finally:
        await engine.close()
        files.close()
    log.info("agent.stopped")


async def _remove_networks(node: str, address: str, data: Path) -> None:
    """Raises Refused: this is no member's data, or containers run on a network."""
    files = DataDirectory(data)
    files.claim()
    engine = DockerEngine(address, clock=SystemClock())
    try:
        kept = await files.read(IDENTITY_FILE)
        mesh = decode(kept, Identity).mesh_id if kept is not None else ""
        if not mesh:
            raise Refused(f"the agent of {data} has never joined a mesh: no network here is its own")
        names = await remove_networks(engine, LinuxMachine(random.Random()), Owner(mesh, node))  # noqa: S311
        log.info("networks.removed", names=names)
    finally:
        await engine.close()
        files.close()


async def _until_signal(agent: Agent) -> None:
    stop = asyncio.Event()
    on_signals(stop.set)

    async def wait() -> None:
        await stop.wait()
        raise Stopped

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run())
            group.create_task(wait())
            group.create_task(keep_giving_back())
    except* Stopped:
        log.info("agent.stopping")


def boot_id() -> str:
    """The kernel's: a new one means that nothing of before runs."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


if __name__ == "__main__":
    main()
