"""What ran before a store was made anew runs on: no container is stopped by `meshctl state recover`.

Two promises. Whatever ran and was to run ends only if a leader says so: what is missing from an assignment that the
recovery wrote, or that was made of it, would end without a word. And a leader has no reason to say so of what was
wanted as it ran, when nothing was under way with its service (`Intent.answered`), until somebody wants something else
of its service or node, the node is found silent, or a failure makes the service go back that may (`came_up`).

What ends by itself, with its engine or its machine, or by its lease, is not told to stop by an assignment. A backup
may know a wish that was taken back since, where nothing that runs tells so (`_wanted_otherwise`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from agent.engine.memory_life import Life
from bus.commits import Put, Write
from meshctl.recovery import Found
from schemas.assignment import AssignedTask, Assignment
from schemas.records import LivenessRecord, OrderRecord, RolloutRecord
from schemas.task_ids import lineage
from schemas.wire import decode
from tests.sim.came_up import came_up
from tests.sim.intent import Intent, of_stream
from tests.sim.machines import Node
from tests.sim.world import World


@dataclass(frozen=True)
class Kept:
    """A container that ran when the store was made anew, and was to."""

    container: str
    node: str
    task: AssignedTask
    canary: bool
    """Its service has one, which stands elsewhere where a node is silent, or is drained."""

    def __str__(self) -> str:
        return f"{self.task.id} of {self.task.service} on {self.node} ran before the store was made anew, and"


@dataclass
class RunningOn:
    """Watches over what follows one recovery."""

    world: World
    kept: dict[str, Kept]
    """Container -> what must not end without a word."""
    firm: set[str]
    """Those whose end nobody has a reason to ask for."""
    came_up: frozenset[str] = frozenset()
    """Services that no failure may make go back."""
    asked: set[str] = field(default_factory=set)
    """Tasks whose end a leader has asked for since: the first of each chain of successors."""

    def stored(self, user: str, batch: Sequence[Write], violated: Callable[[str], None]) -> None:
        """A batch of the state stream. What an operator writes is the recovery's own."""
        if user == "operator":
            return
        for write in batch:
            self._excuse(write)
        for write in batch:
            if write.key.startswith("desired.") and isinstance(write, Put):
                self._assigned(decode(write.value, Assignment), violated)

    def look(self, violated: Callable[[str], None]) -> None:
        """Look at the engines."""
        for container, each in list(self.kept.items()):
            engine = self.world.nodes[each.node].engine
            if container in engine.stopped and lineage(each.task.id) not in self.asked:
                violated(f"{each} was stopped, though nobody has asked for its end")
            life = engine.lives.get(container)
            if container in engine.stopped or life is None or not life.view.alive:
                del self.kept[container]
                self.firm.discard(container)

    def _assigned(self, record: Assignment, violated: Callable[[str], None]) -> None:
        why = {lineage(task.id): task.why for task in record.tasks if task.desired == "shutdown"}
        self.asked |= why.keys()
        for container in sorted(self.firm):
            each = self.kept[container]
            if each.node == record.node and lineage(each.task.id) in why:
                self.firm.discard(container)
                life = self.world.nodes[each.node].engine.lives.get(container)
                if life is not None and life.view.alive:
                    violated(f"{each} is to end, for no reason known: {why[lineage(each.task.id)]}")

    def _excuse(self, write: Write) -> None:
        """Somebody wants something else now, or a node is found silent."""
        noun, _, name = write.key.partition(".")
        moved: set[str] = set()
        if noun == "liveness" and isinstance(write, Put) and decode(write.value, LivenessRecord).verdict != "ready":
            noun = "node"
        elif noun == "rollout" and isinstance(write, Put) and decode(write.value, RolloutRecord).update.left:
            noun = "service" if name not in self.came_up else ""  # what failed since made it go back
        elif noun == "order" and isinstance(write, Put):
            moved = {move.task for move in decode(write.value, OrderRecord).moves}
        for container in list(self.firm):
            each = self.kept[container]
            its = {"service": each.task.service, "node": each.node}
            if its.get(noun) == name or each.task.id in moved or (noun == "node" and each.canary):
                self.firm.discard(container)


def watch(world: World, truth: Intent, base: Intent, found: Found, *, rebuild: bool = True) -> RunningOn:
    """What must run on. `truth`: what the store wanted before it went; `base`: what it is made anew from.

    A restore (not `rebuild`) goes back on purpose: it may end what it names, but nothing without a word. In an older
    store that nobody took for one a leader may have asked for an end since.
    """
    kept, firm, doubled = {}, set(), _obeyed(found)
    crowded = _crowded(truth, doubled)
    for node, life, task in _running(world, truth):
        kept[life.view.id] = Kept(life.view.id, node.name, task, _has_canary(truth, task.service))
        healthy = life.view.health in ("", "healthy")
        wanted = _wanted(truth, node.name, task) and not _wanted_otherwise(base, found, node.name, task)
        wanted = wanted and doubled[task.service, task.slot] < 2 and task.service not in crowded
        if rebuild and healthy and wanted:
            firm.add(life.view.id)
    ending = {lineage(task.id) for task in of_stream(world.broker.state.stream).tasks if task.desired == "shutdown"}
    return RunningOn(world, kept, firm, came_up(truth, base, found), ending)


def _obeyed(found: Found) -> Counter[tuple[str, str]]:
    """How many tasks agents obey of each slot: it may have got another one before a leader noticed the older store."""
    held = [view.assignment for view in found.views.values() if view.assignment is not None]
    return Counter((task.service, task.slot) for each in held for task in each.tasks if task.desired == "running")


def _crowded(truth: Intent, obeyed: Counter[tuple[str, str]]) -> set[str]:
    """Services with more slots than wanted, as a node came back with one that was scaled away: which ends is open."""
    slots = Counter(service for service, slot in truth.slots.keys() | obeyed.keys() if slot.isdecimal())
    records = {name: truth.service(name) for name in slots}
    return {name for name, record in records.items() if record and record.replicas < slots[name]}


def _running(world: World, truth: Intent) -> Iterator[tuple[Node, Life, AssignedTask]]:
    """What lives now, and was to run. What must not run twice ends by its lease."""
    for name, node in sorted(world.nodes.items()):
        held = {lineage(task.id): task for task in truth.assigned(name) if task.desired == "running"}
        for life in node.live():
            task = held.get(lineage(life.view.labels["mesh.task"]))
            if task is not None and task.service not in world.alone and life.view.id not in node.engine.stopped:
                yield node, life, task


def _has_canary(truth: Intent, service: str) -> bool:
    record = truth.service(service)
    return record is not None and record.canary > 0


def _wanted(truth: Intent, node: str, task: AssignedTask) -> bool:
    """Whether it was wanted where it is, with nothing under way that would end it."""
    if not truth.answered(task.service) or not truth.in_use(node) or truth.verdict(node) != "ready":
        return False
    return truth.slots[task.service, task.slot] == 1 and task.id not in truth.moving


def _wanted_otherwise(base: Intent, found: Found, node: str, task: AssignedTask) -> bool:
    """Whether the backup knows a wish that was taken back since, with nothing that runs to tell so; or does not know
    what only a silent node runs."""
    service, known = base.service(task.service), lineage(task.id) in base.lineages
    if service is not None and not base.answered(task.service):
        spec = base.spec(task.service, service.target)
        if service.removed or spec is None or spec.hash != task.spec:
            return True
    if f"node.{node}" in base.records and not base.in_use(node) and known:
        return True
    return node in found.silent and not known
