"""What must always hold, whatever happens: each checker looks at one thing and notes what is wrong.

`Watchman` sits where the world changes: it sees each batch of a stream as it is judged, and each container of an engine
as it changes; what is there (whose agent is stopped, what an engine does) it looks at now and then, too. What was noted
is raised as `Violated`. What holds only in the end is told by `unsettled`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from agent.engine.memory_life import Life
from bus.commits import Committed, Delete, Fence, Outcome, Put, Write
from schemas import subjects
from schemas.assignment import Assignment
from schemas.records import EpochRecord, NodeRecord, RolloutRecord, ServiceRecord
from schemas.wire import decode
from tests.sim.machines import Node
from tests.sim.tracing import Trace
from tests.sim.world import World

WORKS_AGAIN = 10.0
"""Seconds after an agent or an engine works again within which it has done what it should have done meanwhile."""

ADOPTED = 30.0
"""Seconds after a store was made anew within which what it did not know of is adopted, or has ended: what a silent node
runs has its lease for 12 s at most, and time to stop (docs/RELIABILITY.md)."""

LEADER_KEYS = ("rollout.", "desired.", "liveness.", "brake", "alloc.", "endpoints.", "job.")


class Violated(AssertionError):
    """An invariant does not hold."""


class Watchman:
    """Watches one world from its beginning to its end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._trace = Trace(world)
        self.violations: list[str] = []
        self.epoch = 0
        """The sequence of the epoch's record: the fence that holds."""
        self.holder = ""
        self.stored = 0
        """Batches, but for those that only move the cursor of told events: with leases a leader writes it every 3 s to
        prove that the store still takes its writes."""
        self._ended: set[str] = set()
        self._excused: dict[str, float] = {}
        """Container -> until when it may run beside a replacement: its node's agent or engine did not work, or it is
        from before the store was made anew. Those that had not started, too: a start may have been under way, which
        comes when the agent or the engine goes on."""
        self._restored_at = 0.0
        self.listeners: list[Callable[[Sequence[Write], Outcome], None]] = []
        """Told of each batch that is stored in the state stream."""
        self.observers: list[Callable[[Sequence[Write]], None]] = []
        """Told of each batch that is stored in the stream of observations."""
        self._sent: dict[int, tuple[Sequence[Write], int]] = {}
        """Fenced batches that are not judged yet, by identity, with the number of their sending."""
        self._newest: dict[str, tuple[int, float]] = {}
        """User -> the number of the batch sent last of those that are stored, and when that was stored."""
        self._sendings = 0
        world.broker.state.on_commit = self._seen
        world.broker.state.on_send = self._note_sending
        world.broker.observed.on_commit = self._observed
        for node in world.nodes.values():
            node.engine.on_change = self._changer(node)
            node.engine.on_call = self._caller(node)

    @property
    def trace(self) -> str:
        """See `tests.sim.tracing`."""
        return str(self._trace)

    def _note_sending(self, batch: Sequence[Write], fence: Fence | None) -> None:
        if fence is not None:
            self._sendings += 1
            self._sent[id(batch)] = (batch, self._sendings)

    def _stored_in_order(self, user: str, batch: Sequence[Write], outcome: Outcome) -> None:
        """What a leader sent is not stored once something is that it sent later: it would lie over that."""
        _, number = self._sent.pop(id(batch), ((), 0))
        if not number or not isinstance(outcome, Committed):
            return
        newest, stored_at = self._newest.get(user, (0, 0.0))
        if newest > number and stored_at > self._world.rolled_back_at:
            keys = ", ".join(write.key for write in batch)
            self._violated(f"{user} sent {keys} before something that is stored already")
        self._newest[user] = (max(newest, number), self._world.now)

    def _seen(self, user: str, batch: Sequence[Write], fence: Fence | None, outcome: Outcome) -> None:
        self._trace.judged(user, batch, fence, outcome)
        self._stored_in_order(user, batch, outcome)
        if isinstance(outcome, Committed):
            self.stored += any(write.key != subjects.EVENTS_CURSOR for write in batch)
            self._look(user, batch, fence, self.epoch, outcome)
            if self._world.guarded is not None:
                self._world.guarded.stored(user, batch, self._decided_at(fence))
            if self._world.running_on is not None:
                self._world.running_on.stored(user, batch, self._violated)
            for listener in self.listeners:
                listener(batch, outcome)

    def _observed(self, user: str, batch: Sequence[Write], fence: Fence | None, outcome: Outcome) -> None:
        self._trace.judged(user, batch, fence, outcome)
        for observer in self.observers if isinstance(outcome, Committed) else ():
            observer(batch)

    def _look(self, user: str, batch: Sequence[Write], fence: Fence | None, epoch: int, outcome: Committed) -> None:
        ordered = sorted(batch, key=lambda write: write.key != subjects.EPOCH)
        for write in ordered:
            if write.key == subjects.EPOCH and isinstance(write, Put):
                record = decode(write.value, EpochRecord)
                self.epoch, self.holder = outcome.sequence, record.holder
            elif write.key.startswith(LEADER_KEYS):
                self._leaders_write(user, write, fence, epoch)

    def _leaders_write(self, user: str, write: Write, fence: Fence | None, epoch: int) -> None:
        if user == "operator" and subjects.MESH not in self._world.broker.state.existing().entries:
            return  # a store that is being made anew: nobody leads it yet
        if fence is not None and self._was_on_its_way(fence):
            return
        if user != f"controller-{self.holder}" or fence is None or fence.epoch != epoch:
            self._violated(f"{user} (fence {fence}) wrote {write.key} in epoch {epoch} of {self.holder or 'nobody'}")
        if isinstance(write, Delete) and write.key.startswith("desired."):
            self._violated(f"{user} deleted {write.key}: absence is never a decision")
        if isinstance(write, Put) and write.key.startswith("desired."):
            self._assigned(decode(write.value, Assignment))

    def _was_on_its_way(self, fence: Fence) -> bool:
        """Whether it was decided before the store became an older one, in which its leader leads: nobody can know."""
        return self._decided_at(fence) < self._world.rolled_back_at

    def _decided_at(self, fence: Fence | None) -> float:
        """When the leader whose fence that is made its last decision; infinite if it does not lead in this store."""
        stored = self._world.broker.state.existing().entries.get(subjects.EPOCH)
        if fence is None or stored is None or stored.value is None or stored.sequence != fence.epoch:
            return math.inf
        basis = self._world.decided_by.get(decode(stored.value, EpochRecord).number(stored.sequence))
        return basis.at if basis is not None else math.inf

    def _assigned(self, assignment: Assignment) -> None:
        slots = [(task.service, task.slot, task.spec) for task in assignment.tasks if task.desired == "running"]
        if len(slots) != len(set(slots)):
            self._violated(f"{assignment.node} is to run one slot twice: {sorted(slots)}")
        missing = {task.spec for task in assignment.tasks} - set(assignment.specs)
        if missing:
            self._violated(f"{assignment.node} is given tasks without their spec: {missing}")

    def _changer(self, node: Node) -> Callable[[Life], None]:
        def changed(life: Life) -> None:
            self._trace.changed(node.name, life)
            if life.view.id in node.engine.strangers:
                self._as_its_owner_left_it(node, life.view.id)
            else:
                self._starts_once(life)
            if life.view.labels.get("mesh.service") in self._world.alone:
                self._alone_run_once()

        return changed

    def _caller(self, node: Node) -> Callable[[str], None]:
        def called(container: str) -> None:
            known = node.engine.strangers.items()
            if (stranger := next((key for key, view in known if container in (key, view.name)), "")) != "":
                self._touched(node, stranger)
            if self._world.guarded is not None:
                self._world.guarded.look(self._violated)

        return called

    def look_at_engines(self) -> None:
        """What must hold on every engine at any time."""
        for _, node in sorted(self._world.nodes.items()):
            for stranger in sorted(node.engine.strangers):
                self._as_its_owner_left_it(node, stranger)
            for life in node.engine.lives.values():
                if life.view.id not in node.engine.strangers:
                    self._starts_once(life)
        if self._world.alone:
            self._alone_run_once()
        if self._world.guarded is not None:
            self._world.guarded.look(self._violated)
        if self._world.running_on is not None:
            self._world.running_on.look(self._violated)

    def _starts_once(self, life: Life) -> None:
        if life.view.ended:
            self._ended.add(life.view.id)
        elif life.view.alive and life.view.id in self._ended:
            self._violated(f"{life.view.name} had ended and was started again")

    def _as_its_owner_left_it(self, node: Node, stranger: str) -> None:
        life = node.engine.lives.get(stranger)
        if not node.engine.faults.down and (life is None or life.view != node.engine.strangers[stranger]):
            self._touched(node, stranger)

    def _touched(self, node: Node, stranger: str) -> None:
        view = node.engine.strangers.pop(stranger)
        self._violated(f"what is not the mesh's was touched on {node.name}: {view.name}")

    def _alone_run_once(self) -> None:
        now, restored = self._world.now, self._world.restored_at > self._restored_at
        self._restored_at = self._world.restored_at
        for node in self._world.nodes.values():
            faults = node.engine.faults
            until = now + ADOPTED if restored else now + WORKS_AGAIN
            if restored or node.stopped or faults.hang or faults.down:
                open_ = (key for key, life in node.engine.lives.items() if not life.view.ended)
                self._excused.update({key: max(until, self._excused.get(key, 0.0)) for key in open_})
        for (service, slot), lives in self._world.live().items():
            if service in self._world.alone and len(lives) > 1:
                where = ", ".join(f"{life.view.name} on {node}" for node, life in lives)
                if not any(self._excused.get(life.view.id, 0.0) > now for _, life in lives):
                    self._violated(f"slot {slot} of {service} runs twice, and must not: {where}")

    def note(self, what: str) -> None:
        """Somebody else's checker has seen this."""
        self._violated(what)

    def _violated(self, what: str) -> None:
        self.violations.append(f"{self._world.now:10.3f} {what}")

    def raise_if_any(self) -> None:
        """Raises Violated with all that was seen."""
        if self.violations:
            raise Violated("\n".join(self.violations[:10]))


def records(world: World) -> dict[str, Any]:
    """Services, rollouts and members as the state stream has them, by key."""
    kinds = {"service.": ServiceRecord, "rollout.": RolloutRecord, "node.": NodeRecord}
    found = {}
    for key, entry in world.broker.state.existing().entries.items():
        for prefix, kind in kinds.items():
            if key.startswith(prefix) and entry.value is not None:
                found[key] = decode(entry.value, kind)
    return found


def wanted(world: World, unplaceable: frozenset[str] = frozenset()) -> dict[str, int]:
    """How many live containers each service is to have, by the intent that is stored."""
    counts = {}
    for key, record in records(world).items():
        if key.startswith("service.") and record.name not in unplaceable:
            on_each = len(world.nodes) if record.mode == "global" else record.replicas
            counts[record.name] = 0 if record.removed else on_each
    return counts


def unsettled(world: World, ended: frozenset[str]) -> str:
    """Why the mesh is not (yet) as it is wanted; "" if it is. `ended`: services whose tasks may end by themselves."""
    live, want = world.live(), wanted(world)
    unknown = world.forgotten - want.keys()  # it runs on: an alarm, no decision
    live = {key: lives for key, lives in live.items() if key[0] not in unknown}
    doubled = {key: [node for node, _ in lives] for key, lives in live.items() if len(lives) > 1}
    if doubled:
        return f"slots run twice: {doubled}"
    counts: dict[str, int] = dict.fromkeys(want, 0)
    for service, _slot in live:
        counts[service] = counts.get(service, 0) + 1
    off = {name: (counts[name], want.get(name, 0)) for name in sorted(counts) if name not in ended}
    wrong = {name: pair for name, pair in off.items() if pair[0] != pair[1]}
    return f"running and wanted differ: {wrong}" if wrong else ""
