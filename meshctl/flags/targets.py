"""Where a readiness check asks, as people write it: `:8080/health` over http, `8080` over tcp. Pure."""

from __future__ import annotations

import re

_HTTP = re.compile(r":?([0-9]{1,5})(/[\x21-\x7e]*)?")
_TCP = re.compile(r":?([0-9]{1,5})")
PORTS = range(1, 65_536)


def http_target(text: str) -> tuple[int, str] | None:
    """The port and the path; None: it is none."""
    match = _HTTP.fullmatch(text)
    return (int(match[1]), match[2] or "/") if match and int(match[1]) in PORTS else None


def tcp_target(text: str) -> int | None:
    """The port; None: it is none."""
    match = _TCP.fullmatch(text)
    return int(match[1]) if match and int(match[1]) in PORTS else None
