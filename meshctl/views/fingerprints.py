"""In what nodes are alike: what makes a program run on one and fail on another. Pure.

The majority's value of a trait is the one that more than half of all nodes have that tell it, of three or more. A node
is a *snowflake* in a trait if it tells another value than that. Without a majority nobody is odd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from meshctl.format.output import Column, Listing
from schemas.memberapi import NodeView
from schemas.observation import NodeFacts

LEAST = 3
"""Nodes that tell a trait, for a majority."""

COLUMNS = (Column("TRAIT", "Trait"), Column("FIRST", "First"), Column("SECOND", "Second"))


def fingerprint(facts: NodeFacts) -> dict[str, str]:
    """Trait -> value, without those that the node does not tell."""
    traits = {
        "os": facts.os if facts.kernel or facts.architecture else "",
        "architecture": facts.architecture,
        "kernel": facts.kernel,
        "engine": facts.engine_version,
        "agent": facts.agent_version,
        "storage": facts.storage_driver,
        "cgroup": facts.cgroup,
        "security": ", ".join(facts.security),
        **facts.sysctls,
    }
    return {trait: value for trait, value in traits.items() if value}


def majority(prints: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Trait -> the value that more than half of the nodes have that tell it; none for traits told by too few."""
    counts: dict[str, Counter[str]] = {}
    for traits in prints.values():
        for trait, value in traits.items():
            counts.setdefault(trait, Counter())[value] += 1
    found: dict[str, str] = {}
    for trait, values in sorted(counts.items()):
        value, nodes = max(values.items(), key=lambda item: (item[1], item[0]))
        if values.total() >= LEAST and 2 * nodes > values.total():
            found[trait] = value
    return found


def snowflakes(prints: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Node -> the traits in which it is unlike most; only nodes that are so in any."""
    usual = majority(prints)
    odd = {
        node: tuple(trait for trait, value in sorted(traits.items()) if usual.get(trait, value) != value)
        for node, traits in sorted(prints.items())
    }
    return {node: traits for node, traits in odd.items() if traits}


def difference_listing(first: NodeView, second: NodeView) -> Listing:
    """A row for each trait in which they differ; "-" where one does not tell it."""
    left, right = fingerprint(first.facts), fingerprint(second.facts)
    rows = [
        {"Trait": trait, "First": left.get(trait, "-"), "Second": right.get(trait, "-")}
        for trait in dict.fromkeys((*left, *right))
        if left.get(trait) != right.get(trait)
    ]
    columns = (COLUMNS[0], Column(first.node.upper(), "First"), Column(second.node.upper(), "Second"))
    return Listing(columns=columns, rows=rows, key="Trait")
