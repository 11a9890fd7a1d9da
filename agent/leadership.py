"""What this agent knows of the leader: when it last answered, and what it asked for."""

from __future__ import annotations

from agent.successors import leader_silent
from schemas.clock import Clock
from schemas.liveness import HEARTBEAT_PERIOD, HeartbeatAnswer


class Leadership:
    """Updated by each answered heartbeat. Times are monotonic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.answered_at = clock.monotonic()
        """When the last heartbeat that was answered had been sent; at first: when the agent began."""
        self.sent_at = self.answered_at
        """When the heartbeat was sent whose answer came last."""
        self.period = HEARTBEAT_PERIOD
        self.observe_every = 1.0
        self.epoch = 0
        self.stuck = False
        """The leader answers, and can't write."""

    def heard(self, answer: HeartbeatAnswer, sent_at: float) -> bool:
        """An answer to what was sent then; False: a leader of an older epoch, which counts for nothing."""
        if answer.epoch < self.epoch:
            return False
        self.epoch = answer.epoch
        self.answered_at = max(self.answered_at, sent_at)
        self.sent_at = sent_at
        self.period = min(60.0, max(0.1, answer.period))
        self.stuck = answer.stuck
        self.observe_every = min(60.0, answer.observe_every)
        return True

    @property
    def silent(self) -> bool:
        """Nobody leads, as far as this node can tell."""
        return leader_silent(self.answered_at, self.period, self._clock.monotonic())
