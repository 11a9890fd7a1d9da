"""Many voters at the example voting app: a program that runs inside a machine of a lab and imports nothing of ours.

Each vote is a short connection of its own, by somebody new, to the next of the given pages; who is not served tries the
next page. After each vote a line tells how many were taken, how many attempts failed, and why the last one did.

    python voters.py PAUSE URL...      (until SIGTERM)
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
import time
import urllib.error
import urllib.request

PATIENCE = 1.5
"""Seconds that a page gets."""


def main() -> None:
    """Vote until told to end."""
    pause, pages = float(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    taken = failed = 0
    why = ""
    for number in itertools.count():
        page = pages[number % len(pages)]
        error = vote(page, "ab"[taken % 3 == 0])
        if error:
            failed, why = failed + 1, f"{page}: {error}"
        else:
            taken += 1
        print(json.dumps({"taken": taken, "failed": failed, "why": why}), flush=True)  # noqa: T201
        time.sleep(pause)


def vote(page: str, choice: str) -> str:
    """Cast one; "" or why it was not taken."""
    try:
        with urllib.request.urlopen(page, data=f"vote={choice}".encode(), timeout=PATIENCE) as answer:  # noqa: S310
            answer.read()
    except (OSError, ValueError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
