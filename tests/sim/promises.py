"""What rollouts, drains and rebalances promise, checked at each decision by what the streams show (`tests.sim.shown`).

A leader says why it ends a task; that says which promise holds. Only what was up when its end was asked for counts, and
was known to be: what machines do to tasks is no decision, and what came up since a leader looked is not in one. Nor is
what people took back since: it is carried out as if they had not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from agent.local import is_successor
from bus.commits import Committed, Outcome, Write
from controller.availability import bearable
from schemas import subjects
from schemas.assignment import AssignedTask
from schemas.records import RolloutRecord
from schemas.spec import UpdatePolicy
from tests.sim.shown import Ended, Shown
from tests.sim.world import World

UPDATE, MOVE, LEAVE = "replaced by revision", "moves to node", "node "

ROOM = 10.0
"""Seconds after which a slot that was taken down and has no task counts as waiting for room, and holds nothing up."""


class PromiseWatch:
    """Watches the decisions of one world's leaders."""

    def __init__(self, world: World, violated: Callable[[str], None]) -> None:
        self._world = world
        self._violated = violated
        self._shown = Shown(world)
        self._taken: dict[str, dict[str, float]] = defaultdict(dict)
        """Service -> slots that were taken down by a decision, and when."""
        self._back_to: dict[tuple[str, int], int] = {}
        """Service and deploy -> the revision to which a roll-back by itself must go."""
        self._anew = False
        """The store is being made anew: what it is told then is no decision."""
        self.seen: Counter[str] = Counter()
        """How often each kind of decision was looked at."""

    def stored(self, batch: Sequence[Write], outcome: Outcome) -> None:
        """A batch of the state stream. A store made anew gets the mesh's record last, be it all that it gets."""
        if subjects.MESH not in self._world.broker.state.existing().entries:
            self._anew = True
        elif self._anew or any(write.key == subjects.MESH for write in batch):
            self._begin_again()
        elif isinstance(outcome, Committed):
            self._decided(batch, outcome)

    def _begin_again(self) -> None:
        """The store is made anew: what is in it is what the next decision goes by."""
        self._anew = False
        self._shown.read_again()
        self._taken.clear()
        self._back_to.clear()

    def _decided(self, batch: Sequence[Write], outcome: Committed) -> None:
        self._forget_what_came_up()
        before = {write.key: self._shown.records.get(write.key) for write in batch}
        ended, added = self._shown.stored(batch, outcome)
        for service in sorted({each.task.service for each in ended}):
            self._availability(service, [each for each in ended if each.task.service == service])
        added = [task for task in added if not is_successor(task.id)]  # their node has started those by itself
        for service in sorted({task.service for task in added}):
            self._surge(service, [task for task in added if task.service == service])
        for task in added:
            self._follows(task)
        for each in ended:
            if each.why.startswith(MOVE):
                self._ordered(each)
        for write in batch:
            record, was = self._shown.records.get(write.key), before[write.key]
            if isinstance(record, RolloutRecord) and (was is None or isinstance(was, RolloutRecord)):
                self._rollback(was, record)

    def observed(self, batch: Sequence[Write]) -> None:
        """A batch of the stream of observations."""
        self._shown.observed(batch)

    # how many may be down

    def _availability(self, service: str, ended: Sequence[Ended]) -> None:
        shown, rollout = self._shown, self._shown.rollout(service)
        policy = shown.policy(rollout) if rollout is not None else None
        if rollout is None or policy is None:
            return
        taken = [each for each in ended if self._takes_down(each, ended)]
        if not taken:
            return
        down = self._down(rollout)
        for each in taken:
            kind = next((kind for kind in (UPDATE, MOVE, LEAVE) if each.why.startswith(kind)), "")
            self.seen[kind] += 1
            followed = not self._needs_none(rollout, each.task.slot) and not self._alone(each)
            if kind == UPDATE and policy.order == "start-first" and followed:
                self._violated(f"{each.task.id} of {service} is ended before its next one is up, with start-first")
            elif kind == LEAVE and not self._may_leave(each, policy):
                self._violated(f"{each.task.id} of {service} leaves a drained node before its next one is up")
            if kind in (UPDATE, MOVE):
                down.add(each.task.slot)
                self._taken[service][each.task.slot] = self._world.now
        down -= {slot for slot, history in rollout.slots.items() if history.retired}
        limit = policy.parallelism or rollout.wanted
        if len(down) > max(1, limit):
            self._violated(f"{service}: slots {sorted(down)} are down at the same time, parallelism is {limit}")
        if any(not self._exempt(each) for each in taken):
            slots = {each.task.slot for each in taken}
            self._unavailable(rollout, policy, {slot for slot in slots if not self._needs_none(rollout, slot)})

    def _takes_down(self, each: Ended, ended: Iterable[Ended]) -> bool:
        """Whether its slot has nothing else that may be taken for up.

        What leaves a node does not, if its next one was up and ends in the same decision, since the slot's turn in an
        update has come: that takes the slot down.
        """
        if not self._shown.known_up(each) or not each.why.startswith((UPDATE, MOVE, LEAVE)):
            return False
        others = (task for _, task in self._shown.running(each.task.service) if task.slot == each.task.slot)
        turns = (other for other in ended if other.task.slot == each.task.slot and other.why.startswith(UPDATE))
        if each.why.startswith(LEAVE) and any(self._shown.heard_up(other) for other in turns):
            return False
        return not any(self._shown.was_up(task.id) for task in others)

    def _forget_what_came_up(self) -> None:
        """Before a decision, which may end it again: a slot that came up since it was taken down was not left so."""
        for service, taken in self._taken.items():
            for _, task in self._shown.running(service) if taken else ():
                if self._shown.was_up(task.id):
                    taken.pop(task.slot, None)

    def _down(self, rollout: RolloutRecord) -> set[str]:
        """Slots that were taken down, and neither came up, nor failed, nor need a task, nor wait for what is away."""
        service, taken = rollout.service, self._taken[rollout.service]
        for slot, at in list(taken.items()):
            tasks = [(node, task.id) for node, task in self._shown.running(service) if task.slot == slot]
            waits = not tasks and self._world.now - at > ROOM
            over = any(self._shown.was_up(id_) for _, id_ in tasks) or self._shown.fell.get((service, slot), 0.0) > at
            away = any(not self._shown.ready(node) for node, _ in tasks) or self._waits_for_lease(service, slot)
            if waits or over or away or (not tasks and self._did_its_work(rollout, slot)):
                del taken[slot]
        return set(taken)

    def _waits_for_lease(self, service: str, slot: str) -> bool:
        """Whether what must not run twice is to end on a node that is down: nothing follows for a while."""
        ending = (node for node, task in self._shown.ending(service) if task.slot == slot)
        return service in self._world.alone and any(self._shown.down(node) for node in ending)

    def _did_its_work(self, rollout: RolloutRecord, slot: str) -> bool:
        """Whether its work is done as it is wanted now, and what was of another revision has ended: nothing follows."""
        ending = (node for node, task in self._shown.ending(rollout.service) if task.slot == slot)
        return self._needs_none(rollout, slot) and not any(self._shown.ready(node) for node in ending)

    def _needs_none(self, rollout: RolloutRecord, slot: str) -> bool:
        """Whether its work is done as it is wanted now: it needs no task, whatever still runs."""
        history, spec = rollout.slots.get(slot), self._shown.spec(rollout.service, rollout.revision)
        return history is not None and spec is not None and history.complete == spec.task.hash

    def _unavailable(self, rollout: RolloutRecord, policy: UpdatePolicy, taken: set[str]) -> None:
        borne = bearable(policy.max_unavailable, rollout.wanted, least=1 if policy.order == "stop-first" else 0)
        if borne is None:
            return
        running = self._shown.running(rollout.service)
        up = {task.slot for _, task in running if self._shown.was_up(task.id)} - taken
        up |= {slot for slot, history in rollout.slots.items() if history.complete or history.given_up} - taken
        self.seen["max_unavailable"] += 1
        if rollout.wanted - len(up) > borne:
            self._violated(
                f"{rollout.service}: {sorted(taken)} are taken down, only {len(up)} of {rollout.wanted} are up then, "
                f"and {policy.max_unavailable} may be unavailable"
            )

    def _may_leave(self, each: Ended, policy: UpdatePolicy) -> bool:
        return self._exempt(each) or (bearable(policy.max_unavailable, 100, least=1) or 0) > 0

    def _exempt(self, each: Ended) -> bool:
        """Whether nothing is promised: what must not run twice ends first; so does what an operator forces out."""
        members = self._shown.members(each.node)
        forced = any(member is None or member.removed or member.force for member in members)
        service = self._shown.records.get(f"service.{each.task.service}")
        everywhere = getattr(service, "mode", "") == "global"
        return self._alone(each) or everywhere or (each.why.startswith(LEAVE) and forced)

    def _alone(self, each: Ended) -> bool:
        return each.task.service in self._world.alone

    # how many there may be

    def _surge(self, service: str, added: Sequence[AssignedTask]) -> None:
        shown, rollout = self._shown, self._shown.rollout(service)
        policy = shown.policy(rollout) if rollout is not None else None
        if rollout is None or policy is None:
            return
        running = [(node, task) for node, task in shown.running(service) if shown.ready(node)]
        counts = Counter(task.slot for _, task in running)
        retired = {slot for slot, history in rollout.slots.items() if history.retired}
        service_record = shown.intents.get(rollout.intent)
        self.seen["placed"] += 1
        if service_record is not None and service_record.mode == "replicated":
            slots = {task.slot for _, task in shown.running(service)} - retired
            if len(slots) > rollout.replicas:
                self._violated(f"{service} is given slots {sorted(slots)}, and is to have {rollout.replicas}")
        beside = {task.slot for task in added if counts[task.slot] > 1}
        staying = Counter(task.slot for node, task in running if not self._leaves(node, task))
        if any(staying[slot] > 2 for slot in beside):
            self._violated(f"{service} is given a third task in one of the slots {sorted(beside)}")
        leaving = {task.slot for node, task in running if self._leaves(node, task)}
        surging = {slot for slot, count in counts.items() if count > 1 and slot in rollout.update.turns} - leaving
        extra = max(policy.parallelism or rollout.wanted, service_record.canary if service_record is not None else 0)
        if beside & surging and len(surging) > max(1, extra):
            self._violated(f"{service}: slots {sorted(surging)} run doubled by its update, {extra} may")
        if stray := beside - surging - leaving:
            self._violated(f"{service}: slots {sorted(stray)} are given a second task, and neither move nor surge")

    def _follows(self, task: AssignedTask) -> None:
        """A slot's next task is assigned once the previous one was observed ended, or its node declared down."""
        before = ((node, each) for node, each in self._shown.ending(task.service) if each.slot == task.slot)
        still = sorted(f"{each.id} on {node}" for node, each in before if not self._shown.down(node))
        self.seen["followed"] += 1
        if still:
            self._violated(f"{task.id} of {task.service} is assigned, and {', '.join(still)} was not seen ended")

    def _leaves(self, node: str, task: AssignedTask) -> bool:
        members = self._shown.members(node)
        if any(member is None or member.removed or member.availability == "drain" for member in members):
            return True
        return self._is_ordered(task)

    # what a rebalance does, and where a roll-back ends

    def _is_ordered(self, task: AssignedTask) -> bool:
        return any(move.task == task.id for order in self._shown.orders() for move in order.moves)

    def _ordered(self, each: Ended) -> None:
        if not self._is_ordered(each.task):
            self._violated(f"{each.task.id} of {each.task.service} is moved, and nobody has ordered that")

    def _rollback(self, was: RolloutRecord | None, record: RolloutRecord) -> None:
        key = (record.service, record.deploy)
        if record.update.state == "rollback_started" and record.update.left and key not in self._back_to:
            good = was.good if was is not None else record.good
            self._back_to[key] = good
        intent = self._shown.intents.get(record.intent)
        removed = intent is not None and intent.removed
        if record.update.state == "rollback_completed" and key in self._back_to and not removed:
            self.seen["rollback"] += 1
            if record.revision != self._back_to[key]:
                began = self._back_to[key]
                self._violated(f"the roll-back of {record.service} ended at {record.revision}; it began from {began}")

    def ends_where_it_should(self) -> str:
        """In the end: which service's containers are of another revision than its rollout says; "" if none is."""
        if self._anew:
            return ""
        for (service, _), lives in sorted(self._world.live().items()):
            rollout = self._shown.rollout(service)
            whole = rollout is not None and (rollout.phase == "done" or rollout.update.state == "rollback_completed")
            spec = self._shown.spec(service, rollout.revision) if whole and rollout is not None else None
            for _, life in lives:
                if spec is not None and life.view.labels["mesh.spec"] != spec.task.hash:
                    return f"{life.view.name} is not of revision {rollout.revision if rollout else 0}"
        return ""
