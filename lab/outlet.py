"""Whether and how the nodes of a lab reach the world outside, without a rule or setting of the host."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.paths import SEARCH

PROGRAM = "slirp4netns"


def outlet_of(*, offline: bool) -> tuple[bool, str]:
    """Whether there is a way out for a new lab, and the sentence that says so."""
    if offline:
        return False, "offline, as asked: no way out for the nodes"
    if not has_default_route(Path("/proc/net/route").read_text()):
        return False, "offline: this machine has no default route"
    if find() is None:
        return False, f"offline: no {PROGRAM} on this machine"
    return True, "nodes reach out through this machine"


def find() -> str | None:
    """The program that carries packets out as an ordinary process of the host."""
    return shutil.which(PROGRAM, path=SEARCH)


def has_default_route(table: str) -> bool:
    """Whether the text of /proc/net/route shows a route to everywhere."""
    rows = (line.split() for line in table.splitlines()[1:])
    return any(len(row) > 7 and row[1] == "00000000" and row[7] == "00000000" for row in rows)
