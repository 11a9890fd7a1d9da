"""--filter key=value: parsed strictly, matched as docker does (one key twice: any of them; labels: all of them)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from meshctl.format.near import did_you_mean
from schemas.errors import UsageError

Filters = Mapping[str, Sequence[str]]


def parse_filters(texts: Sequence[str], keys: Collection[str]) -> Filters:
    """The values by key. Raises UsageError: no `=`, or a key that this command does not know."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        if not equals:
            raise UsageError(f"--filter: '{text}' is not KEY=VALUE", hint=f"keys here: {', '.join(keys)}")
        if key not in keys:
            raise UsageError(
                f"--filter: '{key}' can't be filtered by here",
                hint=did_you_mean(key, keys, f"keys here: {', '.join(keys)}"),
            )
        found.setdefault(key, []).append(value.strip())
    return found


def is_one_of(filters: Filters, key: str, *values: str) -> bool:
    """No filter by `key`, or one of its values is one of `values`."""
    return key not in filters or any(value in values for value in filters[key])


def starts_with(filters: Filters, key: str, *values: str) -> bool:
    """No filter by `key`, or one of its values begins one of `values` (names and ids, as docker has it)."""
    return key not in filters or any(value.startswith(wanted) for wanted in filters[key] for value in values)


def has_labels(filters: Filters, key: str, labels: Mapping[str, str]) -> bool:
    """All the wanted `name` or `name=value` are among `labels`."""
    for wanted in filters.get(key, ()):
        name, equals, value = wanted.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True
