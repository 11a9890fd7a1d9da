"""Log pages: nothing is lost, nothing comes twice, whatever the page size and the order of stamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.logs import (
    LINE_LIMIT,
    PAGE_BYTES,
    Cursor,
    frames_of,
    lines_of_frames,
    lines_of_text,
    nanoseconds_of,
    plan_fetch,
    read_cursor,
    stamp,
    stamp_text,
    take_page,
)
from agent.engine.plans import LogQuery
from schemas.errors import UsageError
from schemas.nodeapi import LogLine, LogPage

START = 1_790_000_000.0


def engine(lines: list[LogLine], query: LogQuery, *, alive: bool = True) -> LogPage:
    """What an engine with these lines gives for a query."""
    fetch = plan_fetch(query)
    found = [line for line in lines if stamp(line) >= fetch.since]
    found = found if fetch.tail < 0 else found[len(found) - min(fetch.tail, len(found)) :]
    return take_page(found, query, alive=alive)


@given(
    gaps=st.lists(st.integers(0, 20), max_size=40),
    disorder=st.lists(st.integers(0, 4), min_size=40, max_size=40),
    limits=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    batches=st.lists(st.integers(0, 10), max_size=10),
)
def test_paging_gives_every_line_once_in_order(
    gaps: list[int], disorder: list[int], limits: list[int], batches: list[int]
) -> None:
    at, lines = START, []
    for number, gap in enumerate(gaps):
        at += gap / 1000
        lines.append(LogLine(at=stamp_text(at - disorder[number] / 1000), text=str(number)))
    seen: list[str] = []
    cursor, there, turn = "", 0, 0
    ends = [*batches, len(lines), *[0] * (len(lines) + 2)]
    for more in ends:
        there = min(len(lines), there + more)
        page = engine(lines[:there], LogQuery(cursor=cursor, limit=limits[turn % len(limits)]))
        seen += [line.text for line in page.lines]
        cursor, turn = page.cursor, turn + 1
    assert seen == [line.text for line in lines]


def test_a_tail_is_followed_without_repetition() -> None:
    lines = [LogLine(at=stamp_text(START + number), text=str(number)) for number in range(10)]
    first = engine(lines[:8], LogQuery(tail=3, limit=2))
    assert [line.text for line in first.lines] == ["5", "6"]
    rest = engine(lines, LogQuery(cursor=first.cursor))
    assert [line.text for line in rest.lines] == ["7", "8", "9"]


def test_a_tail_of_nothing_gives_what_comes_after() -> None:
    lines = [LogLine(at=stamp_text(START + number), text=str(number)) for number in range(5)]
    nothing = engine(lines[:3], LogQuery(tail=0))
    assert nothing.lines == ()
    assert [line.text for line in engine(lines, LogQuery(cursor=nothing.cursor)).lines] == ["3", "4"]
    empty = engine([], LogQuery(tail=0))
    assert len(engine(lines, LogQuery(cursor=empty.cursor)).lines) == 5


def test_since_leaves_out_what_was_before() -> None:
    lines = [LogLine(at=stamp_text(START + number), text=str(number)) for number in range(5)]
    assert [line.text for line in engine(lines, LogQuery(since=START + 3)).lines] == ["3", "4"]


def test_only_the_last_page_of_an_ended_container_is_the_end() -> None:
    lines = [LogLine(at=stamp_text(START + number), text=str(number)) for number in range(3)]
    assert not engine(lines, LogQuery(limit=2), alive=False).ended
    assert engine(lines, LogQuery(limit=3), alive=False).ended
    assert engine(lines, LogQuery(tail=2), alive=False).ended
    assert engine([], LogQuery(), alive=False).ended
    assert not engine(lines, LogQuery(limit=3), alive=True).ended


def test_a_page_is_bounded_in_bytes() -> None:
    lines = [LogLine(at=stamp_text(START + number), text="x" * LINE_LIMIT) for number in range(20)]
    page = engine(lines, LogQuery(limit=1000), alive=False)
    assert len(page.lines) == PAGE_BYTES // LINE_LIMIT
    assert not page.ended


@pytest.mark.parametrize("text", ["x", "1.2/3", "-1.000000000/0", "1.000000000/x", ""])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a log cursor"):
        read_cursor(text)


def test_a_cursor_can_be_read_back() -> None:
    cursor = Cursor(1_790_000_000_123_456_789, 42)
    assert read_cursor(str(cursor)) == cursor


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2026-11-23T06:30:00.123456789Z", 1_795_415_400_123_456_789),
        ("2026-11-23T06:30:00Z", 1_795_415_400_000_000_000),
        ("2026-11-23T07:30:00.5+01:00", 1_795_415_400_500_000_000),
        ("2026-13-40T06:30:00Z", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_engine_times_are_read_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert nanoseconds_of(text) == nanoseconds


def test_a_stamp_can_be_read_back() -> None:
    assert nanoseconds_of(stamp_text(START + 0.25)) == 1_790_000_000_250_000_000


def frame(stream: int, text: str) -> bytes:
    data = text.encode()
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_multiplexed_log_is_cut_into_lines_of_its_streams(size: int) -> None:
    data = (
        frame(1, "T1 hello\n")
        + frame(2, "T2 long ")
        + frame(1, "T3 between\n")
        + frame(2, "T4 line\n")
        + frame(1, "T5 open end")
    )
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert list(lines_of_frames(frames_of(chunks))) == [
        LogLine(at="T1", text="hello"),
        LogLine(at="T3", text="between"),
        LogLine(at="T2", text="long line", stream="stderr"),
        LogLine(at="T5", text="open end"),
    ]


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_a_terminals_log_is_cut_into_lines(size: int) -> None:
    data = b"T1 a b\r\nT2 \r\nT3 \xff"
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert list(lines_of_text(chunks)) == [
        LogLine(at="T1", text="a b"),
        LogLine(at="T2", text=""),
        LogLine(at="T3", text="\ufffd"),
    ]
