"""What a node says to a placement key: constraints with Docker's case rules, spread keys, platforms.

Keys but for label names, and all values, are compared without case. A label or fact that a node lacks is "": `==`
fails and `!=` holds. A key that Docker does not know fits no node.
"""

from __future__ import annotations

import ipaddress

from controller.nodes import NodeView
from schemas.observation import NodeFacts
from schemas.spec import Constraint

_NODE_LABELS = "node.labels."
_ENGINE_LABELS = "engine.labels."
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def satisfied(constraint: Constraint, view: NodeView) -> bool:
    """Whether the node meets the constraint."""
    if constraint.key.lower() == "node.ip":
        equal = _same_address(constraint.value, view.facts.address)
    else:
        values = values_of(constraint.key, view)
        if not values:
            return False
        equal = constraint.value.casefold() in {value.casefold() for value in values}
    return equal == (constraint.op == "==")


def values_of(key: str, view: NodeView) -> tuple[str, ...]:
    """What the node has under `key`, in all its spellings; () for a key that does not exist."""
    lower = key.lower()
    if lower.startswith(_NODE_LABELS):
        labels = view.record.labels if view.record is not None else {}
        return (labels.get(key[len(_NODE_LABELS) :], ""),)
    if lower.startswith(_ENGINE_LABELS):
        return (view.facts.engine_labels.get(key[len(_ENGINE_LABELS) :], ""),)
    facts = view.facts
    match lower:
        case "node.id":
            return (view.name, view.record.instance if view.record is not None else "")
        case "node.hostname":
            return (view.name, facts.hostname)
        case "node.role":
            return ("manager" if facts.controller else "worker",)
        case "node.ip":
            return (facts.address,)
        case "node.platform.os":
            return (facts.os,)
        case "node.platform.arch":
            return (facts.architecture, architecture(facts.architecture))
        case _:
            return ()


def architecture(name: str) -> str:
    """The name that images use: amd64 for x86_64."""
    return _ARCHITECTURES.get(name.lower(), name.lower())


def platform_fits(platform: str, facts: NodeFacts) -> bool:
    """Whether a node can run images of `platform` ("os[/arch[/variant]]"; "" is any)."""
    if not platform:
        return True
    system, _, rest = platform.lower().partition("/")
    arch = rest.partition("/")[0]
    if system != facts.os.lower():
        return False
    return not arch or architecture(arch) == architecture(facts.architecture)


def _same_address(wanted: str, address: str) -> bool:
    """A single address, or a network that holds it."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False
