"""Durations and points in time as people write and read them: 1m30s, 10m ago, "3 minutes ago"."""

from __future__ import annotations

import datetime
import re

from schemas.errors import UsageError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str, what: str) -> float:
    """Seconds of "1m30s", "500ms", "2d". Raises UsageError naming `what`."""
    text = text.strip()
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        example = f"{text}s" if re.fullmatch(r"\d+(\.\d+)?", text) else "10s or 1m30s"
        raise UsageError(f"{what}: '{text}' is no duration", hint=f"a duration has a unit: {example}")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def parse_moment(text: str, what: str, now: float) -> float:
    """Seconds since 1970 of "10m" (ago), "2026-11-23T06:30:00Z", "2026-11-23" or "1763879400". Raises UsageError."""
    text = text.strip()
    if re.fullmatch(r"\d{9,}(\.\d+)?", text):
        return float(text)
    if text == "now":
        return now
    if _DURATION.fullmatch(text):
        return now - parse_duration(text, what)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        hint = "write how long ago (10m, 2h) or when (2026-11-23T06:30:00Z)"
        raise UsageError(f"{what}: '{text}' is no time", hint=hint) from None
    return moment.timestamp()


def duration(seconds: float) -> str:
    """90 -> "1m30s", 0.25 -> "250ms", 5.25 -> "5.2s", 10 -> "10s": short and exact enough."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms" if seconds > 0 else "0s"
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{rest}s" if rest else ""]
    return "".join(parts)


def about(seconds: float) -> str:
    """Docker's rough words: "Less than a second", "5 seconds", "About a minute", "3 hours", "2 weeks"."""
    minutes, hours = int(seconds // 60), int(seconds // 3600 + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, span, word in ((24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"), (24 * 730, 24 * 30, "months")):
        if hours < limit:
            return f"{hours // span} {word}"
    return f"{hours // (24 * 365)} years"


def ago(at: float, now: float) -> str:
    """How long before `now` the moment `at` was: "3 minutes ago"; "" if not known. Clocks differ: never negative."""
    return f"{about(max(0.0, now - at))} ago" if at > 0 else ""
