"""What can go wrong on the bus, as data: the faults of `bus.memory`. Chance comes from the `random.Random` given.

Nothing here waits or delivers; `bus.memory_wire` asks what happens to each message.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from bus.matching import matches

Fate = Literal["drop", "hold"]
ANYONE = "*"


@dataclass(frozen=True)
class Packet:
    """One message on its way to one receiver. `about`: for an answer, the subject of the request."""

    sender: str
    receiver: str
    subject: str
    about: str = ""


@dataclass(frozen=True, eq=False)
class Rule:
    """Messages that are lost or held. `subject` is a pattern; with `answers` that of the request they answer."""

    subject: str = ">"
    sender: str = ANYONE
    receiver: str = ANYONE
    answers: bool = False
    fate: Fate = "drop"
    first: int | None = None
    """Only so many (None: all until the rule is taken away)."""

    def hits(self, packet: Packet) -> bool:
        """Whether the rule is about this message."""
        subject = packet.about if self.answers else packet.subject
        return (
            bool(subject)
            and matches(self.subject, subject)
            and self.sender in (ANYONE, packet.sender)
            and self.receiver in (ANYONE, packet.receiver)
        )


CommitFault = Literal["busy", "unknown-stored", "unknown-not-stored", "unknown-stored-late"]
UNKNOWN: tuple[CommitFault, ...] = ("unknown-stored", "unknown-not-stored", "unknown-stored-late")

LATE = (0.5, 3.0)
"""Least and most seconds after which the server judges what comes late: it had stalled, or the bytes were held."""


@dataclass
class Faults:
    """All faults now in force. Set what you need; everything starts out well."""

    rng: random.Random
    loss: float = 0.0
    """Chance of each core message (and republished entry) to be lost."""
    duplicate: float = 0.0
    """Chance of each core message to come twice."""
    delay: tuple[float, float] = (0.0, 0.0)
    """Least and most seconds that a message takes, each way. The order between two peers is kept."""
    busy: float = 0.0
    """Chance of a commit to be Busy."""
    unknown: float = 0.0
    """Chance of a commit to be Unknown: a third of those is stored, a third late (if it may be then), a third never."""
    read_lag: int = 0
    """How many writes the replica is behind that answers `read_near`."""
    snapshot_lag: int = 0
    """How many writes a snapshot is behind (its `sequence` says so)."""
    snapshot_takes: float = 0.0
    """Seconds between the moment that a snapshot shows and its arrival."""
    next_commits: deque[CommitFault] = field(default_factory=deque)
    """What happens to the next commits of anyone, in order."""
    rules: dict[Rule, int] = field(default_factory=dict)
    """The rules in force, with how often each has hit."""

    def add(self, rule: Rule) -> Rule:
        """Put a rule in force."""
        self.rules[rule] = 0
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule out of force (held messages stay held until `MemoryBroker.release`)."""
        self.rules.pop(rule, None)

    def clear(self) -> None:
        """All is well again."""
        fresh = Faults(self.rng)
        for name in ("loss", "duplicate", "delay", "busy", "unknown", "read_lag", "snapshot_lag", "snapshot_takes"):
            setattr(self, name, getattr(fresh, name))
        self.next_commits.clear()
        self.rules.clear()

    def fate(self, packet: Packet) -> Fate | None:
        """What happens to a message; None: it arrives."""
        for rule, hits in self.rules.items():
            if (rule.first is None or hits < rule.first) and rule.hits(packet):
                self.rules[rule] = hits + 1
                return rule.fate
        return "drop" if self._happens(self.loss) else None

    def copies(self) -> int:
        """How often a message arrives."""
        return 2 if self._happens(self.duplicate) else 1

    def latency(self) -> float:
        """Seconds that one message takes one way."""
        least, most = self.delay
        return least if least >= most else self.rng.uniform(least, most)

    def commit_fault(self) -> CommitFault | None:
        """What happens to the next commit; None: it is judged as it should be."""
        if self.next_commits:
            return self.next_commits.popleft()
        if self._happens(self.busy):
            return "busy"
        if self._happens(self.unknown):
            return self.rng.choice(UNKNOWN)
        return None

    def lateness(self) -> float:
        """Seconds by which a commit comes late."""
        return self.rng.uniform(*LATE)

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.rng.random() < chance
