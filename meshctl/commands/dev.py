"""`meshctl dev`."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import click

from meshctl.contexts import state_directory
from meshctl.dev.plan import engine_address, node_name
from meshctl.dev.running import make_plan, only_one, run_dev, write_files
from meshctl.session import Session, pass_session, quiet_logs


@click.command("dev")
@click.option("--data", type=click.Path(path_type=Path), help="Where it keeps its state (default: in your home).")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="NATS listens there (default: 4222 if free).")
@click.option("--node", default="", help="The node's name (default: this machine's).")
@pass_session
def dev_command(session: Session, data: Path | None, port: int, node: str) -> None:
    """Run a mesh of one node here: nats-server, controller and agent upon this machine's own Docker engine.

    No root is needed, but the right to use the engine. It registers the context `dev`, uses it, and shows what happens
    until Ctrl-C.
    """
    directory = data or state_directory(session.environ) / "dev"
    with only_one(directory):
        plan = make_plan(directory, node or node_name(socket.gethostname()), port, engine_address(session.environ))
        write_files(plan)
        quiet_logs(debug=session.debug)
        asyncio.run(run_dev(plan, session.contexts, click.echo, color=session.color))
