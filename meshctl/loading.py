"""Showing how far an archive is on each node: bars on a terminal, nothing elsewhere (the result is told at the end)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol


class Loading(Protocol):
    """What is told of progress."""

    def sent(self, node: str, size: int) -> None:
        """So many bytes have arrived there."""
        ...


class _Silent:
    def sent(self, node: str, size: int) -> None:
        """Nothing is shown."""


@contextmanager
def loading_for(environ: Mapping[str, str], nodes: Sequence[str], size: int) -> Iterator[Loading]:
    """Bars where stderr is a terminal. `size`: bytes expected."""
    if not sys.stderr.isatty() or environ.get("TERM", "dumb") == "dumb":
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(28), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {node: progress.add_task(node, total=size or None) for node in nodes}

        class Bars:
            def sent(self, node: str, size: int) -> None:
                progress.update(tasks[node], completed=size)

        yield Bars()
