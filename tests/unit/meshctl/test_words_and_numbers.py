"""Durations, moments, sizes: read and written as docker does."""

from __future__ import annotations

import pytest

from meshctl.format.sizes import binary_size, decimal_size, parse_cpus, parse_size
from meshctl.format.times import about, ago, duration, parse_duration, parse_moment
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("1.5h", 5400), ("0", 0), ("1d", 86400)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text, "--timeout") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "abc", "", "-1s", "1m 30s", "10 s", "1w"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"--timeout: .* is no duration"):
        parse_duration(text, "--timeout")


def test_a_number_without_unit_gets_the_likely_unit_in_the_hint() -> None:
    with pytest.raises(UsageError) as refused:
        parse_duration("5", "--timeout")
    assert refused.value.hint == "a duration has a unit: 5s"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("10m", 999_999_400.0),
        ("now", 1_000_000_000.0),
        ("1790000000", 1_790_000_000.0),
        ("2026-11-23T06:30:00Z", 1_795_415_400.0),
        ("2026-11-23T06:30:00+01:00", 1_795_411_800.0),
    ],
)
def test_moments_are_read(text: str, at: float) -> None:
    assert parse_moment(text, "--since", 1_000_000_000.0) == at


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(UsageError, match="--since: 'yesterday' is no time"):
        parse_moment("yesterday", "--since", 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "Less than a second"),
        (1.2, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (180, "3 minutes"),
        (3700, "About an hour"),
        (7300, "2 hours"),
        (86400 * 3, "3 days"),
        (86400 * 20, "2 weeks"),
        (86400 * 90, "3 months"),
        (86400 * 800, "2 years"),
    ],
)
def test_spans_are_told_in_dockers_words(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_a_moment_in_the_future_of_another_clock_is_just_now() -> None:
    assert ago(1010.0, 1000.0) == "Less than a second ago"
    assert ago(0.0, 1000.0) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "250ms"), (5.25, "5.2s"), (10, "10s"), (90, "1m30s"), (3600, "1h")]
)
def test_durations_are_written(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"), [("64m", 64 << 20), ("1.5GiB", 3 << 29), ("1024", 1024), ("2k", 2048), ("1gb", 1 << 30)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text, "--limit-memory") == size


@pytest.mark.parametrize("text", ["", "m", "64x", "-1m", "1,5g"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--limit-memory"):
        parse_size(text, "--limit-memory")


def test_cpus_are_read_and_refused() -> None:
    assert parse_cpus("0.5", "--limit-cpu") == 0.5
    for text in ("many", "-1", "nan", "1e9"):
        with pytest.raises(UsageError, match="--limit-cpu"):
            parse_cpus(text, "--limit-cpu")


def test_sizes_are_written() -> None:
    assert binary_size(4 << 30) == "4 GiB"
    assert decimal_size(1536) == "1.54kB"
    assert decimal_size(242) == "242B"
