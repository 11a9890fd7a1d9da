"""`meshctl brake release`."""

from __future__ import annotations

import click

from meshctl.client import Mesh
from meshctl.lazy import Group
from meshctl.session import Session, pass_session


@click.group(cls=Group, name="brake")
def brake_group() -> None:
    """Let replacements go on after many nodes fell silent at once."""


@brake_group.command("release")
@pass_session
def release(session: Session) -> None:
    """Release the brake: the silent nodes are taken for down, their tasks are replaced."""

    async def work(mesh: Mesh) -> bool:
        engaged = (await mesh.status()).brake.engaged
        if engaged:
            await mesh.order("brake.release")
        return engaged

    click.echo("released" if session.run(work) else "the brake is not engaged")
