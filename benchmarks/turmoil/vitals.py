"""Doing: memory, threads and descriptors of a lab's agents and controllers, looked at every few seconds."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.turmoil.growth import Sample
from lab.lab import Lab

EVERY = 5.0
ROLES = {"agent.main": "agent", "controller.main": "controller"}
TICKS = os.sysconf("SC_CLK_TCK")


class Vitals:
    """Looks by itself between `start` and `end`; `samples` is all that was seen."""

    def __init__(self, lab: Lab) -> None:
        self._root = f"{lab.paths.root}/"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vitals", daemon=True)
        self.samples: list[Sample] = []

    def start(self) -> None:
        """Look every few seconds."""
        self._thread.start()

    def end(self) -> None:
        """No more."""
        self._ended.set()
        self._thread.join(10)

    def write(self, file: Path) -> None:
        """All samples, one a line."""
        lines = [f"{each.role},{each.program},{each.at:.0f},{each.age:.0f},{each.memory:.2f},{each.threads},"
                 f"{each.descriptors}" for each in self.samples]  # fmt: skip
        file.write_text("\n".join(["role,program,at,age,mib,threads,descriptors", *lines, ""]))

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            for process, role, machine in self._programs():
                self.samples.extend(_sample(process, role, machine))

    def _programs(self) -> Iterator[tuple[Path, str, str]]:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if "--data" in words and "-m" in words:
                    role = ROLES.get(words[words.index("-m") + 1])
                    data = words[words.index("--data") + 1]
                    if role is not None and data.startswith(self._root):
                        yield process, role, data.removeprefix(self._root).partition("/")[0]


def _sample(process: Path, role: str, machine: str) -> Iterator[Sample]:
    """None where it has just ended."""
    with contextlib.suppress(OSError, KeyError, IndexError):
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        yield Sample(
            role=role,
            program=f"{machine} {process.name}",
            at=now,
            age=now - int(fields[19]) / TICKS,
            memory=int(status["RssAnon"].split()[0]) / 1024,
            threads=int(status["Threads"]),
            descriptors=len(list((process / "fd").iterdir())),
        )
