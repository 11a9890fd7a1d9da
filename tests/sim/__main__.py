"""`python -m tests.sim [FIRST [COUNT]]`: tell the stories of some seeds; `--soak` many, in several processes.

A seed that fails prints what was done to the world and the command that tells it again; keep it in `seeds.txt`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings

from tests.sim.chaos import TROUBLE, Result
from tests.sim.soaking import Tally, again, cores, outcome_of, soak


def main() -> None:
    """The command."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    warnings.simplefilter("ignore", ResourceWarning)
    options = _options()
    if options.soak:
        tally = soak(options.first, options.seeds, options.jobs, options.seconds, tell_of)
    else:
        tally = _some(options)
    print(f"{tally}, from {options.first}")
    for seed in tally.failed:
        print(f"failed: {seed}  again: {again(seed, options.seconds)}")
    sys.exit(1 if tally.failed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Tells what some seeds come to.")
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--soak", action="store_true", help="many, and keep their total; until stopped, or --seeds")
    parser.add_argument("--seeds", type=int, default=0, help="of a soak: stop after so many")
    parser.add_argument("--jobs", type=int, default=cores(), help="of a soak: processes (default: one for each core)")
    parser.add_argument("--seconds", type=float, default=TROUBLE, help="virtual seconds of trouble for each seed")
    parser.add_argument("--story", action="store_true", help="print what was done to the world, and the trace's hash")
    return parser.parse_args()


def _some(options: argparse.Namespace) -> Tally:
    tally = Tally()
    stopped: list[int] = []
    # asyncio's own handler would need a thread's voice, which a simulated loop has not: a story is told to its end.
    signal.signal(signal.SIGINT, lambda number, _frame: stopped.append(number))
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    for seed in range(options.first, options.first + options.count):
        if stopped:
            break
        result = outcome_of(seed, options.seconds)
        tally.add(result)
        if result.failure or options.story:
            tell_of(result)
    return tally


def tell_of(result: Result) -> None:
    """Print what a seed came to."""
    print("\n".join(result.said))
    print(
        f"seed {result.seed}, trace {result.trace}, {result.virtual:.1f} virtual seconds: {result.failure or 'clean'}"
    )
    if result.failure:
        print(f"again: {again(result.seed, result.seconds)}\n", flush=True)


if __name__ == "__main__":
    main()
