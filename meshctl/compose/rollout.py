"""`x-mesh.rollout`: how a deploy goes on besides Compose's own update_config."""

from __future__ import annotations

import re

from msgspec.structs import replace

from meshctl.compose.cursor import At
from meshctl.compose.problems import quote
from meshctl.compose.scalars import duration, text, whole
from schemas.spec import UpdatePolicy

PROGRESS_DEADLINE = 600.0
"""Seconds, where the file does not say."""


def read_progress_deadline(service: At) -> float:
    """x-mesh.rollout.progress_deadline, in seconds; 0: never."""
    rollout = service.dig("x-mesh", "rollout")
    return duration(rollout.get("progress_deadline") if rollout else None, PROGRESS_DEADLINE)


def read_canary(service: At) -> int:
    """x-mesh.rollout.canary; 0: none."""
    return whole(service.dig("x-mesh", "rollout", "canary"), most=100_000)


def with_max_unavailable(service: At, policy: UpdatePolicy) -> UpdatePolicy:
    """The policy with x-mesh.rollout.max_unavailable: a number of slots, or a share as 25%."""
    at = service.dig("x-mesh", "rollout", "max_unavailable")
    if at is None:
        return policy
    said = text(at)
    if not re.fullmatch(r"[0-9]{1,6}|[0-9]{1,2}%|100%", said):
        at.refuse(f"{quote(said)} is no number and no share", "write 2, or 25%")
        return policy
    if said in ("0", "0%") and policy.order == "stop-first":
        at.refuse("a task can't be replaced stop-first with none unavailable", "set `order: start-first`, or write 1")
        return policy
    return replace(policy, max_unavailable=said)
