"""Telling what nodes fetch while a deploy is asked for: they may have to pull images before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from meshctl.client import Mesh
from schemas.errors import MeshError
from schemas.events import Event

T = TypeVar("T")


async def telling_pulls(mesh: Mesh, work: Awaitable[T], tell: Callable[[str], None]) -> T:
    """The result of `work`; meanwhile each image that a node fetches is told once. Raises what `work` raises."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        teller = group.create_task(_tell(mesh, tell))
        try:
            return await work
        except Exception as error:  # raised again below, outside the group that would wrap it
            failure = error
        finally:
            teller.cancel()
    raise failure


async def _tell(mesh: Mesh, tell: Callable[[str], None]) -> None:
    told: set[str] = set()
    try:
        async for event in mesh.events(kinds=("image.pulling", "image.pulled")):
            line = pull_line(event)
            if line not in told:
                told.add(line)
                tell(line)
    except MeshError:
        return  # it is only told


def pull_line(event: Event) -> str:
    """`n1: pulling hello:1`."""
    verb = "pulling" if event.kind == "image.pulling" else "has"
    return f"{event.node}: {verb} {event.data.get('image', '')}".rstrip()
