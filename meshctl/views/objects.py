"""Records as plain values, for JSON, YAML and templates."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs


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
