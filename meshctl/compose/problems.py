"""What is wrong and what is worth a warning, gathered so that one run tells all of it.

Each line reads `file:line: key.path: what — remedy`.
"""

from __future__ import annotations

from meshctl.compose.tree import Where
from schemas.errors import ManifestError

PROBLEMS_SHOWN = 25
"""So many are told; of the others only the number."""

LONGEST_QUOTE = 60


class Problems:
    """Gathers problems and warnings; `check` raises once there are problems."""

    def __init__(self) -> None:
        self._problems: dict[str, Where | None] = {}
        self._warnings: dict[str, None] = {}

    def add(self, where: Where | None, path: str, what: str, remedy: str = "", *, excerpt: str = "") -> None:
        """One thing that is wrong, with lines of the file to show under it. Told once, however often it is added."""
        self._problems[_line(where, path, what, remedy) + excerpt] = where

    def warn(self, where: Where | None, path: str, what: str, remedy: str = "") -> None:
        """One thing worth saying."""
        self._warnings[_line(where, path, what, remedy)] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was worth saying, in the order it was met."""
        return tuple(self._warnings)

    @property
    def any(self) -> bool:
        """Whether something is wrong."""
        return bool(self._problems)

    def check(self) -> None:
        """Raise `ManifestError` with all problems in the order of the files, if there are any."""
        if not self._problems:
            return
        lines = self._in_order()
        shown = lines[:PROBLEMS_SHOWN]
        if len(lines) > len(shown):
            shown.append(f"... and {len(lines) - len(shown)} more problems")
        raise ManifestError("\n".join(shown))

    def _in_order(self) -> list[str]:
        files = list(dict.fromkeys(where.file for where in self._problems.values() if where))
        places = {line: (files.index(at.file), at.line) if at else (-1, 0) for line, at in self._problems.items()}
        return sorted(places, key=lambda line: places[line])


def quote(text: str) -> str:
    """`text` in quotes, cut to a length that fits into a line, without control characters."""
    cut = text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "..."
    return '"' + "".join(letter if letter.isprintable() else "?" for letter in cut) + '"'


def _line(where: Where | None, path: str, what: str, remedy: str) -> str:
    parts = [str(where) if where else "", "".join(letter if letter.isprintable() else "?" for letter in path), what]
    line = ": ".join(part for part in parts if part)
    return f"{line} — {remedy}" if remedy else line
