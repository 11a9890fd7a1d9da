"""Subjects against patterns, as NATS has it: tokens between dots, `*` is one token, a last `>` is one or more."""

from __future__ import annotations


def matches(pattern: str, subject: str) -> bool:
    """Whether `subject` (literal) is one of those that `pattern` names."""
    if pattern in (subject, ">"):
        return True
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        if len(given) < len(wanted):
            return False
        wanted = wanted[:-1]
    elif len(wanted) != len(given):
        return False
    return all(token in ("*", given[index]) for index, token in enumerate(wanted))
