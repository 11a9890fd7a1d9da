"""What labels a node may have: of one that is told at `mesh-agent --label`, in a join or in a `node.update` alike."""

from __future__ import annotations

import re
from collections.abc import Mapping

LABELS_AT_MOST = 100
LABEL_VALUE_LENGTH = 1024
NAME_LENGTH = 128

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?")
_SHOWN = 60
"""Characters of a bad name that are told."""


def label_trouble(labels: Mapping[str, str]) -> str:
    """Why a node can't have these labels; "" if it can."""
    if len(labels) > LABELS_AT_MOST:
        return f"{len(labels)} labels on one node, at most {LABELS_AT_MOST}"
    for name, value in labels.items():
        if len(name) > NAME_LENGTH:
            return f"label name {name[:_SHOWN]!r}... is longer than {NAME_LENGTH} characters"
        if not _NAME.fullmatch(name):
            return f"{name[:_SHOWN]!r} is no label's name: letters, digits, and . _ / - between them"
        if len(value) > LABEL_VALUE_LENGTH:
            return f"the value of label {name} is longer than {LABEL_VALUE_LENGTH} characters"
    return ""
