"""What differs between two specs, a line for each place. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.spec import ServiceSpec

_NONE = object()


def differences(old: ServiceSpec, new: ServiceSpec) -> list[str]:
    """`path: before -> after`, `+ path: after` or `- path: before`, in the order of the fields."""
    return list(_walk("", msgspec.to_builtins(old), msgspec.to_builtins(new)))


def _walk(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            yield from _walk(f"{path}.{name}" if path else name, old.get(name, _NONE), new.get(name, _NONE))
    elif old is _NONE:
        yield f"+ {path}: {_text(new)}"
    elif new is _NONE:
        yield f"- {path}: {_text(old)}"
    else:
        yield f"~ {path}: {_text(old)} -> {_text(new)}"


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
