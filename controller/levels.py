"""How far nodes have taken over the records of networks: each of those that it follows. No I/O.

An agent follows the networks that it may be sending by: those of its assignment, those that every node has, and those
that it names in its heartbeat, whose links and rules it has not taken down yet. It tells one sequence, up to which
nothing of these is missing there. It hears nothing of other networks, so that a node which has the last record of its
own has come as far as the mirror: what it lacks is none of its business.

An entry may be lost between two servers, which nobody is told, and the next one makes a node believe that it has come
past it. So it tells a digest of what holds there, too: while that is another than what stands here, it has come no
further than where the two were last the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.records import Records
from schemas.liveness import NOT_KNOWN, Heartbeat

RECKONED_FOR = 10e-6
"""Seconds for each node that a reckoning over all of them holds: every heartbeat of a big mesh asks for it."""
SHARE = 10
"""It holds at least so many times as long as it took."""


NONE = (0, "")
"""No record, and its key."""


class Levels:
    """See the module."""

    def __init__(self, records: Callable[[], Records]) -> None:
        self._records = records
        self._assigned: dict[str, tuple[int, frozenset[str]]] = {}
        """Node -> the sequence of its assignment, and the networks in that."""
        self._agreed: dict[str, int] = {}
        """Node -> how far it had come when it last held what stood here."""
        self._all: tuple[int, frozenset[str], tuple[int, str]] = (-1, frozenset(), NONE)
        """As of `news.at`: the networks that every node follows, and the last record of these."""
        self._reckoned = 0
        self._until = float("-inf")

    def due(self, heartbeat: Heartbeat) -> tuple[int, str]:
        """The last record that the node follows: its sequence, and its key ("": that is not known)."""
        records = self._records()
        networks = self._networks_of(records, heartbeat.node).union(heartbeat.networks)
        news = records.news.last
        return max(self._of_all(records)[1], max((news.get(network, NONE) for network in networks), default=NONE))

    def everywhere(self, monotonic: Callable[[], float], heartbeats: Iterable[Heartbeat], count: int) -> int:
        """Up to which record all nodes with these last heartbeats have come; 0: there are none."""
        began = monotonic()
        if began >= self._until:
            self._reckoned = min((self._level(heartbeat) for heartbeat in heartbeats), default=0)
            done = monotonic()
            self._until = done + max(RECKONED_FOR * count, SHARE * (done - began))
        return self._reckoned

    def missing(self, heartbeat: Heartbeat) -> bool:
        """Whether the node lacks something though it has heard of all that it was to hear of, as far as is known here.

        Also where it has just heard of something that this mirror has not yet, or of another use of networks.
        """
        return heartbeat.endpoints > NOT_KNOWN and self._is_level(heartbeat) and not self._agrees(heartbeat)

    def _level(self, heartbeat: Heartbeat) -> int:
        level, node = heartbeat.endpoints, heartbeat.node
        if level <= NOT_KNOWN:
            return level
        if not self._agrees(heartbeat):
            return min(level, self._agreed.get(node, NOT_KNOWN))
        whole = self._is_level(heartbeat)
        self._agreed[node] = max(level, self._records().sequence) if whole else level
        return self._agreed[node]

    def _is_level(self, heartbeat: Heartbeat) -> bool:
        return heartbeat.endpoints >= self.due(heartbeat)[0]

    def _agrees(self, heartbeat: Heartbeat) -> bool:
        """An agent of before it told digests is believed."""
        told, records = heartbeat.endpoints_digest, self._records()
        return told is None or told == records.news.digest(self._of_all(records)[0].union(heartbeat.networks))

    def _of_all(self, records: Records) -> tuple[frozenset[str], tuple[int, str]]:
        """The networks that every node follows, and the last record of these."""
        if self._all[0] != records.news.at:
            published, news = records.publish, records.news.last
            networks = frozenset(("", *(port.network for port in published.ports), *published.attachable))
            self._all = (records.news.at, networks, max(news.get(network, NONE) for network in networks))
        return self._all[1:]

    def _networks_of(self, records: Records, node: str) -> frozenset[str]:
        stored = records.assignments.get(node)
        if stored is None:
            return frozenset()
        known = self._assigned.get(node)
        if known is None or known[0] != stored.sequence:
            specs = stored.record.specs.values()
            networks = frozenset(each.network for spec in specs for each in spec.container.networks)
            known = self._assigned[node] = (stored.sequence, networks)
        return known[1]
