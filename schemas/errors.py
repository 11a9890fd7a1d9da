"""The one tree of errors. Adapters translate library errors into these in one place.

Each class has a `code` (stable, for programs), `retryable` (may the same call succeed later by itself) and an
`exit_code` (of meshctl). The text says what, where and what to do; `hint` is the remedy on a line of its own.
"""

from __future__ import annotations

from typing import ClassVar


class MeshError(Exception):
    """The root: everything that Dockmesh raises on purpose."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MeshError):
    """A command line, manifest or request that can't be meant."""

    code = "usage"
    exit_code = 2


class ManifestError(UsageError):
    """A Compose file (or other file a person typed) that is refused: file, line, key, remedy."""

    code = "manifest"


class BadMessage(UsageError):
    """Bytes on a subject that are not the message that belongs there."""

    code = "bad_message"


class Unreachable(MeshError):
    """Nobody answers: no server, no responder, or no answer in time."""

    code = "unreachable"
    retryable = True
    exit_code = 3


class StoreSilent(Unreachable):
    """A controller answers, and its store does not answer it."""

    code = "store.silent"


class NotFound(MeshError):
    """The named thing does not exist."""

    code = "not_found"
    exit_code = 4


class Conflict(MeshError):
    """Somebody else changed it meanwhile, or the name is taken."""

    code = "conflict"
    retryable = True
    exit_code = 5


class Refused(MeshError):
    """Understood, and not allowed."""

    code = "refused"
    exit_code = 6


class StoreMissing(Refused):
    """The state stream or the `mesh` record does not exist; nothing is created in its place."""

    code = "store.missing"


class TimedOut(MeshError):
    """What was waited for did not come about in time."""

    code = "timed_out"
    retryable = True
    exit_code = 7


class RolloutFailed(MeshError):
    """A deploy that did not reach its goal."""

    code = "rollout.failed"
    exit_code = 8


class EngineError(MeshError):
    """The container engine refused or failed a call."""

    code = "engine"


class EngineUnavailable(EngineError):
    """The container engine does not answer (down, or hanging past the time limit)."""

    code = "engine.unavailable"
    retryable = True


class ImageUnavailable(EngineError):
    """An image that this node does not have and can't get."""

    code = "image.unavailable"


class Internal(MeshError):
    """A peer reported an unexpected failure."""


def _walk(kind: type[MeshError]) -> list[type[MeshError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _walk(child))]


def error_of(code: str, message: str, hint: str = "") -> MeshError:
    """The error with that `code`, as it came over the wire; an unknown code gives `Internal`."""
    by_code = {kind.code: kind for kind in _walk(MeshError) if kind is not MeshError and kind is not Internal}
    return by_code.get(code, Internal)(message, hint=hint)
