"""Named places in the event log: `cursor.<name>` in the state stream, written by whoever reads by that name."""

from __future__ import annotations

from bus.commits import Committed, Put
from bus.port import Store
from schemas.errors import BadMessage, Unreachable
from schemas.records import CursorRecord
from schemas.subjects import cursor_key
from schemas.wire import decode, encode


async def load_cursor(store: Store, name: str) -> int | None:
    """Up to which sequence all is dealt with; None: a new cursor. Raises Unreachable, StoreMissing."""
    entry = await store.read(cursor_key(name))
    if entry is None or entry.value is None:
        return None
    try:
        return decode(entry.value, CursorRecord).sequence
    except BadMessage:
        return None


async def save_cursor(store: Store, name: str, sequence: int) -> None:
    """All up to `sequence` is dealt with. Raises Unreachable if that was not stored."""
    outcome = await store.commit((Put(cursor_key(name), encode(CursorRecord(sequence=sequence))),))
    if not isinstance(outcome, Committed):
        raise Unreachable(f"the cursor {name} was not stored: {outcome}")
