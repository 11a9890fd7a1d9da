"""The numbered past of a stack: what stands under `stackrev.<stack>.<n>` and `stackgood.<stack>`."""

from __future__ import annotations

from schemas.wire import Count, Seconds, Token, Wire

STACK_REVISIONS_KEPT = 10
"""Revisions of a stack that are kept; the revisions of services that they name are kept with them."""


class StackMember(Wire, frozen=True, kw_only=True):
    """A service as a stack's revision has it."""

    revision: Count
    replicas: Count = 1
    """As it was deployed; a later scale is not written here."""


class StackRevisionRecord(Wire, frozen=True, kw_only=True):
    """`stackrev.<stack>.<n>`, by the api: which services made the stack up, immutable."""

    number: Count
    services: dict[str, StackMember] = {}
    created_at: Seconds = 0.0
    cause: str = ""


class StackGoodRecord(Wire, frozen=True, kw_only=True):
    """`stackgood.<stack>`, by the leader: revisions all of whose services came up."""

    stack: Token
    good: tuple[Count, ...] = ()
    """The one that came up last stands last."""
