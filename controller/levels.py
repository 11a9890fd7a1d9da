"""How far nodes have taken over the records of networks: each of those that it follows. No I/O.

An agent follows the networks that it may be sending by: those of its assignment, those that every node has, and those
that it names in its heartbeat, whose links and rules it has not taken down yet. It tells one sequence, up to which
nothing of these is missing there. It hears nothing of other networks, so that a node which has the last record of its
own has come as far as the mirror: what it lacks is none of its business.
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
        self._all: tuple[int, tuple[int, str]] = (-1, NONE)
        """As of `networks_at`: the last record of what every node follows."""
        self._reckoned = 0
        self._until = float("-inf")

    def due(self, heartbeat: Heartbeat) -> tuple[int, str]:
        """The last record that the node follows: its sequence, and its key ("": that is not known)."""
        records = self._records()
        networks = self._networks_of(records, heartbeat.node).union(heartbeat.networks)
        news = records.network_news
        return max(self._due_to_all(records), max((news.get(network, NONE) for network in networks), default=NONE))

    def everywhere(self, monotonic: Callable[[], float], heartbeats: Iterable[Heartbeat], count: int) -> int:
        """Up to which record all nodes with these last heartbeats have come; 0: there are none."""
        began = monotonic()
        if began >= self._until:
            self._reckoned = min((self._level(heartbeat) for heartbeat in heartbeats), default=0)
            done = monotonic()
            self._until = done + max(RECKONED_FOR * count, SHARE * (done - began))
        return self._reckoned

    def _level(self, heartbeat: Heartbeat) -> int:
        level = heartbeat.endpoints
        whole = level > NOT_KNOWN and level >= self.due(heartbeat)[0]
        return max(level, self._records().sequence) if whole else level

    def _due_to_all(self, records: Records) -> tuple[int, str]:
        if self._all[0] != records.networks_at:
            published, news = records.publish, records.network_news
            networks = {"", *(port.network for port in published.ports), *published.attachable}
            self._all = (records.networks_at, max(news.get(network, NONE) for network in networks))
        return self._all[1]

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
