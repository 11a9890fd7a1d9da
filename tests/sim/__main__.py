"""`python -m tests.sim [FIRST [COUNT]]`: tell the stories of some seeds; `--soak` until stopped.

A seed that fails prints what was done to the world and the command that tells it again; keep it in `seeds.txt`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
import warnings

from tests.sim import totals
from tests.sim.chaos import TROUBLE, Result, run_seed

NOTE_EVERY = 25
"""Seeds of a soak between two notes of its total."""


def main() -> None:
    """The command."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    warnings.simplefilter("ignore", ResourceWarning)
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Tells what some seeds come to.")
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--soak", action="store_true", help="go on until stopped")
    parser.add_argument("--seconds", type=float, default=TROUBLE, help="virtual seconds of trouble for each seed")
    parser.add_argument("--story", action="store_true", help="print what was done to the world, and the trace's hash")
    options = parser.parse_args()
    clean, failed, started, seed = 0, 0, time.monotonic(), options.first
    commit = totals.commit_here() if options.soak else ""
    noted = (0, 0)
    stopped: list[int] = []
    # asyncio's own handler would need a thread's voice, which a simulated loop has not: a story is told to its end.
    signal.signal(signal.SIGINT, lambda number, _frame: stopped.append(number))
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    try:
        while not stopped and (options.soak or seed < options.first + options.count):
            result = outcome_of(seed, options.seconds)
            clean, failed = clean + (not result.failure), failed + bool(result.failure)
            if result.failure or options.story:
                tell_of(result)
            seed += 1
            if options.soak and clean + failed - sum(noted) >= NOTE_EVERY:
                totals.note(commit, clean - noted[0], failed - noted[1])
                noted = (clean, failed)
    finally:
        if options.soak:
            totals.note(commit, clean - noted[0], failed - noted[1])
    print(f"{clean} seeds clean, {failed} failed, from {options.first}, in {time.monotonic() - started:.0f} s")
    sys.exit(1 if failed else 0)


def outcome_of(seed: int, seconds: float) -> Result:
    """What a seed comes to; an unexpected exception is a failure, too."""
    try:
        return run_seed(seed, seconds)
    except BaseException as error:
        lines = [line for line in traceback.format_exception(error) if line.strip()]
        return Result(seed, "", 0.0, (), f"{type(error).__name__}: {error}\n{''.join(lines[-6:])}")


def tell_of(result: Result) -> None:
    """Print what a seed came to."""
    print("\n".join(result.said))
    print(
        f"seed {result.seed}, trace {result.trace}, {result.virtual:.1f} virtual seconds: {result.failure or 'clean'}"
    )
    if result.failure:
        print(f"again: python -m tests.sim {result.seed} --story\n")


if __name__ == "__main__":
    main()
