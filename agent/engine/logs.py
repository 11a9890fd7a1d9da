"""Pages of a container's log: pure, shared by both adapters.

A cursor is a time and a count: "of the lines not before that time, so many were told". The engine keeps the order of
its lines, but stdout and stderr are stamped apart, so stamps may stand out of order by a little: the cursor's time
stays `WINDOW` behind the newest line told. Lines that the log driver has thrown away meanwhile can shift the count.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.engine.plans import LogQuery
from schemas.errors import UsageError
from schemas.nodeapi import LogLine, LogPage

WINDOW = 5_000_000
"""Nanoseconds by which stamps may be out of order."""

PAGE_BYTES = 512 * 1024
"""A page ends after the line with which its text reaches that."""

LINE_LIMIT = 64 * 1024
"""Characters of one line; the rest of it is cut off."""

_CURSOR = re.compile(r"(\d{1,12})\.(\d{9})/(\d{1,12})")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_SECOND = 1_000_000_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Cursor:
    """Of the lines stamped at or after `since` (nanoseconds since 1970), `told` were told."""

    since: int = 0
    told: int = 0

    def __str__(self) -> str:
        return f"{self.since // _SECOND}.{self.since % _SECOND:09d}/{self.told}"


def read_cursor(text: str) -> Cursor:
    """The cursor that `str` wrote. Raises UsageError for anything else."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise UsageError(f"not a log cursor: {text[:80]!r}")
    seconds, nanoseconds, told = (int(group) for group in match.groups())
    return Cursor(seconds * _SECOND + nanoseconds, told)


@dataclass(frozen=True)
class Fetch:
    """What to ask of the engine for a page: lines not before `since` (ns), only the last `tail` (-1: all)."""

    since: int
    tail: int
    cursor: Cursor
    from_tail: bool


def plan_fetch(query: LogQuery) -> Fetch:
    """What a query needs from the engine. Raises UsageError for a cursor that is none."""
    if query.cursor:
        cursor = read_cursor(query.cursor)
        return Fetch(cursor.since, -1, cursor, from_tail=False)
    since = round(query.since * _SECOND)
    # Of a tail of 0 lines the newest one is looked at, to know where to go on.
    tail = max(query.tail, 1) if query.tail >= 0 else -1
    return Fetch(since, tail, Cursor(since), from_tail=query.tail >= 0)


def take_page(lines: Sequence[LogLine], query: LogQuery, *, alive: bool) -> LogPage:
    """The page out of what `plan_fetch` asked for (`lines`: at least the first `told + limit + 1` of that).

    `alive`: the container ran when the engine was asked; if not, the page with the last line is the last.
    """
    fetch = plan_fetch(query)
    limit = 0 if fetch.from_tail and query.tail == 0 else query.limit
    before = fetch.cursor.told
    consumed = lines[: before + _fitting(lines[before : before + limit])] if limit else lines[:1]
    told = consumed[before:] if limit else ()
    full = len(lines) > len(consumed)
    return LogPage(
        lines=tuple(told),
        cursor=str(_advance(fetch, [stamp(line) for line in consumed])),
        ended=not alive and not full,
    )


def _fitting(lines: Sequence[LogLine]) -> int:
    """How many of the lines make one page."""
    size = 0
    for count, line in enumerate(lines, start=1):
        size += len(line.text)
        if size >= PAGE_BYTES:
            return count
    return len(lines)


def _advance(fetch: Fetch, stamps: Sequence[int]) -> Cursor:
    if not stamps:
        return fetch.cursor
    # What stands before a tail was never counted: stay behind its first line.
    lowest = min(stamps) + 1 if fetch.from_tail else fetch.cursor.since
    since = max(lowest, max(stamps) - WINDOW)
    return Cursor(since, sum(at >= since for at in stamps))


def stamp(line: LogLine) -> int:
    """Nanoseconds since 1970 of a line; 0 if its stamp can't be read."""
    return nanoseconds_of(line.at)


def nanoseconds_of(text: str) -> int:
    """An engine's time (RFC 3339 with up to 9 digits after the point) as nanoseconds since 1970; 0 if it is none."""
    match = _STAMP.fullmatch(text)
    if match is None:
        return 0
    whole, fraction, zone = match.groups()
    try:
        moment = datetime.datetime.fromisoformat(whole + zone.replace("Z", "+00:00"))
    except ValueError:
        return 0
    return round((moment - _EPOCH).total_seconds()) * _SECOND + int(((fraction or "") + "0" * 9)[:9])


def stamp_text(at: float) -> str:
    """Seconds since 1970 as an engine stamps its lines."""
    nanoseconds = round(at * 1_000_000) * 1000
    moment = _EPOCH + datetime.timedelta(seconds=nanoseconds // _SECOND)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % _SECOND:09d}Z"


def lines_of_frames(frames: Iterable[tuple[int, bytes]]) -> Iterable[LogLine]:
    """Lines of a multiplexed log with stamps: (stream 1 or 2, payload); parts of a long line are joined."""
    open_lines: dict[int, LogLine] = {}
    for stream, payload in frames:
        line = _line(payload, "stderr" if stream == 2 else "stdout")
        before = open_lines.pop(stream, None)
        if before is not None:
            line = LogLine(at=before.at, text=(before.text + line.text)[:LINE_LIMIT], stream=before.stream)
        if payload.endswith(b"\n"):
            yield line
        else:
            open_lines[stream] = line
    yield from open_lines.values()


def lines_of_text(chunks: Iterable[bytes]) -> Iterable[LogLine]:
    """Lines of a terminal's log with stamps: all of it is stdout."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for raw in whole:
            yield _line(raw, "stdout")
    if rest:
        yield _line(rest, "stdout")


def _line(raw: bytes, stream: str) -> LogLine:
    at, _, text = raw.rstrip(b"\r\n").partition(b" ")
    return LogLine(at=at.decode(errors="replace"), text=text.decode(errors="replace")[:LINE_LIMIT], stream=stream)


FRAME_HEADER = 8


def frames_of(chunks: Iterable[bytes]) -> Iterable[tuple[int, bytes]]:
    """The frames of Docker's multiplexed stream: 1 byte stream, 3 zero, 4 big-endian length, payload."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= FRAME_HEADER:
            end = FRAME_HEADER + int.from_bytes(buffer[4:FRAME_HEADER], "big")
            if len(buffer) < end:
                break
            yield buffer[0], bytes(buffer[FRAME_HEADER:end])
            del buffer[:end]
