"""How many seeds were clean on which commit: a table in docs/RELIABILITY.md that `--soak` keeps by itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/RELIABILITY.md"
HEAD = "| commit | seeds clean | failed |"
RULE = "|---|---|---|"


def added(page: str, commit: str, clean: int, failed: int) -> str:
    """The page with so many more seeds in the commit's row, which is made if it is not there.

    Raises ValueError: the page has no such table.
    """
    lines = page.split("\n")
    first = lines.index(HEAD) + 2
    last = first
    while last < len(lines) and lines[last].startswith("|"):
        cells = [cell.strip() for cell in lines[last].strip("|").split("|")]
        if cells[0] == commit:
            lines[last] = _row(commit, int(cells[1]) + clean, int(cells[2]) + failed)
            return "\n".join(lines)
        last += 1
    return "\n".join([*lines[:last], _row(commit, clean, failed), *lines[last:]])


def _row(commit: str, clean: int, failed: int) -> str:
    return f"| {commit} | {clean} | {failed} |"


def commit_here() -> str:
    """The commit that stands here; with a "+" if anything but the page was changed since."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
    differs = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", f":!{PAGE}"], check=False).returncode != 0
    return name.stdout.strip() + ("+" if differs else "")


def note(commit: str, clean: int, failed: int) -> None:
    """Add to the page's table."""
    if clean or failed:
        page = ROOT / PAGE
        page.write_text(added(page.read_text(), commit, clean, failed))
