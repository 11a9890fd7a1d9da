"""Each node as one round sees it: its record, the leader's verdict, and whether its observation can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controller.liveness import Judged, Status
from controller.world import Heard, World
from schemas.assignment import Assignment
from schemas.observation import NodeFacts, Observation
from schemas.records import NodeRecord

_NO_FACTS = NodeFacts()


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node, or a name that tasks stand under without a node record."""

    name: str
    record: NodeRecord | None
    status: Status
    observation: Observation | None
    settled: bool
    """The observation is of the node's present life (same agent, same boot), and its assignment is what it obeys."""
    answers: bool = True
    """It was heard just now: a node that missed a beat gets no new tasks before it is heard again."""
    gone: bool = False
    """Nothing of it runs, and never will again: removed while down, or confirmed dead."""
    lease_from: float = 0.0
    """Of a node that is down, or was until this round: the stream time after which no heartbeat of it was answered with
    a lease."""
    uncovered: str = ""
    """Of such a node: why it can't be relied on to stop by itself what must not run twice."""
    expected: bool = False
    """It was ready for the leader before, and its first heartbeat for this one is not late yet: it is open soon. What
    would go there waits for it, else all that is new after a takeover went to the node that was heard first."""
    back: bool = False
    """It was down up to this round: what must not run twice has had no lease there since, and gets none before this
    round is stored."""

    @property
    def facts(self) -> NodeFacts:
        """What the node says it is; empty before its first observation."""
        return self.observation.facts if self.observation is not None else _NO_FACTS

    @property
    def surveyed(self) -> bool:
        """Whether its agent has looked at its machine since it started."""
        return bool(self.facts.architecture) or self.facts.networking != _NO_FACTS.networking

    @property
    def editable(self) -> bool:
        """Whether its assignment may be changed: not while it is silent, unknown or without a record."""
        if self.record is None:
            return False
        return self.gone or (self.settled and self.status in ("ready", "not-ready"))

    @property
    def leaving(self) -> bool:
        """Its tasks are to be moved away."""
        return self.record is not None and (self.record.removed or self.record.availability == "drain")

    @property
    def open(self) -> bool:
        """Whether new tasks may come, as far as its state goes."""
        return (
            self.record is not None
            and self.settled
            and self.status == "ready"
            and self.answers
            and not self.record.removed
            and self.record.availability == "active"
        )

    @property
    def trouble(self) -> str:
        """Why it takes no new tasks now: "down", "drained", ...; "" if it does."""
        if self.record is None:
            return "without a node record"
        if self.record.removed:
            return "removed"
        if self.status == "unknown" or (self.status != "down" and not self.settled):
            return "not heard yet"
        if self.status != "ready":
            return self.status.replace("-", " ")
        if not self.answers:
            return "silent"
        return {"active": "", "pause": "paused", "drain": "drained"}[self.record.availability]


def to_readopt(assigned: Assignment | None, applied: int, generation: int) -> bool:
    """Whether a node obeys what this store does not know: it was silent at a restore, or unknown to the backup."""
    if assigned is None:
        return 0 < applied < generation
    return assigned.provisional


def view_nodes(world: World, judged: Mapping[str, Judged]) -> dict[str, NodeView]:
    """A view of each name that has a record, an assignment or an observation, in sorted order."""
    names = {*world.nodes, *world.assignments, *world.observations}
    return {name: _view(world, name, judged.get(name)) for name in sorted(names)}


def _view(world: World, name: str, verdict: Judged | None) -> NodeView:
    stored = world.nodes.get(name)
    observation = world.observations.get(name)
    if stored is None:
        return NodeView(name, None, "unknown", observation, settled=False)
    record = stored.record
    if verdict is None:
        return NodeView(name, record, "down" if record.removed else "unknown", observation, settled=False)
    heard = world.heard.get(name)
    assigned = world.assignments.get(name)
    applied = heard.applied[0] if heard is not None else 0
    unknown = to_readopt(assigned.record if assigned is not None else None, applied, world.generation)
    settled = (
        observation is not None
        and heard is not None
        and (observation.instance, observation.boot) == (heard.instance, heard.boot)
        and not unknown
    )
    confirmed = verdict.record is not None and verdict.record.ended
    gone = verdict.status == "down" and (record.removed or confirmed)
    lease = _lease_of(world, name, verdict)
    expected = (
        _ready_before(verdict)
        and observation is not None
        and not record.removed
        and record.availability == "active"
        and (heard is None or (settled and not _lately_in_trouble(heard)))
    )
    return NodeView(
        name,
        record,
        verdict.status,
        observation,
        settled,
        verdict.answers,
        gone,
        lease.since,
        lease.uncovered,
        expected,
        back=lease.back,
    )


class _Lease(NamedTuple):
    """What is known of the leases on a node that is down, or was until this round."""

    since: float = 0.0
    uncovered: str = ""
    back: bool = False


def _lease_of(world: World, name: str, verdict: Judged) -> _Lease:
    known, heard = world.liveness.get(name), world.heard.get(name)
    if verdict.status != "down":
        back = known is not None and known.verdict == "down"
        return _Lease(known.since, known.uncovered, back) if back and known is not None else _Lease()
    silent = verdict.record
    if silent is None:
        return _Lease()
    return _Lease(max(silent.since, heard.at if heard is not None else 0.0, world.took_over), silent.uncovered)


def _ready_before(verdict: Judged) -> bool:
    """Whether it was ready when it was last judged, and has had no time to say so again."""
    known = verdict.record
    return verdict.status == "unknown" and not verdict.silent and known is not None and known.verdict == "ready"


def _lately_in_trouble(heard: Heard) -> bool:
    """Whether what this controller heard while it followed tells that the node takes nothing soon."""
    return heard.suspect_since is not None or heard.leaving or bool(heard.trouble)
