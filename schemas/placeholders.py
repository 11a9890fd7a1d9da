"""Docker's placeholders in hostname, environment and mounts: {{.Service.Name}}, {{.Node.Hostname}}, {{.Task.Slot}} ...

The list is closed: an unknown one is refused when the manifest is read. Values are put in by the agent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

KNOWN = frozenset(
    {
        "Service.ID",
        "Service.Name",
        "Node.ID",
        "Node.Hostname",
        "Node.Platform.OS",
        "Node.Platform.Architecture",
        "Task.ID",
        "Task.Name",
        "Task.Slot",
    }
)
"""What docker service create documents, but for Service.Labels.<key>, which is allowed, too."""

LABELS = "Service.Labels."

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


def unknown_placeholders(text: str) -> tuple[str, ...]:
    """The placeholders in `text` that nobody will fill, as written between the braces."""
    found = (match.group(1) for match in _PLACEHOLDER.finditer(text))
    return tuple(name for name in found if not _is_known(name))


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with its known placeholders replaced; a known one without a value becomes empty, others stay."""

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        return values.get(name[1:], "") if _is_known(name) else match.group(0)

    return _PLACEHOLDER.sub(fill, text)


def _is_known(name: str) -> bool:
    return name.startswith(".") and (name[1:] in KNOWN or name[1:].startswith(LABELS))
