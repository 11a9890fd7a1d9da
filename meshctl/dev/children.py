"""Child processes: started with their output in a log file, ended in the reverse order, never left behind."""

from __future__ import annotations

import asyncio
import ctypes
import signal
from contextlib import suppress
from pathlib import Path

from meshctl.dev.plan import Child
from schemas.errors import Refused

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

PR_SET_PDEATHSIG = 1


class Children:
    """The processes of one `meshctl dev`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[tuple[Child, asyncio.subprocess.Process]] = []

    async def start(self, child: Child) -> None:
        """Start it. Raises Refused if the program can't be run."""
        log = self.log(child.name)
        with log.open("ab") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *child.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C is ours to hand on, in order
                    preexec_fn=_die_with_parent,
                )
            except OSError as error:
                raise Refused(f"{child.command[0]} can't be run: {error.strerror}") from error
        self._running.append((child, process))

    async def watch(self) -> None:
        """Return never; raises Refused when one of them ends by itself."""
        async with asyncio.TaskGroup() as group:
            for child, process in self._running:
                group.create_task(self._until_it_ends(child, process))

    async def stop(self) -> None:
        """End all, the last started first."""
        while self._running:
            _, process = self._running.pop()
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(GRACE):
                    await process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def log(self, name: str) -> Path:
        """Where the output of a child goes."""
        return self._logs / f"{name}.log"

    async def _until_it_ends(self, child: Child, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        log = self.log(child.name)
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise Refused(
            f"{child.name} ended with code {code}: {last[0] if last else 'no word'}", hint=f"its log is {log}"
        )


def _die_with_parent() -> None:
    """In the child: let the kernel end it when `meshctl dev` dies, whatever kills that."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
