"""Records as plain values, for JSON, YAML and templates."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs

from schemas.clock import iso


def plain(value: Any) -> Any:
    """`value` with structs as mappings, all fields included (those at their default, too)."""
    if isinstance(value, msgspec.Struct):
        return {field.name: plain(getattr(value, field.name)) for field in structs.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        return [plain(item) for item in value]
    if isinstance(value, bytes | msgspec.Raw):
        return bytes(value).decode(errors="replace")
    return value


MOMENTS = frozenset({"since", "at", "started_at", "finished_at"})
"""Fields that hold seconds since 1970."""


def dated(value: Any) -> Any:
    """`value` with moments as RFC 3339, "" for those that never were."""
    if isinstance(value, dict):
        return {key: _moment(item) if key in MOMENTS else dated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [dated(item) for item in value]
    return value


def _moment(value: Any) -> Any:
    if not isinstance(value, int | float):
        return dated(value)
    return iso(value) if value > 0 else ""
