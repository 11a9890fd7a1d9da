"""Sending an image's archive to several nodes at once over the bus: chunk by chunk, checked, in bounded memory.

The archive is read once; a chunk goes to all nodes before the next is read, so that memory holds two chunks however
large it is. A node that fails is left behind with its error, the others go on.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from meshctl.client import Mesh
from schemas.errors import EngineError, MeshError, Unreachable
from schemas.nodeapi import CHUNK, LoadAnswer, LoadChunk

ATTEMPTS = 3
"""A chunk that nobody answered is sent so often: a node knows one that it has already."""

Shown: TypeAlias = Callable[[str, int], None]
"""Told (node, bytes sent so far)."""


@dataclass(frozen=True)
class Sent:
    """What became of it on one node."""

    node: str
    images: tuple[str, ...] = ()
    error: MeshError | None = None


async def send_archive(mesh: Mesh, nodes: Sequence[str], archive: AsyncIterator[bytes], shown: Shown) -> list[Sent]:
    """Send `archive` (pieces of any size) to all `nodes`; what became of it on each, in their order."""
    transfer = f"t{secrets.token_hex(8)}"
    errors: dict[str, MeshError] = {}
    answers: dict[str, LoadAnswer] = {}
    sent, index = 0, 0
    digest = hashlib.sha256()
    async for data, last in _marked(_even(archive)):
        digest.update(data)
        sent += len(data)
        sha256 = digest.hexdigest() if last else ""
        chunk = LoadChunk(transfer=transfer, index=index, data=data, last=last, sha256=sha256)
        going = [node for node in nodes if node not in errors]
        if not going:
            break
        async with asyncio.TaskGroup() as group:
            tasks = {node: group.create_task(_deliver(mesh, node, chunk)) for node in going}
        for node, task in tasks.items():
            result = task.result()
            if isinstance(result, MeshError):
                errors[node] = result
            else:
                answers[node] = result
                shown(node, sent)
        index += 1
    return [
        Sent(node, error=errors[node]) if node in errors else Sent(node, images=answers[node].images) for node in nodes
    ]


async def _deliver(mesh: Mesh, node: str, chunk: LoadChunk) -> LoadAnswer | MeshError:
    """One chunk to one node: its answer, or why not."""
    for attempt in range(ATTEMPTS):
        try:
            answer = await mesh.load_chunk(node, chunk)
        except Unreachable as error:
            if attempt + 1 == ATTEMPTS:
                return error
            continue
        except MeshError as error:
            return error
        if answer.received > chunk.index:
            return answer
        return EngineError(f"node {node} lost the beginning (it has {answer.received} chunks); send it again")
    raise AssertionError("ATTEMPTS is at least 1")


async def _even(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks of CHUNK bytes, the last one shorter."""
    held = bytearray()
    async for piece in pieces:
        held += piece
        while len(held) >= CHUNK:
            yield bytes(held[:CHUNK])
            del held[:CHUNK]
    yield bytes(held)


async def _marked(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """Each chunk with whether it is the last."""
    before: bytes | None = None
    async for chunk in chunks:
        if before is not None:
            yield before, False
        before = chunk
    assert before is not None, "there is always a last chunk, if an empty one"
    yield before, True
