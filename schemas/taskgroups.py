"""`asyncio.TaskGroup` as Python 3.13 and later have it, also on 3.11 and 3.12. Imported for its effect.

Before, a group forgot a cancellation from outside that came while its children ended of a failure of one of them:
`except*` caught the failure, and the task that was to end ran on for ever (a controller that neither led nor followed).
Now the cancellation comes at the next `await`. And a group that fails leaves `Task.cancelling()` as it found it.
"""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType

_exit = asyncio.TaskGroup.__aexit__


async def _left(
    self: asyncio.TaskGroup, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    asked = _cancelled_its_task(self)
    try:
        await _exit(self, kind, error, trace)
    except BaseExceptionGroup:
        task = asyncio.current_task()
        assert task is not None, "a group is left in the task that entered it"
        if _cancelled_its_task(self) and not asked:  # by the group itself, while it waited: nobody takes that back
            task.uncancel()
        if task.cancelling():
            task.uncancel()
            task.cancel()
        raise


def _cancelled_its_task(group: asyncio.TaskGroup) -> bool:
    return bool(group._parent_cancel_requested)  # type: ignore[attr-defined]


if sys.version_info < (3, 13):
    asyncio.TaskGroup.__aexit__ = _left  # type: ignore[method-assign, assignment]
