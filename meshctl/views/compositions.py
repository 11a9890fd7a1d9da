"""What differs between two revisions of a stack, and what going back to one does, in words. Pure."""

from __future__ import annotations

from meshctl.views.differences import differences
from schemas.stackapi import StackRevisionView, StackRolledBack


def changes_between(old: StackRevisionView, new: StackRevisionView) -> list[str]:
    """A few words for each service that differs: `shop_web 3 -> 4`, `+ shop_db`, `- shop_old`."""
    words: list[str] = []
    for name in sorted({*old.services, *new.services}):
        before, after = old.services.get(name), new.services.get(name)
        if before is None:
            words.append(f"+ {name}")
        elif after is None:
            words.append(f"- {name}")
        elif before.revision != after.revision:
            words.append(f"{name} {before.revision} -> {after.revision}")
        elif before.replicas != after.replicas:
            words.append(f"{name} x{before.replicas} -> x{after.replicas}")
    return words


def differences_between(old: StackRevisionView, new: StackRevisionView) -> list[str]:
    """Lines for each service that differs; both views have to hold their specs."""
    lines: list[str] = []
    for name in sorted({*old.services, *new.services}):
        before, after = old.services.get(name), new.services.get(name)
        if before is None or after is None:
            lines.append(f"+ service {name}" if after is not None else f"- service {name}")
            continue
        changed = differences(old.specs[name], new.specs[name])
        if before.replicas != after.replicas:
            changed.insert(0, f"~ replicas: {before.replicas} -> {after.replicas}")
        if changed:
            lines += [f"~ service {name}: revision {before.revision} -> {after.revision}", *_indented(changed)]
    return lines


def going_back_lines(answer: StackRolledBack) -> list[str]:
    """What a roll-back does, a line for each service; [] if it does nothing."""
    lines: list[str] = []
    for each in answer.services:
        if each.change == "created":
            lines.append(f"  + service {each.service} is brought back: revision {each.revision}")
        elif each.change == "rolled_back":
            before = answer.targets.get(each.service, 0)
            lines.append(f"  ~ service {each.service}: revision {before} -> {each.revision}")
        if each.service in answer.replicas:
            lines.append(f"  ~ service {each.service}: {answer.replicas[each.service]} replicas")
    lines += [f"  - service {name} is removed: the older revision does not have it" for name in answer.pruned]
    if not lines and answer.revision != answer.before:
        return ["  no service differs"]
    if lines:
        lines += [f"    service {each.service} stays" for each in answer.services if each.change == "unchanged"]
    return lines


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
