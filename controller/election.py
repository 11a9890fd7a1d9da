"""Who leads, decided: what a controller hears goes in, what it is to do comes out.

A follower waits until it has heard nothing of the leader for `LEADER_SILENCE` and a bit of chance, then stands: a
compare-and-set on `election.epoch`; its sequence is the epoch. Every beat puts the moment off, so whoever slept
through its jitter looks at the last beat again before it stands. A disconnect of the leader's connection and a
hand-over bring the moment near. A leader ends when it is fenced off or hears of a higher epoch; time-outs are no
reason.

Pure: `now` (monotonic seconds) and `chance` (0 to 1) are passed in. `controller.elector` is the shell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, assert_never

from schemas.liveness import LEADER_SILENCE

JITTER = 0.3
"""Seconds over which followers spread after the leader's silence: seldom do two stand at once."""

CUT_WAIT = 0.2
CUT_JITTER = 0.1
"""After a disconnect advisory of the leader: time for a beat over a new connection (together about 0.3 s)."""

HANDED_OVER_JITTER = 0.05
"""After a hand-over nobody leads: only as long as followers need to keep out of each other's way."""

BARRED_WAIT = 1.0
"""Before it is looked at again whether this store may be led."""

Role = Literal["follower", "standing", "leader"]


@dataclass(frozen=True)
class Election:
    """What a controller knows of the election. `due`: when it stands, should it hear nothing until then."""

    me: str
    role: Role = "follower"
    epoch: int = 0
    """The highest epoch known; of a leader: its own."""
    holder: str = ""
    due: float = 0.0


@dataclass(frozen=True)
class BeatHeard:
    """Somebody says "I lead, epoch E"."""

    holder: str
    epoch: int
    stepping_down: bool = False


@dataclass(frozen=True)
class EpochShown:
    """The store shows this epoch; an empty holder has handed over. One whose fence was renewed is shown again."""

    holder: str
    epoch: int


@dataclass(frozen=True)
class LeaderCut:
    """The connection of controller `name` has ended."""

    name: str


@dataclass(frozen=True)
class Moved:
    """The own server had stalled, and the connection is another one now: nobody could have been heard."""


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True)
class Won:
    """The own takeover is stored as this epoch."""

    epoch: int


@dataclass(frozen=True)
class Lost:
    """The own takeover is not stored: another holds this epoch ("" if that is not known)."""

    epoch: int = 0
    holder: str = ""


@dataclass(frozen=True)
class Barred:
    """This store may not be led (missing, or behind what is remembered), or did not answer."""


@dataclass(frozen=True)
class Deposed:
    """A write of the leader was refused by the fence, or the store does not know its epoch any more."""

    why: str = "a write was refused: another leads"


Input: TypeAlias = BeatHeard | EpochShown | LeaderCut | Moved | Tick | Won | Lost | Barred | Deposed


@dataclass(frozen=True)
class Stand:
    """Try to take over."""


@dataclass(frozen=True)
class Lead:
    """Lead from now on."""

    epoch: int


@dataclass(frozen=True)
class StepDown:
    """Lead no longer."""

    why: str


Action: TypeAlias = Stand | Lead | StepDown


def begin(me: str, now: float, chance: float) -> Election:
    """A controller that has just started: it listens first."""
    return Election(me=me, due=_silence(now, chance))


def step(election: Election, event: Input, now: float, chance: float) -> tuple[Election, tuple[Action, ...]]:
    """What `event` makes of the election, and what is to be done."""
    match event:
        case BeatHeard():
            return _beat(election, event, now, chance)
        case EpochShown(holder, epoch):
            return _shown(election, holder, epoch, now, chance)
        case LeaderCut(name):
            return _cut(election, name, now, chance), ()
        case Moved():
            return (replace(election, due=_silence(now, chance)) if election.role == "follower" else election), ()
        case Tick():
            ready = election.role == "follower" and now >= election.due
            return (replace(election, role="standing"), (Stand(),)) if ready else (election, ())
        case Won(epoch):
            return _won(election, epoch, now, chance)
        case Lost(epoch, holder):
            return _lost(election, epoch, holder, now, chance), ()
        case Barred():
            return replace(election, role="follower", due=now + BARRED_WAIT + JITTER * chance), ()
        case Deposed(why):
            if election.role != "leader":
                return election, ()
            follower = replace(election, role="follower", due=_silence(now, chance))
            return follower, (StepDown(why),)
        case _:
            assert_never(event)


def _beat(election: Election, beat: BeatHeard, now: float, chance: float) -> tuple[Election, tuple[Action, ...]]:
    if beat.epoch < election.epoch or (election.role == "leader" and beat.epoch == election.epoch):
        return election, ()
    due = now + HANDED_OVER_JITTER * chance if beat.stepping_down else _silence(now, chance)
    heard = replace(election, epoch=beat.epoch, holder=beat.holder, due=due)
    return _unless_higher(election, heard, f"{beat.holder} leads epoch {beat.epoch}")


def _shown(
    election: Election, holder: str, epoch: int, now: float, chance: float
) -> tuple[Election, tuple[Action, ...]]:
    if epoch <= election.epoch or (election.role == "standing" and holder == election.me):
        return election, ()
    due = _silence(now, chance) if holder else now + HANDED_OVER_JITTER * chance
    shown = replace(election, epoch=epoch, holder=holder, due=due)
    return _unless_higher(election, shown, f"the store shows epoch {epoch} of {holder or 'nobody'}")


def _unless_higher(before: Election, after: Election, why: str) -> tuple[Election, tuple[Action, ...]]:
    if before.role == "leader" and after.epoch > before.epoch:
        return replace(after, role="follower"), (StepDown(why),)
    return after, ()


def _cut(election: Election, name: str, now: float, chance: float) -> Election:
    if election.role != "follower" or name != election.holder or name == election.me:
        return election
    return replace(election, due=min(election.due, now + CUT_WAIT + CUT_JITTER * chance))


def _won(election: Election, epoch: int, now: float, chance: float) -> tuple[Election, tuple[Action, ...]]:
    if election.role != "standing" or epoch < election.epoch:
        return _lost(election, election.epoch, election.holder, now, chance), ()
    return replace(election, role="leader", epoch=epoch, holder=election.me), (Lead(epoch),)


def _lost(election: Election, epoch: int, holder: str, now: float, chance: float) -> Election:
    newer = epoch > election.epoch
    return replace(
        election,
        role="follower",
        epoch=max(epoch, election.epoch),
        holder=holder if newer else election.holder,
        due=_silence(now, chance),
    )


def _silence(now: float, chance: float) -> float:
    return now + LEADER_SILENCE + JITTER * chance
