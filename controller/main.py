"""`mesh-controller`: the process around a controller. SIGTERM and SIGINT hand over and end it with 0.

It waits for NATS for ever (`bus.nats.connect` backs off and logs), and says its errors in one line.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import socket
import sys
from pathlib import Path

import structlog

from bus.credentials import read_credentials
from bus.ending import end, end_at_once_on_signals, on_signals
from bus.logs import configure_logging
from bus.nats import connect
from bus.users import Credentials
from controller.config import Config
from controller.controller import Controller
from controller.highest import FileMemory, Memory
from controller.plan import plan
from schemas.clock import SystemClock
from schemas.errors import MeshError
from schemas.version import VERSION

log = structlog.get_logger()


def main() -> None:
    """The command."""
    options = _options(sys.argv[1:])
    configure_logging()
    end_at_once_on_signals()
    try:
        config = Config(name=options.name, hostname=options.hostname)
        credentials = read_credentials(options.credentials, name=config.name)
        asyncio.run(_run(config, credentials, FileMemory(options.data)))
    except MeshError as error:
        print(f"mesh-controller: {error.message}", file=sys.stderr)  # noqa: T201 (to the person who started it)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    end()


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mesh-controller", description="Decides what runs where in a mesh.")
    parser.add_argument("--name", required=True, help="this controller's name, the same over restarts")
    parser.add_argument("--credentials", required=True, type=Path, help="the credentials file (JSON, mode 0600)")
    parser.add_argument("--data", required=True, type=Path, help="where it remembers how far the store was")
    parser.add_argument("--hostname", default=socket.gethostname(), help="shown by meshctl status")
    parser.add_argument("--version", action="version", version=f"mesh-controller {VERSION}")
    return parser.parse_args(arguments)


async def _run(config: Config, credentials: Credentials, memory: Memory) -> None:
    """Run until a signal asks for the end. Raises MeshError."""
    clock, rng = SystemClock(), random.Random(secrets.randbits(64))  # noqa: S311 (spreads followers, no secret)
    structlog.contextvars.bind_contextvars(controller=config.name)
    log.info("controller.starting", version=VERSION)
    async with connect(credentials, clock=clock, rng=rng) as bus:
        controller = Controller(config, bus, clock=clock, rng=rng, memory=memory, plan=plan)
        on_signals(controller.stop)
        await controller.run()


if __name__ == "__main__":
    main()
