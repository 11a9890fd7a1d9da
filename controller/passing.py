"""Which nodes still pass connections on: by what their kernels were told last, whether or not an agent runs there."""

from __future__ import annotations

from schemas.records import LivenessRecord

AGENT_BACK_WITHIN = 10.0
"""Seconds that a node's rules are counted after its agent has ended: it is started again, and brings them up to date.

Stops wait for it no longer than `agent.network.leaving.NOTICE_WITHIN`.
"""
HEARD_WITHIN = 1.6
"""Seconds since its last heartbeat (two periods) in which a node that was down counts as back."""


def passes_on(verdict: LivenessRecord | None, *, silent: float, ended: float | None) -> bool:
    """Whether a task must not be stopped before this node has let go of it.

    `verdict`: None where nobody has judged it yet, as in a store that was just made anew. `silent`: seconds since its
    last heartbeat. `ended`: seconds since its agent's own machine closed the agent's connection, with no heartbeat
    since; None: it did not. A machine without power closes none.
    """
    if verdict is not None and verdict.verdict != "down":
        return True
    if verdict is not None and verdict.ended:
        return False
    return ended < AGENT_BACK_WITHIN if ended is not None else silent <= HEARD_WITHIN
