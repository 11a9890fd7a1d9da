"""Trees for Compose files in which what is empty is left out, but for what says that it counts."""

from __future__ import annotations

from typing import Any


def seconds(value: float, default: float | None = None) -> str:
    """A duration as Compose writes it; empty where it is the default."""
    return "" if value == default else f"{value:.9f}".rstrip("0").rstrip(".") + "s"


class Always:
    """A value that is kept although it is empty or zero; None is left out."""

    def __init__(self, value: object) -> None:
        self.value = list(value) if isinstance(value, tuple) else value


def texts(values: dict[str, str]) -> dict[str, Always]:
    """A mapping of texts, empty ones kept."""
    return {name: Always(value) for name, value in values.items()}


def kept(node: Any) -> Any:
    """The tree without empty values: empty texts, zeros, false, empty mappings and lists. Texts of lists stay."""
    if isinstance(node, dict):
        found = {key: kept(value) for key, value in node.items()}
        return {key: value for key, value in found.items() if not _is_empty(value, node[key])}
    if isinstance(node, list):
        return [kept(item) for item in node]
    return node.value if isinstance(node, Always) else node


def _is_empty(value: Any, raw: Any) -> bool:
    if isinstance(raw, Always):
        return raw.value is None
    return value is None or value == "" or value == [] or value == {} or value is False or value == 0
