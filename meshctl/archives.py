"""Where archives of images come from: a file, or `docker save` of this machine's own engine (the binary is called)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import EngineError, NotFound, UsageError
from schemas.nodeapi import CHUNK


@dataclass(frozen=True)
class LocalImage:
    """An image of this machine's engine."""

    image_id: str
    size: int


def docker_binary() -> str:
    """The path of the docker command. Raises UsageError: there is none."""
    found = shutil.which("docker")
    if found is None:
        hint = "where there is one: docker save IMAGE -o FILE; then here: meshctl image load -i FILE"
        raise UsageError("there is no docker command on this machine", hint=hint)
    return found


async def inspect_local(docker: str, image: str) -> LocalImage:
    """Raises NotFound: this machine's engine has no such image; EngineError: it can't be asked."""
    out = await _docker(docker, "image", "inspect", "--format", "{{.Id}} {{.Size}}", image)
    image_id, _, size = out.strip().partition(" ")
    return LocalImage(image_id=image_id, size=int(size or 0))


@asynccontextmanager
async def saved_image(docker: str, image: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The archive of `docker save`, piece by piece. Raises EngineError when docker fails in the middle."""
    process = await asyncio.create_subprocess_exec(
        docker, "save", image, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None, "it was asked for"
    assert process.stderr is not None, "it was asked for"
    stdout, stderr = process.stdout, process.stderr

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await stdout.read(CHUNK):
            yield piece
        if await process.wait():
            raise EngineError(f"docker save {image}: {_last_line(await stderr.read())}")

    try:
        yield pieces()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def archive_file(path: Path) -> AsyncIterator[AsyncIterator[bytes]]:
    """A file made by `docker save` (compressed or not), piece by piece. Raises UsageError."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="docker save IMAGE -o FILE makes one") from error

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(file.read, CHUNK):
            yield piece

    try:
        yield pieces()
    finally:
        file.close()


async def _docker(docker: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        docker, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, told = await process.communicate()
    if process.returncode:
        line = _last_line(told)
        if "no such image" in line.lower():
            raise NotFound(
                f"this machine's engine has no image {arguments[-1]}", hint="docker build or docker pull it first"
            )
        raise EngineError(f"docker {arguments[0]} {arguments[1]}: {line}", hint="is the docker engine running here?")
    return out.decode(errors="replace")


def _last_line(data: bytes) -> str:
    lines = data.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it failed without a word"
