"""The wires between users and the server, in memory: latency, order, loss, partitions. Callbacks only, no tasks.

`Wire.send` takes a message from one user to another through the server. Messages between the same two peers
keep their order, whatever their latencies. Every delivery is a step of one `Schedule`, so equal times keep the order
in which they were sent (asyncio's own timers do not promise that).
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from bus.memory_faults import Faults, Packet

SERVER = "$server"
"""The sender of what the server itself says: republished entries, advisories."""

Deliver = Callable[[], None]


@dataclass
class Link:
    """One user's connection. A closed direction loses what is sent on it; `held` keeps it for the heal instead."""

    user: str
    outbound: bool = True
    inbound: bool = True
    hold: bool = False
    connected: bool = True
    stalled: bool = False
    """Closed because its server stalls: a connection to another server would be open."""
    generation: int = 0
    """Rises with each reconnect."""
    held: list[Deliver] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether messages pass both ways."""
        return self.connected and self.outbound and self.inbound


class Schedule:
    """Steps at given times of the running loop, in order of time, then of being added.

    They are nobody's: a process that is stopped stops nothing of what is on its way.
    """

    def __init__(self) -> None:
        self._nobody = contextvars.Context()
        self._steps: list[tuple[float, int, Deliver]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def at(self, when: float, step: Deliver) -> None:
        """Do `step` at loop time `when` (at once if that is not later than now and nothing is waiting)."""
        loop = asyncio.get_running_loop()
        if when <= loop.time() and not self._steps:
            step()
            return
        self._count += 1
        heapq.heappush(self._steps, (when, self._count, step))
        self._arm(loop)

    def after(self, seconds: float, step: Deliver) -> None:
        """Do `step` in so many seconds."""
        self.at(asyncio.get_running_loop().time() + seconds, step)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._steps[0][0], self._run, context=self._nobody) if self._steps else None

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._steps and self._steps[0][0] <= loop.time():
            heapq.heappop(self._steps)[2]()
        self._arm(loop)


class MemoryWire:
    """All links, and what is on its way."""

    def __init__(self, faults: Faults) -> None:
        self.schedule = Schedule()
        self._faults = faults
        self._links: dict[str, Link] = {}
        self._arrives: dict[tuple[str, str], float] = {}
        self._kept: list[tuple[Packet, Deliver]] = []
        self.on_arrive: Callable[[Packet], None] | None = None
        """Told of each message as it reaches its receiver: for traces of what happened."""

    def link(self, user: str) -> Link:
        """The link of a user; a new one is fine."""
        return self._links.setdefault(user, Link(user))

    def send(self, packet: Packet, deliver: Deliver, lost: Deliver | None = None) -> None:
        """Take a message to its receiver: `deliver` is called once for each copy, `lost` if it never comes."""
        sender = None if packet.sender == SERVER else self.link(packet.sender)
        fate = self._faults.fate(packet)
        if sender is not None and not (sender.connected and sender.outbound):
            if sender.hold:
                sender.held.append(lambda: self._carry(packet, deliver, lost))
            elif lost is not None:
                lost()
        elif fate == "hold":
            self._kept.append((packet, deliver))
        elif fate == "drop":
            if lost is not None:
                lost()
        else:
            self._carry(packet, deliver, lost)

    def release(self) -> None:
        """Deliver what rules have held, late, in the order in which it was sent."""
        kept, self._kept = self._kept, []
        for packet, deliver in kept:
            self._carry(packet, deliver, None)

    def heal(self, user: str) -> None:
        """Open both directions and let through what was held."""
        link = self.link(user)
        link.outbound = link.inbound = True
        link.hold = link.stalled = False
        held, link.held = link.held, []
        for deliver in held:
            deliver()

    def _carry(self, packet: Packet, deliver: Deliver, lost: Deliver | None) -> None:
        copies = self._faults.copies()
        peers = (packet.sender, packet.receiver)
        now = asyncio.get_running_loop().time()
        when = max(now + self._faults.latency(), self._arrives.get(peers, 0.0))
        self._arrives[peers] = when
        for _ in range(copies):
            self.schedule.at(when, lambda: self._arrive(packet, deliver, lost))

    def _arrive(self, packet: Packet, deliver: Deliver, lost: Deliver | None) -> None:
        link = self.link(packet.receiver)
        if link.connected and link.inbound:
            if self.on_arrive is not None:
                self.on_arrive(packet)
            deliver()
        elif link.hold:
            link.held.append(lambda: self._arrive(packet, deliver, lost))
        elif lost is not None:
            lost()
