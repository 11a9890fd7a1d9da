"""Core messages that carry no state: heartbeats and the leader's "I lead"."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.assignment import Applied
from schemas.wire import Count, Seconds, Token, Wire

LEADER_PERIOD = 0.2
"""Seconds between two "I lead" (DESIGN: leadership)."""

LEADER_SILENCE = 1.0
"""Seconds of silence after which a follower takes over (DESIGN: leadership)."""

CONTROLLER_PERIOD = 1.0
"""Seconds between two "I am here" of every controller, leading or not."""

HEARTBEAT_PERIOD = 0.8
"""Seconds between two heartbeats of a node, up to 4,000 nodes (DESIGN: liveness)."""

HEARTBEATS_MISSED = 3
"""Periods without a beat after which a node is down (DESIGN: liveness)."""


def heartbeat_period(nodes: int) -> float:
    """Seconds between two heartbeats in a mesh of so many nodes: 0.8, above 4,000 nodes nodes / 5,000."""
    return max(HEARTBEAT_PERIOD, nodes / 5000)


OBSERVATION_PERIOD = 0.2
"""Seconds between two observations of a node in the long run, up to 200 nodes: a deploy waits for each of them."""


def observation_period(nodes: int) -> float:
    """Seconds between two observations of a node in a mesh of so many: the mesh takes in about a thousand a second."""
    return max(OBSERVATION_PERIOD, nodes / 1000)


NOT_KNOWN = 1
"""In place of a sequence: how far a node is with its networks is not known yet. Others wait for it."""


DIGESTS = (1 << 53) - 111
"""How many there are: the greatest prime below 2^53, up to which every reader of JSON takes whole numbers for such."""


def digest_of(sequences: Iterable[int], rest: int = 0) -> int:
    """Of records, by the sequences of their last writes, which no two of a store share: the sum of their cubes.

    A record more or less is one sum more or less (`rest`: such a sum), also where they are many. No two numbers below
    that prime have the same cube. Unlike sums of the numbers themselves, one that is lost does not make up for another:
    no cube is the sum of two. (Above sequence 208,063 cubes exceed the prime, and it is a chance of 1 in 2^53.)
    """
    return (sum(sequence**3 for sequence in sequences) + rest) % DIGESTS


class Heartbeat(Wire, frozen=True, kw_only=True):
    """`mesh.heartbeat.<node>`, a request. `count` is told back, so that the agent knows which one was answered."""

    node: Token
    instance: str
    boot: str
    count: Count
    applied: Applied = Applied()
    observed: Count = 0
    """The counter of the last observation that was stored."""
    engine: str = ""
    """Why the engine can't be used now; "" while it answers."""
    untold: str = ""
    """Why what runs here can't be told (observations are not stored) for long; "" while it is."""
    endpoints: Count = 0
    """Up to that sequence all records that it follows of networks hold on this node; 0: it can't have networks; 1: see
    `NOT_KNOWN`."""
    endpoints_digest: Count | None = None
    """Of the records of networks that hold on this node (`digest_of`); None: it is not told."""
    networks: tuple[Token, ...] = ()
    """Networks by which it may be sending. Those of its assignment, and those that every node has, may be missing."""
    leaving: bool = False
    """The agent is about to stop; its containers run on."""
    wall: Seconds = 0.0
    """The agent's wall clock: to tell an offset, never to decide."""


class HeartbeatAnswer(Wire, frozen=True, kw_only=True):
    """The leader's answer."""

    count: Count
    epoch: Count
    generation: Count
    period: Seconds = HEARTBEAT_PERIOD
    observe_every: Seconds = 1.0
    desired: Count = 0
    """The sequence of this node's `desired` record: an agent behind it fetches."""
    endpoints: Count = 0
    """The sequence of the last record of networks that this node follows."""
    endpoints_key: str = ""
    """Its key: a replica that shows it has all before it. "": it is not known."""
    endpoints_missing: bool = False
    """The node has come as far as that, and does not hold what stands there: something was lost on its way."""
    endpoints_everywhere: Count = 0
    """Up to that sequence all records of networks hold on every node that is up and follows them."""
    observed: Count = 0
    """The counter of this node's observation as the store holds it; 0: it holds none, or the leader does not say."""
    stuck: bool = False
    """The leader's last write was not taken: nothing can be decided now."""
    lease: bool = False
    """The heartbeat counts as hearing the leader for tasks with `stop_after`: the store has confirmed of late that
    this leader leads, and it takes the node for up. (Only if the agent has applied `desired`.)"""
    wall: Seconds = 0.0
    """The leader's wall clock: for the agent to tell an offset, never to decide."""
    refused: str = ""
    """Why this agent is no member (another instance holds the name, not joined, removed)."""


class LeaderBeat(Wire, frozen=True, kw_only=True):
    """`mesh.leader`: "I lead, epoch E"."""

    holder: str
    epoch: Count
    mesh_id: str
    generation: Count = 1
    highest: Count = 0
    """The highest sequence of the state stream that the leader has seen."""
    stepping_down: bool = False


class ControllerBeat(Wire, frozen=True, kw_only=True):
    """`mesh.controller.<name>`: "I am here", from every controller, so that `status` can name the followers, too."""

    name: str
    mesh_id: str = ""
    leads: bool = False
    epoch: Count = 0
    """The highest epoch it knows."""
    sequence: Count = 0
    """How far its mirror of the state is."""
    generation: Count = 0
    """The highest generation of the store that it has seen, also before it was started; 0: none, or it does not say."""
    rounds: Count = 0
    """Rounds with changes since it took over (a leader only)."""
    hostname: str = ""
    version: str = ""
    trouble: str = ""
    """Why it can't lead ("store.missing: ..."), in one line."""
    distrusts: str = ""
    """Why nothing may be decided on the store, as it knows now ("store.rolled_back: ...")."""
    lacks: str = ""
    """A key of which it has seen a later write than the store knows now: the store was rolled back. "": none."""
    lacks_at: Count = 0
    """The sequence of that write, in a store of `generation`."""
    instance: str = ""
    """Made up by the process when it starts: two of one name are told apart by it."""
    age: Seconds = 0.0
    """Since it started, by its own clock."""
