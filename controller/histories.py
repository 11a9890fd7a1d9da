"""Keeping a service's history within the size of one record.

Log lines go first, oldest first, then ended tasks, oldest first. What decisions need (pauses, budgets) always stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.observation import EndedTask
from schemas.records import SlotHistory
from schemas.wire import encode

HISTORY_LIMIT = 256 * 1024
"""Bytes of all ended tasks kept for one service."""


def bounded(slots: Mapping[str, SlotHistory]) -> dict[str, SlotHistory]:
    """The histories, cut to the limit."""
    total = sum(_size(entry) for history in slots.values() for entry in history.ended)
    if total <= HISTORY_LIMIT:
        return dict(slots)
    entries = sorted((entry.at, slot, entry.id, entry) for slot, history in slots.items() for entry in history.ended)
    silenced: set[str] = set()
    dropped: set[str] = set()
    for _, _, id_, entry in entries:
        if total > HISTORY_LIMIT and entry.log_tail:
            silenced.add(id_)
            total -= _logs(entry)
    for _, _, id_, entry in entries:
        if total > HISTORY_LIMIT:
            dropped.add(id_)
            total -= _size(msgspec.structs.replace(entry, log_tail=()))
    return {slot: _cut(history, silenced, dropped) for slot, history in slots.items()}


def _cut(history: SlotHistory, silenced: set[str], dropped: set[str]) -> SlotHistory:
    ended = tuple(
        msgspec.structs.replace(entry, log_tail=()) if entry.id in silenced else entry
        for entry in history.ended
        if entry.id not in dropped
    )
    return history if ended == history.ended else msgspec.structs.replace(history, ended=ended)


def _size(entry: EndedTask) -> int:
    """Bytes as they are stored: a character may take six (a control character in JSON)."""
    return len(encode(entry)) + 1


def _logs(entry: EndedTask) -> int:
    return _size(entry) - _size(msgspec.structs.replace(entry, log_tail=()))
