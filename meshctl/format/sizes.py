"""Sizes and CPUs as people write and read them: 64m, 1.5GiB, 0.25."""

from __future__ import annotations

import re

from schemas.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?b?)", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_size(text: str, what: str) -> int:
    """Bytes of "64m", "1.5GiB", "1024" (powers of 1024, as Docker has it). Raises UsageError naming `what`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{what}: '{text}' is no size", hint="write a number with b, k, m or g: 64m, 1.5g")
    return int(float(match.group(1)) * 1024 ** _POWER[match.group(2).lower()])


def parse_cpus(text: str, what: str) -> float:
    """Cores of "0.5". Raises UsageError naming `what`."""
    try:
        cpus = float(text)
    except ValueError:
        cpus = -1.0
    if not 0 <= cpus < 100_000:
        raise UsageError(f"{what}: '{text}' is no number of CPUs", hint="write cores, e.g. 0.5 or 2")
    return cpus


def binary_size(size: float) -> str:
    """1536 -> "1.5 KiB": for memory."""
    return _scaled(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), " ")


def decimal_size(size: float) -> str:
    """1536 -> "1.54kB": for images, as docker prints them."""
    return _scaled(size, 1000, ("B", "kB", "MB", "GB", "TB", "PB"), "")


def _scaled(size: float, base: int, units: tuple[str, ...], gap: str) -> str:
    for unit in units[:-1]:
        if size < base:
            return f"{size:.3g}{gap}{unit}"
        size /= base
    return f"{size:.3g}{gap}{units[-1]}"
