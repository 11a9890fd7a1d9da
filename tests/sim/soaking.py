"""Many stories at once: each in one of several processes, until so many are told or somebody says stop.

The total by commit goes to docs/RELIABILITY.md now and then (`totals`). A story that takes too long counts as failed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

from tests.sim import totals
from tests.sim.chaos import TROUBLE, Result, run_seed

NOTE_EVERY = 100
"""Seeds of a soak between two notes of its total."""

PATIENCE = 600
"""Real seconds for one story, however busy the machine is."""


class TooLong(BaseException):
    """A story takes more real time than any should."""


@dataclass
class Tally:
    """What came of the seeds."""

    clean: int = 0
    failed: list[int] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def add(self, result: Result) -> None:
        """One more."""
        if result.failure:
            self.failed.append(result.seed)
        else:
            self.clean += 1

    def __str__(self) -> str:
        took = time.monotonic() - self.began
        told = self.clean + len(self.failed)
        each = f", {told / took:.1f} a second" if took > 1 else ""
        return f"{self.clean} seeds clean, {len(self.failed)} failed, in {took:.0f} s{each}"


def outcome_of(seed: int, seconds: float) -> Result:
    """What a seed comes to; an unexpected exception is a failure, too."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(PATIENCE)
    try:
        return run_seed(seed, seconds)
    except BaseException as error:
        lines = [line for line in traceback.format_exception(error) if line.strip()]
        return Result(seed, "", 0.0, (), f"{type(error).__name__}: {error}\n{''.join(lines[-6:])}", seconds)
    finally:
        signal.alarm(0)


def _too_long(*_: Any) -> None:
    raise TooLong(f"more than {PATIENCE} s")


def again(seed: int, seconds: float) -> str:
    """The command that tells a seed's story again."""
    told = "" if seconds == TROUBLE else f" --seconds {seconds:g}"
    return f"python -m tests.sim {seed} --story{told}"


def soak(first: int, seeds: int, jobs: int, seconds: float, tell: Callable[[Result], None]) -> Tally:
    """Tell `seeds` stories from `first` on (0: until stopped) in so many processes; `tell`: of those that fail.

    SIGINT and SIGTERM end it after the stories under way.
    """
    tally, commit, noted = Tally(), totals.commit_here(), (0, 0)
    numbers = count(first) if not seeds else iter(range(first, first + seeds))
    stopped: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda told, _frame: stopped.append(told)) for number in signals]
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_ignore_signals) as pool:
            for result in _results(pool, numbers, jobs, seconds, stopped):
                tally.add(result)
                if result.failure:
                    tell(result)
                if tally.clean + len(tally.failed) - sum(noted) >= NOTE_EVERY:
                    totals.note(commit, tally.clean - noted[0], len(tally.failed) - noted[1])
                    noted = (tally.clean, len(tally.failed))
                    print(tally, flush=True)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
        totals.note(commit, tally.clean - noted[0], len(tally.failed) - noted[1])
    return tally


def _results(
    pool: ProcessPoolExecutor, numbers: Iterator[int], jobs: int, seconds: float, stopped: list[int]
) -> Iterator[Result]:
    under_way: set[Future[Result]] = {pool.submit(outcome_of, seed, seconds) for seed in islice(numbers, jobs)}
    while under_way:
        done, under_way = wait(under_way, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()
        if not stopped:
            under_way |= {pool.submit(outcome_of, seed, seconds) for seed in islice(numbers, jobs - len(under_way))}


def _ignore_signals() -> None:
    """Who stops a soak stops its parent: a story is told to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def cores() -> int:
    """How many processes this one may keep busy."""
    return len(os.sched_getaffinity(0))
