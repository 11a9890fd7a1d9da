"""Text in columns, as docker prints it: upper-case headers, three spaces between, nothing after the last."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import click

GAP = 3


def lay_out(header: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Sequence[str]] = ()) -> str:
    """The table. `styles`: a colour (of click) for each cell, "" for none."""
    lines = [tuple(header), *(tuple(_clean(cell) for cell in row) for row in rows)]
    widths = _widths(lines)
    out = []
    for number, line in enumerate(lines):
        colours = styles[number - 1] if styles and number else ()
        out.append(_line(line, widths, colours))
    return "\n".join(out)


def fit_to(
    width: int, header: Sequence[str], rows: Sequence[Sequence[str]], gives: Mapping[int, int]
) -> list[list[str]]:
    """The rows with cells cut so that no line is longer than `width`, as far as columns give way.

    `gives`: column -> its least width; 0: it gives nothing. The widest gives first.
    """
    cut = [list(row) for row in rows]
    yielding = [index for index, least in gives.items() if least and rows]
    for index in sorted(yielding, key=lambda index: -max(_width(row[index]) for row in rows)):
        over = max((_width(_line(row, _widths([header, *cut]), ())) for row in [header, *cut]), default=0) - width
        if over <= 0:
            break
        wide = max(_width(row[index]) for row in cut)
        least = max(gives[index], _width(header[index]))
        limit = max(least, wide - over)
        for row in cut:
            row[index] = shorten(row[index], limit)
    return cut


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(_width(line[index]) for line in lines) for index in range(len(lines[0]))]


def _line(cells: Sequence[str], widths: Sequence[int], colours: Sequence[str]) -> str:
    last = max((index for index, cell in enumerate(cells) if cell), default=0)
    parts = []
    for index, cell in enumerate(cells[: last + 1]):
        padding = " " * (widths[index] - _width(cell) + GAP) if index < last else ""
        colour = colours[index] if index < len(colours) else ""
        parts.append((_styled(cell, colour) if colour else cell) + padding)
    return "".join(parts)


def _styled(cell: str, colour: str) -> str:
    return click.style(cell, dim=True) if colour == "dim" else click.style(cell, fg=colour)


def _clean(cell: str) -> str:
    """One line, and no control characters of somebody else's making."""
    return "".join(char if char.isprintable() else " " for char in cell)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shorten(text: str, limit: int) -> str:
    """`text` cut to `limit` characters, the last of them an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
