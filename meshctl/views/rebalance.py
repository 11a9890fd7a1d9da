"""A rebalance in words: what would move, how far it is, what stayed. Pure."""

from __future__ import annotations

from collections import Counter

from schemas.rebalance import RebalanceRecord
from schemas.rebalanceapi import RebalancePlan


def plan_lines(plan: RebalancePlan) -> list[str]:
    """Each move with its reason, and the tasks on each node before and after."""
    if not plan.moves:
        return ["Tasks are spread evenly: nothing to move."]
    lines = [f"{each.service}.{each.slot}: {each.source} -> {each.target}: {each.why}" for each in plan.moves]
    counts = ", ".join(f"{node} {plan.before.get(node, 0)} -> {count}" for node, count in sorted(plan.after.items()))
    lines.append(f"Tasks: {counts}")
    if plan.left_out:
        lines.append(f"{plan.left_out} more would be needed to spread them evenly.")
    return lines


def over(record: RebalanceRecord) -> bool:
    """Whether nothing of it is to come."""
    return not record.active


def progress_line(record: RebalanceRecord) -> str:
    """How many moves are in which state."""
    counts = Counter(each.state for each in record.moves)
    more = ", ".join(f"{counts[state]} {state}" for state in ("moving", "waiting", "skipped") if counts[state])
    return f"{counts['done']} of {len(record.moves)} moved" + (f" ({more})" if more else "")


def skipped_lines(record: RebalanceRecord) -> list[str]:
    """What stayed where it was, and why."""
    return [
        f"  {each.move.service}.{each.move.slot} stays on {each.move.source}: {each.why}"
        for each in record.moves
        if each.state == "skipped"
    ]
