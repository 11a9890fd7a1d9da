"""What an agent does not use any more goes back to the machine."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Iterator

import pytest

from agent import allocator


class Held:
    """Holds itself, so that nobody but the collector lets go of it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _no_collection_by_itself() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


async def test_what_holds_itself_is_let_go_of_without_waiting_for_pythons_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allocator, "EVERY", 0.01)
    giving_back = asyncio.create_task(allocator.keep_giving_back())
    await asyncio.sleep(0)  # what is there at the start stays for good
    held = weakref.ref(Held())
    assert held() is not None

    async with asyncio.timeout(10):
        while held() is not None:
            await asyncio.sleep(0.01)

    giving_back.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await giving_back
