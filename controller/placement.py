"""Where a slot's next task goes: filters first, then the order of `controller.spread`; nodes that keep failing last.

A `Group` places the identical tasks of one service, so that a node is looked at once for all of them. A
slot with a volume goes where the volume is. Every answer carries its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.company import Member, company_miss
from controller.constraints import values_of
from controller.ledger import Needs
from controller.placement_filters import changing_miss, steady_miss
from controller.reasons import Miss, nodes_text
from controller.site import Site
from controller.spread import Branch, Even, Key, Spread, count_branches
from controller.volumes import Pin, Slot, named_volumes
from schemas.spec import ServiceSpec


@dataclass(frozen=True, slots=True)
class Placed:
    """The slot's task goes there."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """No node can take it now. `elsewhere`: it waits for a node that is away, not for room."""

    why: str
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """A task that would make room: where it is, and what it holds there."""

    task: str
    node: str
    needs: Needs


NO_PLACE = Refused("")


class Group:
    """The identical tasks of one service. `counts`: its live tasks by node; `failing`: nodes to try last."""

    def __init__(
        self, site: Site, service: ServiceSpec, spec_hash: str, counts: Mapping[str, int], failing: frozenset[str]
    ) -> None:
        self._site = site
        self._service = service
        self._spec = service.task
        self._needs = site.ledger.needs(spec_hash, service.task)
        self._counts = Counter(counts)
        self._failing = failing
        self._eligible, self._steady = site.eligible(service.task)
        self._used_up: dict[str, Miss] | None = None
        self._orders: Sequence[Spread | Even] | None = None
        self._load: Counter[Branch] = Counter()
        for node, tasks in sorted(counts.items()):
            count_branches(self._load, self._branch(node), tasks)

    def place(self, task: str, slot: Slot, first: str = "", why: str = "") -> Placed | Refused:
        """A node for the slot's next task, which counts there from now on; or why there is none.

        It may be one that is expected only (`NodeView.expected`): then nothing may be given to it yet.

        `first`: where it goes if it can, and `why` there.
        """
        pins = self._pins(slot)
        if first in self._site.nodes and self._miss(first) is None and (not pins or first in self._allowed(pins)):
            found: Placed | Refused = Placed(first, why)
        else:
            found = self._pinned(pins) if pins else self._best()
        if isinstance(found, Placed):
            count_branches(self._load, self._branch(found.node), 1)
            self._take(task, slot.name, found.node)
        return found

    def fits(self, slot: Slot, node: str) -> bool:
        """Whether the slot's next task could go there now, beside what is there."""
        pins = self._pins(slot)
        return node in self._site.nodes and self._miss(node) is None and (not pins or node in self._allowed(pins))

    @property
    def eligible(self) -> tuple[str, ...]:
        """The nodes that are what the spec asks for, and open."""
        return self._eligible

    def branch(self, node: str) -> Branch:
        """The node's values of what the spec is to be spread over, outermost first."""
        return self._branch(node)

    def shift(self, task: str, source: str, target: str) -> None:
        """Count a task on `target` instead of on `source`, where its room is still taken."""
        self._counts[source] -= 1
        self._counts[target] += 1
        member = Member(self._service.name, self._spec.placement.anti_affinity)
        self._site.ledger.take(target, task, self._needs, member)

    def place_on(self, task: str, node: str) -> Placed | Refused:
        """The same for a slot that belongs to one node."""
        if self._miss(node) is not None:
            return self.refusal_on(node)
        self._take(task, node, node)
        return Placed(node, "one on each node")

    def _take(self, task: str, slot: str, node: str) -> None:
        self._counts[node] += 1
        member = Member(self._service.name, self._spec.placement.anti_affinity)
        self._site.ledger.take(node, task, self._needs, member)
        if mounts := named_volumes(self._spec, external=False):
            self._site.volumes.settle(mounts, self._service, slot, node)

    def would_fit(self, slot: Slot, holder: Holder, *, only_here: bool = False) -> Refused | None:
        """Whether the slot's next task had a place if `holder` had ended. Ask when all placing of the round is done."""
        here = self._miss_without(holder)
        if only_here:
            return Refused(nodes_text({here: 1})) if here is not None else None
        if pins := self._pins(slot):
            allowed = self._allowed(pins)
            fits = any((here if node == holder.node else self._miss(node)) is None for node in allowed)
            return None if fits else self._pin_refusal(pins)
        misses = self._misses_now()
        if here is None or len(misses) < len(self._eligible):
            return None
        counted = Counter(misses.values())
        if holder.node in misses:
            counted.subtract([misses[holder.node]])
            counted[here] += 1
        return Refused(nodes_text(+counted + self._steady))

    def next_node(self, slot: Slot, holder: Holder, *, only_here: bool = False) -> str:
        """Where the slot's next task goes once `holder` has ended. Ask after `would_fit`; it counts there then."""
        here = holder.node
        fits = self._miss_without(holder) is None
        alone = self._counts[here] == 1 and here not in self._failing and not self._spec.placement.spread
        if not only_here and not (fits and alone):
            pins = self._pins(slot)
            nodes = self._allowed(pins) if pins else self._eligible
            free = [node for node in nodes if node != here and self._miss(node) is None]
            if fits:
                free.append(here)
            here = min(free, key=lambda node: self._preference(node, holder.node), default=here)
        self._counts[holder.node] -= 1
        self._counts[here] += 1
        return here

    def _preference(self, node: str, holder: str) -> tuple[object, ...]:
        """Less is better; the holder's own node wins where it is as good as another."""
        own = 1 if node == holder else 0
        branch = self._branch(node)
        loads = tuple(self._load[branch[: depth + 1]] - own for depth in range(len(branch)))
        return (
            node in self._failing,
            loads,
            self._counts[node] - own,
            not own,
            self._site.ledger.room(node).tasks,
            node,
        )

    @property
    def alike(self) -> bool:
        """Whether no slot has a volume of its own: what is refused to one is refused to all."""
        return not any(mount.kind == "volume" and mount.source for mount in self._spec.container.mounts)

    def refusal(self, slot: Slot) -> Refused:
        """Why the slot has no place. Ask when all placing of the round is done."""
        if pins := self._pins(slot):
            return self._pin_refusal(pins)
        return Refused(nodes_text(Counter(self._misses_now().values()) + self._steady))

    def refusal_on(self, node: str) -> Refused:
        """The same for a slot that belongs to one node."""
        miss = self._miss(node)
        return Refused(nodes_text({miss: 1}) if miss is not None else "")

    def finish(self) -> None:
        """All tasks of the group are placed."""
        for order in self._orders or ():
            order.finish()

    # one node

    def _miss(self, node: str) -> Miss | None:
        """Why the node can't take one now."""
        view = self._site.nodes.get(node)
        steady = steady_miss(self._spec, view) if view is not None else None
        return steady or self._changing(node)

    def _changing(self, node: str) -> Miss | None:
        room = self._site.ledger.room(node)
        miss = company_miss(self._service.name, self._spec.placement, room.company)
        most = self._spec.placement.max_per_node
        return miss or changing_miss(room, self._needs, self._counts[node], most, self._site.limit)

    def _miss_without(self, holder: Holder) -> Miss | None:
        view = self._site.nodes[holder.node]
        if (miss := steady_miss(self._spec, view)) is not None:
            return miss
        room = self._site.ledger.room(holder.node).without(holder.task, holder.needs)
        most = self._spec.placement.max_per_node
        miss = company_miss(self._service.name, self._spec.placement, room.company)
        return miss or changing_miss(room, self._needs, self._counts[holder.node] - 1, most, self._site.limit)

    def _misses_now(self) -> dict[str, Miss]:
        """What is used up on each node that is eligible."""
        if self._used_up is None:
            misses = ((node, self._changing(node)) for node in self._eligible)
            self._used_up = {node: miss for node, miss in misses if miss is not None}
        return self._used_up

    # any node

    def _best(self) -> Placed | Refused:
        for order in self._order():
            while (node := order.best()) is not None:
                miss = self._changing(node)
                if miss is None:
                    return Placed(node, self._why(node))
                order.discard(node)
        return NO_PLACE

    def _order(self) -> Sequence[Spread | Even]:
        """First the nodes where the service holds, then those where it keeps failing."""
        if self._orders is None:
            failing = [node for node in self._site.in_question(self._spec) if node in self._failing]
            self._orders = (self._usual_order(), Spread(failing, self._branch, self._key, self._load))
        return self._orders

    def _usual_order(self) -> Spread | Even:
        if not self._spec.placement.spread:
            return Even(self._site.shelf(self._spec), self._key, self._failing)
        nodes = [node for node in self._site.in_question(self._spec) if node not in self._failing]
        return Spread(nodes, self._branch, self._key, self._load)

    def _branch(self, node: str) -> Branch:
        view = self._site.nodes.get(node)
        if view is None:
            return ()
        return tuple("".join(values_of(key, view)[:1]) for key in self._spec.placement.spread)

    def _key(self, node: str) -> Key:
        return (self._counts[node], self._site.ledger.room(node).tasks, node)

    def _why(self, node: str) -> str:
        total = len(self._eligible) + self._steady.total()
        same, tasks, _ = self._key(node)
        last = ", though it keeps failing there" if node in self._failing else ""
        fit = f"{len(self._eligible)} of {total} nodes fit"
        return f"{fit}; fewest tasks of the service ({same}) and in all ({tasks}){last}"

    # pinned by volumes

    def _pins(self, slot: Slot) -> tuple[Pin, ...]:
        return () if self.alike else self._site.volumes.pins(self._spec, slot)

    def _allowed(self, pins: Iterable[Pin]) -> list[str]:
        allowed: set[str] | None = None
        for pin in pins:
            allowed = set(pin.nodes) if allowed is None else allowed & pin.nodes
        return list(self._eligible) if allowed is None else sorted(allowed & self._site.nodes.keys())

    def _pinned(self, pins: tuple[Pin, ...]) -> Placed | Refused:
        fitting = [node for node in self._allowed(pins) if self._miss(node) is None]
        if not fitting:
            return self._pin_refusal(pins)
        node = min(fitting, key=lambda name: (name in self._failing, self._key(name)))
        return Placed(node, "it has " + ", ".join(f"volume {pin.volume}" for pin in pins))

    def _pin_refusal(self, pins: tuple[Pin, ...]) -> Refused:
        """In words: which volume is where, and what is wrong with that node."""
        away = any(self._away(node) for node in self._allowed(pins))
        for pin in pins:
            if not pin.nodes:
                return Refused(f"volume {pin.volume} is external and on no node")
            if len(pin.nodes) == 1:
                node = next(iter(pin.nodes))
                miss = self._miss(node)
                if miss is not None:
                    return Refused(f"volume {pin.volume} is on node {node}, which {miss.which}", away)
        if len(pins) > 1 and not self._allowed(pins):
            parts = (f"{pin.volume} on {', '.join(sorted(pin.nodes))}" for pin in pins)
            return Refused("its volumes are on different nodes: " + "; ".join(parts))
        misses = Counter(miss for node in self._allowed(pins) if (miss := self._miss(node)) is not None)
        return Refused(f"volume {pins[0].volume} is on {nodes_text(misses)}", away)

    def _away(self, node: str) -> bool:
        view = self._site.nodes.get(node)
        return view is not None and view.status in ("down", "unknown")
