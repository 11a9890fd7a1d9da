"""Tasks that must never run twice: the times by which a node that is cut off and the leader keep apart.

The agent counts from the moment at which it sent the last heartbeat that was answered with a lease, and begins to
stop the task after `stop_after`. The leader counts from when it last received a heartbeat (or took over), which is
later, and replaces after `stop_after`, the task's stop grace and `SLACK`. An answer carries a lease only within
`CONFIRMED_FOR` of a write that the store accepted as this leader's: one that was deposed unknowingly can't keep a lease
alive for longer, and who took over after that write waits from its own takeover on. So `SLACK - CONFIRMED_FOR` seconds
are left for clocks that run unevenly, and for an engine that takes its time.
"""

from __future__ import annotations

from schemas.wire import Seconds, Wire

STOP_AFTER_LEAST = 10.0
"""Seconds: a nats-server's death can keep the store from confirming anything for 4 to 9 s (measured)."""

SLACK = 10.0
CONFIRM_EVERY = 3.0
CONFIRMED_FOR = 6.0


def replaceable_after(stop_after: float, stop_grace: float) -> float:
    """Seconds after the node was last heard from which on its task may be replaced."""
    return stop_after + stop_grace + SLACK


class LeaseRecord(Wire, frozen=True, kw_only=True):
    """On the agent's disk: up to when (in monotonic seconds of that boot) the leader was heard, at least."""

    boot: str
    at: Seconds = 0.0
