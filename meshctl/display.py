"""Showing how far a deploy is: live bars on a terminal (rich, imported only then), plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from meshctl.format.times import duration
from meshctl.waiting import Look, Progress
from meshctl.watching import Display

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

PLAIN_EVERY = 1.0
"""Seconds between two plain lines of one service, unless it is done or tells a new reason."""


def display_for(environ: Mapping[str, str]) -> Display:
    """Bars where stdout is a terminal, else lines."""
    if sys.stdout.isatty() and environ.get("TERM", "dumb") != "dumb":
        return Bars()
    return Lines(click.echo)


def progress_text(progress: Progress) -> str:
    """`2/6 running (3 Starting, 1 Pending)`, in words."""
    if not progress.known:
        return "waiting for the leader"
    rest = ", ".join(f"{count} {word.lower()}" for word, count in progress.words)
    steady = " (watching)" if progress.running >= progress.wanted and not progress.done else ""
    word = "running" if progress.complete < max(progress.running, 1) else "complete"
    return f"{progress.running}/{progress.wanted} {word}" + (f" ({rest})" if rest else steady)


class Lines:
    """Plain lines: each change, at most one a second for each service; reasons at once, each once."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        self._echo = echo
        self._told: dict[str, tuple[str, float]] = {}
        self._reasons: set[tuple[str, str]] = set()
        self._noted = ""

    def show(self, look: Look, elapsed: float) -> None:
        """Tell what changed."""
        for progress in look.progress:
            text, at = self._told.get(progress.service, ("", -PLAIN_EVERY))
            now = progress_text(progress)
            if now != text and (elapsed - at >= PLAIN_EVERY or progress.done):
                self._told[progress.service] = (now, elapsed)
                self._echo(f"{progress.service}: {now}")
            for reason in progress.reasons:
                if (progress.service, reason) not in self._reasons:
                    self._reasons.add((progress.service, reason))
                    self._echo(f"{progress.service}: {reason}")

    def note(self, line: str) -> None:
        """Print it, unless it was the last note."""
        if line != self._noted:
            self._echo(line)
        self._noted = line

    def close(self) -> None:
        """Nothing is left open."""


class Bars:
    """One bar for each service, and below them why something does not go on."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._note = ""

    def show(self, look: Look, elapsed: float) -> None:
        """Draw all anew."""
        from rich.live import Live

        if self._live is None:
            self._live = Live(refresh_per_second=8, transient=False)
            self._live.start()
        self._live.update(self._draw(look, elapsed), refresh=True)
        self._note = ""

    def note(self, line: str) -> None:
        """Print it above the bars, unless it was the last note."""
        if line != self._note and self._live is not None:
            self._live.console.print(line, style="yellow", highlight=False)
        self._note = line

    def close(self) -> None:
        """Leave the last picture standing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, look: Look, elapsed: float) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for progress in look.progress:
            colour = "green" if progress.done else "yellow" if progress.reasons else "cyan"
            total = max(progress.wanted, 1)
            completed = total if progress.done else progress.running
            bar = ProgressBar(total=total, completed=completed, width=28, complete_style=colour, finished_style=colour)
            mark = Text("✓", style="green") if progress.done else Text("·", style=colour)
            grid.add_row(mark, progress.service, bar, Text(progress_text(progress)))
        lines = [f"  {item.service}: {reason}" for item in look.progress for reason in item.reasons]
        reasons = [Text(line, style="yellow") for line in lines]
        clock = Text(f"  {duration(round(elapsed, 1))}", style="dim")
        return Group(grid, *reasons, clock)
