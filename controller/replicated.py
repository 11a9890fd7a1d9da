"""Which slots a replicated service should have: as many as its replicas, numbered from 1, lowest free number first.

When there are more than wanted, those that do not run go first, then those on nodes with most tasks of the service,
then the highest number.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict

from controller.work import Work, slot_key

_UP, _PENDING, _LOST, _WAITING, _ENDING = range(5)


def wanted_slots(work: Work) -> tuple[str, ...]:
    """The slots to keep or make, in order."""
    known: dict[int, list[str]] = defaultdict(list)
    for slot in sorted({*work.slots, *work.histories}, key=slot_key):
        if (rank := _rank(work, slot)) is not None:
            known[rank].append(slot)
    surplus = sum(map(len, known.values())) - work.aim.replicas
    for rank in (_ENDING, _WAITING, _LOST):
        while surplus > 0 and known[rank]:
            known[rank].pop()
            surplus -= 1
    if surplus > 0:
        kept = Counter(_node(work, slot) for rank in (_UP, _PENDING) for slot in known[rank])
        for rank in (_PENDING, _UP):
            fewer = min(surplus, len(known[rank]))
            known[rank] = _crowded_last(work, known[rank], kept, fewer)
            surplus -= fewer
    chosen = {slot for slots in known.values() for slot in slots}
    number = 0
    while len(chosen) < work.aim.replicas:
        number += 1
        chosen.add(str(number))
    return tuple(sorted(chosen, key=slot_key))


def _rank(work: Work, slot: str) -> int | None:
    """How worth keeping a slot is; None: there is nothing of it."""
    lives = {task.life for task in work.tasks(slot)}
    if "up" in lives:
        return _UP
    if work.history(slot).retired:
        return _ENDING if lives & {"pending", "ended", "ending"} else None
    if lives & {"pending", "ended"}:
        return _PENDING
    if any(task.life == "lost" and _meant_to_run(work, slot) for task in work.tasks(slot)):
        return _LOST
    return _WAITING if slot in work.histories or "ending" in lives else None


def _meant_to_run(work: Work, slot: str) -> bool:
    return any(task.assigned is not None and task.assigned.desired == "running" for task in work.tasks(slot))


def _node(work: Work, slot: str) -> str:
    task = work.current(slot)
    return task.node if task is not None else ""


def _crowded_last(work: Work, slots: list[str], kept: Counter[str], fewer: int) -> list[str]:
    """`slots` without `fewer` of them, each time one from the node that has most in `kept`."""
    by_node: dict[str, list[str]] = defaultdict(list)
    for slot in slots:
        by_node[_node(work, slot)].append(slot)
    order = [_crowding(node, by_node, kept) for node in by_node]
    heapq.heapify(order)
    for _ in range(fewer):
        node = heapq.heappop(order)[-1]
        by_node[node].pop()
        kept[node] -= 1
        if by_node[node]:
            heapq.heappush(order, _crowding(node, by_node, kept))
    return [slot for remaining in by_node.values() for slot in remaining]


def _crowding(node: str, by_node: dict[str, list[str]], kept: Counter[str]) -> tuple[int, int, str, str]:
    _, number, name = slot_key(by_node[node][-1])
    return (-kept[node], -number, name, node)
