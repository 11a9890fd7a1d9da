"""How far nodes have taken over the records of networks: each of those that it follows. No I/O.

An agent follows the networks that it may be sending by: those of its assignment, those that every node has, and those
that it names in its heartbeat, whose links and rules it has not taken down yet. It tells one sequence, up to which
nothing of these is missing there. It hears nothing of other networks, so that a node which has the last record of its
own has come as far as the mirror: what it lacks is none of its business.

An entry may be lost between two servers, which nobody is told, and the next one makes a node believe that it has come
past it. So it tells a digest of what holds there, too: while that is another than what stood here at the sequence that
it tells, it has come no further than where the two were last the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.records import Records
from schemas.liveness import NOT_KNOWN, Heartbeat, digest_of

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
        """Node -> how far it had come when its agent last held what stood here."""
        self._all: tuple[int, frozenset[str], tuple[int, str], int] = (-1, frozenset(), NONE, 0)
        """As of `news.version`: see `_of_all`."""
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

    def hear(self, heartbeat: Heartbeat) -> None:
        """A node has told how far it has come."""
        if heartbeat.endpoints <= NOT_KNOWN:
            self._agreed.pop(heartbeat.node, None)  # another process, which may hold less than the one before
        else:
            self._level(heartbeat)

    def missing(self, heartbeat: Heartbeat) -> bool:
        """Whether the node lacks something though it says that it has come as far as this mirror."""
        level = heartbeat.endpoints
        known = NOT_KNOWN < level <= self._records().sequence
        return known and level >= self.due(heartbeat)[0] and not self._agrees(heartbeat)

    def _level(self, heartbeat: Heartbeat) -> int:
        level, node, here = heartbeat.endpoints, heartbeat.node, self._records().sequence
        if level <= NOT_KNOWN:
            return level
        if not self._agrees(heartbeat):
            return min(level, self._agreed.get(node, NOT_KNOWN))
        self._agreed[node] = here if level >= self.due(heartbeat)[0] else min(level, here)
        return self._agreed[node]

    def _agrees(self, heartbeat: Heartbeat) -> bool:
        """Whether the node holds what stood at the sequence that it tells. An agent without digests is believed."""
        told, news = heartbeat.endpoints_digest, self._records().news
        if told is None:
            return True
        common, _, digest = self._of_all(self._records())
        own = frozenset(heartbeat.networks) - common
        digest += news.digest(own)
        if digest_of((), digest - told) == 0:
            return True
        risen = news.rise(heartbeat.endpoints, common, own)
        return risen is not None and digest_of((), digest - risen - told) == 0

    def _of_all(self, records: Records) -> tuple[frozenset[str], tuple[int, str], int]:
        """The networks that every node follows, the last record of these, and the digest of what stands of them."""
        if self._all[0] != records.news.version:
            published, news = records.publish, records.news
            networks = frozenset(("", *(port.network for port in published.ports), *published.attachable))
            last = max(news.last.get(network, NONE) for network in networks)
            self._all = (news.version, networks, last, news.digest(networks))
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
