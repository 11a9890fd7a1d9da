"""Who is alive: the leader's verdicts, from heartbeats alone. Revocable, and never a change of what a node should run.

A node is *down* after 3 periods without a beat. Clocks start at the takeover, and anew whenever the leader could not
hear its own heartbeat. Until a node was heard since then, or its grace has passed, it is *unknown*: its record stays
as it was and nobody touches its assignment. A node that was down is back once it was heard *and* a fresh observation
of it is in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from controller.world import Heard, World
from schemas.liveness import HEARTBEATS_MISSED, heartbeat_period
from schemas.observation import Observation
from schemas.records import LivenessRecord, NodeRecord

Status: TypeAlias = Literal["ready", "not-ready", "down", "unknown"]

QUIET_PERIODS = 1.5
"""Periods without a beat after which a node is counted as silent before another one is declared down."""

SUSPECT_PERIODS = 1.25
"""Periods after a dropped connection without a beat after which a node is down. Agents pause up to 1.1 (their jitter),
and the advisory may be an old one: a server that stalled tells when it goes on who has left it meanwhile."""

LEAVING_GRACE = 10.0
"""Seconds that an agent which said that it is about to stop has for coming back: its containers run on."""

RETURN_GRACE = 2.0
"""Seconds after which a node that came back is taken at its last observation: an agent writes one only if something
changed, and it has had the time to."""

LISTEN_AGAIN = 0.5
"""Seconds after which a node that was not heard yet is looked at again, so that it is not left waiting."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the leader makes of one node now."""

    status: Status
    record: LivenessRecord | None
    """The verdict as it should stand; None: never judged."""
    silent: bool = False
    """It missed a beat, its connection dropped, or it is down: what the brake counts."""
    recheck_at: float | None = None
    """Stream time at which time alone may change this."""
    answers: bool = True
    """It was heard just now and does not mean to stop: new tasks may come."""


@dataclass(frozen=True, slots=True)
class _Ears:
    """What the leader can know of time: its clock, the start of all grace, and the period."""

    now: float
    start: float
    period: float


def judge_nodes(world: World, now: float) -> dict[str, Judged]:
    """A verdict for each member; a removed one is judged only while it still has something assigned."""
    total = max(world.nodes_total, len(world.nodes))
    ears = _Ears(now, max(world.took_over, world.hearing_since), heartbeat_period(total))
    return {
        name: _judge(world, world.nodes[name].record, ears)
        for name in sorted(world.nodes)
        if not world.nodes[name].record.removed or _has_tasks(world, name)
    }


def _has_tasks(world: World, node: str) -> bool:
    assignment = world.assignments.get(node)
    return assignment is not None and bool(assignment.record.tasks)


def _judge(world: World, node: NodeRecord, ears: _Ears) -> Judged:
    prior = world.liveness.get(node.name)
    heard = _own(world.heard.get(node.name), node)
    observation = world.observations.get(node.name)
    if prior is not None and prior.verdict == "down":
        return _judge_absent(prior, heard, observation, ears)
    deadline = _deadline(heard, ears)
    if ears.now >= deadline:
        return Judged("down", _declare_down(node, prior, heard, observation, ears), silent=True)
    silent = _quiet(heard, ears)
    if heard is None or heard.at < ears.start:
        late = deadline if silent else ears.start + QUIET_PERIODS * ears.period
        return Judged("unknown", prior, silent, min(late, ears.now + LISTEN_AGAIN))
    record = _declare_up(node, prior, heard, ears.now)
    answers = not silent and not heard.leaving
    return Judged("not-ready" if heard.trouble else "ready", record, silent, deadline, answers)


def _own(heard: Heard | None, node: NodeRecord) -> Heard | None:
    """Only the agent that the name is bound to counts."""
    return heard if heard is not None and heard.instance == node.instance else None


def _deadline(heard: Heard | None, ears: _Ears) -> float:
    """The stream time from which on the node is down if it is not heard before."""
    if heard is None or heard.at < ears.start:
        return ears.start + HEARTBEATS_MISSED * ears.period
    usual = heard.at + HEARTBEATS_MISSED * ears.period
    if heard.leaving:
        return max(usual, heard.at + LEAVING_GRACE)
    if heard.suspect_since is None:
        return usual
    return min(usual, max(heard.suspect_since, heard.at) + SUSPECT_PERIODS * ears.period)


def _quiet(heard: Heard | None, ears: _Ears) -> bool:
    if heard is not None and heard.at >= ears.start:
        if heard.leaving:
            return False
        return heard.suspect_since is not None or ears.now - heard.at >= QUIET_PERIODS * ears.period
    return ears.now >= ears.start + QUIET_PERIODS * ears.period


def _declare_down(
    node: NodeRecord, prior: LivenessRecord | None, heard: Heard | None, observation: Observation | None, ears: _Ears
) -> LivenessRecord:
    unheard = heard is None or heard.at < ears.start
    why = "not heard since the leader took over" if unheard else "no heartbeat"
    if heard is not None and not unheard and heard.suspect_since is not None:
        why = "its connection dropped and no heartbeat came since"
    return LivenessRecord(
        node=node.name,
        verdict="down",
        since=ears.now,
        why=why,
        instance=node.instance,
        boot=heard.boot if heard is not None else prior.boot if prior is not None else "",
        observed=observation.counter if observation is not None else 0,
        order=prior.order if prior is not None else 0,
        uncovered=why_uncovered(heard),
    )


def why_uncovered(heard: Heard | None) -> str:
    """Why a silent node can't be relied on to stop by itself what must not run twice; "" if it can."""
    if heard is None:
        return "no controller that is here now has ever heard it"
    if heard.leaving:
        return "its agent was stopped, and its containers run on"
    if heard.closed:
        return "its agent has ended, and its containers run on"
    return f"its engine did not work: {heard.engine}" if heard.engine else ""


def _declare_up(node: NodeRecord, prior: LivenessRecord | None, heard: Heard, now: float) -> LivenessRecord:
    """Ready or not, by what the agent says of its engine; the record stays as it is while nothing changed."""
    verdict: Literal["ready", "not-ready"] = "not-ready" if heard.trouble else "ready"
    why = heard.trouble or "heard"
    if prior is None or prior.verdict != verdict:
        order = prior.order if prior is not None else 0
        return LivenessRecord(
            node=node.name, verdict=verdict, since=now, why=why, instance=heard.instance, boot=heard.boot, order=order
        )
    why = why if heard.trouble else prior.why
    return msgspec.structs.replace(prior, why=why, instance=heard.instance, boot=heard.boot)


def _judge_absent(prior: LivenessRecord, heard: Heard | None, observation: Observation | None, ears: _Ears) -> Judged:
    """A node that was declared down stays so until it was heard again and its fresh observation is in."""
    if heard is None or heard.at <= prior.since or heard.at < ears.start or ears.now >= _deadline(heard, ears):
        news = heard is not None and (heard.at > prior.since or heard.closed)
        uncovered = why_uncovered(heard) if news else prior.uncovered
        return Judged("down", msgspec.structs.replace(prior, back_since=0.0, uncovered=uncovered), silent=True)
    since = prior.back_since or ears.now
    if _fresh(prior, heard, observation) or (ears.now >= since + RETURN_GRACE and _latest(heard, observation)):
        verdict: Literal["ready", "not-ready"] = "not-ready" if heard.trouble else "ready"
        record = LivenessRecord(
            node=prior.node,
            verdict=verdict,
            since=ears.now,
            why=heard.trouble or "heard again",
            instance=heard.instance,
            boot=heard.boot,
            order=prior.order,
        )
        return Judged(verdict, record, recheck_at=_deadline(heard, ears))
    record = msgspec.structs.replace(prior, back_since=since)
    return Judged("down", record, recheck_at=min(_deadline(heard, ears), max(since + RETURN_GRACE, ears.now + 0.1)))


def _same_life(heard: Heard, observation: Observation | None) -> bool:
    return observation is not None and (observation.instance, observation.boot) == (heard.instance, heard.boot)


def _latest(heard: Heard, observation: Observation | None) -> bool:
    """Whether the observation is the last that the agent says it has stored."""
    return observation is not None and _same_life(heard, observation) and observation.counter >= heard.observed


def _fresh(prior: LivenessRecord, heard: Heard, observation: Observation | None) -> bool:
    """Whether the observation was made after the node came back."""
    if observation is None or not _same_life(heard, observation):
        return False
    same_as_before = (prior.instance, prior.boot) == (heard.instance, heard.boot)
    return not same_as_before or observation.counter > prior.observed
