"""What `network doctor` has found, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshctl.format.output import Column, Listing, Row
from schemas.nodeapi import Diagnosis, Finding


def _colour(row: Row) -> str:
    return "green" if row["Ok"] else "red"


COLUMNS = (
    Column("NODE", "Node"),
    Column("TO", "Peer"),
    Column("NETWORK", "Network"),
    Column("CHECK", "Check"),
    Column("RESULT", "Result", colour=_colour),
)


def diagnosis_listing(diagnoses: Iterable[Diagnosis], silent: Mapping[str, str], *, every: bool) -> Listing:
    """What is broken, or `every` check. `silent`: nodes that did not answer -> why."""
    rows = [
        _row(each.node, finding)
        for each in sorted(diagnoses, key=lambda each: each.node)
        for finding in each.findings
        if every or not finding.ok
    ]
    rows += [_row(node, Finding(check="agent", ok=False, why=why)) for node, why in sorted(silent.items())]
    return Listing(columns=COLUMNS, rows=rows, key="Node")


def hints(diagnoses: Iterable[Diagnosis]) -> tuple[str, ...]:
    """What helps, each once."""
    found = (finding.hint for each in diagnoses for finding in each.findings if not finding.ok and finding.hint)
    return tuple(dict.fromkeys(found))


def summary(diagnoses: Iterable[Diagnosis], silent: Mapping[str, str]) -> str:
    """One line that says how it is."""
    found = [finding for each in diagnoses for finding in each.findings]
    bad = sum(not finding.ok for finding in found) + len(silent)
    nodes = len({each.node for each in diagnoses}) + len(silent)
    if bad:
        return f"{bad} of {len(found) + len(silent)} checks on {nodes} nodes failed"
    if not found:
        return f"no node has a network of the mesh: nothing to check on {nodes} nodes"
    return f"{len(found)} checks on {nodes} nodes: all is well"


def _row(node: str, finding: Finding) -> dict[str, Any]:
    return {
        "Node": node,
        "Peer": finding.peer or "-",
        "Network": finding.network or "-",
        "Check": finding.check,
        "Result": "ok" if finding.ok else finding.why,
        "Ok": finding.ok,
        "Hint": finding.hint,
    }
