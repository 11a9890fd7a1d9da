"""Several files, or a service and the one it extends, become one: Compose's rules.

Mappings are merged; lists are joined without doubles; command, entrypoint and a health check's test are replaced;
environment, labels and their like are merged by name in either spelling; ports, mounts and devices by what they are
for. `!override` replaces, `!reset` takes away.
"""

from __future__ import annotations

from meshctl.compose.scalars import split
from meshctl.compose.tree import BROKEN, OVERRIDE, RESET, Mapping, Node, Scalar, Sequence, is_null

_REPLACED = {"services.*.command", "services.*.entrypoint", "services.*.healthcheck.test"}
_NAMED = {
    "services.*.environment": "=",
    "services.*.labels": "=",
    "services.*.deploy.labels": "=",
    "services.*.sysctls": "=",
    "services.*.annotations": "=",
    "services.*.extra_hosts": "=:",
    "volumes.*.labels": "=",
}
_ONE_OR_MORE = {f"services.*.{key}" for key in ("dns", "dns_search", "dns_opt", "tmpfs", "env_file")}
_BY_KEY = {"services.*.depends_on"}
_ANY_NAME = {"services", "volumes", "networks", "secrets", "configs", "services.*.ulimits"}


def merge(base: Node, over: Node, pattern: str) -> Node:
    """`over` upon `base`, both at the registry's path `pattern`."""
    if over.tag in (OVERRIDE, RESET) or base.tag == RESET:
        return over
    if is_null(over) and not pattern.startswith("services.*.environment."):
        return base
    if pattern in _REPLACED:
        return over
    if pattern in _NAMED:
        base, over = _by_name(base, _NAMED[pattern]), _by_name(over, _NAMED[pattern])
    if pattern in _BY_KEY and isinstance(base, Mapping) != isinstance(over, Mapping):
        base, over = _as_keys(base), _as_keys(over)
    if pattern in _ONE_OR_MORE:
        base, over = _as_list(base), _as_list(over)
    if pattern == "services.*.logging" and _other_driver(base, over):
        return over
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return _merge_mappings(base, over, pattern)
    if isinstance(base, Sequence) and isinstance(over, Sequence):
        return _merge_lists(base, over, pattern)
    return over


def without_tags(node: Node) -> Node:
    """The document without what `!reset` takes away; `!override` has done its work."""
    if isinstance(node, Mapping):
        kept = {key: without_tags(value) for key, value in node.items.items() if value.tag != RESET}
        return Mapping(node.where, kept, {key: node.keys[key] for key in kept}, _done(node.tag))
    if isinstance(node, Sequence):
        return Sequence(
            node.where, tuple(without_tags(item) for item in node.items if item.tag != RESET), _done(node.tag)
        )
    return Scalar(node.where, node.value, node.text, _done(node.tag))


def _done(tag: str) -> str:
    return "" if tag in (OVERRIDE, RESET) else tag


def _merge_mappings(base: Mapping, over: Mapping, pattern: str) -> Mapping:
    items, keys = dict(base.items), dict(base.keys)
    for key, node in over.items.items():
        child = "*" if pattern in _ANY_NAME else key
        if key in items:
            node = merge(items[key], node, f"{pattern}.{child}" if pattern else child)
        items[key], keys[key] = node, over.keys[key]
    return Mapping(over.where, items, keys, BROKEN if BROKEN in (base.tag, over.tag) else "")


def _merge_lists(base: Sequence, over: Sequence, pattern: str) -> Sequence:
    merged: dict[object, Node] = {}
    for number, node in enumerate((*base.items, *over.items)):
        identity = _identity(node, pattern)
        merged[number if identity is None else identity] = node
    return Sequence(over.where, tuple(merged.values()))


def _identity(node: Node, pattern: str) -> object | None:
    """What makes two items of a list the same thing; None: nothing does."""
    if isinstance(node, Mapping):
        fields = {
            "services.*.volumes": ("target",),
            "services.*.devices": ("target",),
            "services.*.ports": ("host_ip", "target", "published", "protocol"),
            "services.*.env_file": ("path",),
        }.get(pattern)
        return tuple(_text(node.items.get(field)) for field in fields) if fields else None
    text = _text(node)
    if pattern in ("services.*.volumes", "services.*.devices", "services.*.tmpfs"):
        parts = text.split(":")
        target = parts[0] if pattern.endswith("tmpfs") or len(parts) == 1 else parts[1]
        return (target,)
    return (text,)


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, Scalar) else ""


def _by_name(node: Node, separators: str) -> Node:
    """A list of `name=value` as a mapping; anything else as it is, for its reader to judge."""
    if not isinstance(node, Sequence) or not all(isinstance(item, Scalar) for item in node.items):
        return node
    items: dict[str, Node] = {}
    for item in node.items:
        name, sign, value = split(_text(item), separators)
        items[name] = Scalar(item.where, value if sign else None, value, item.tag)
    return Mapping(node.where, items, {name: item.where for name, item in items.items()}, node.tag)


def _as_keys(node: Node) -> Node:
    """A list of names as a mapping of empty mappings."""
    if not isinstance(node, Sequence) or not all(isinstance(item, Scalar) for item in node.items):
        return node
    items: dict[str, Node] = {_text(item): Mapping(item.where, {}, {}) for item in node.items}
    return Mapping(node.where, items, {_text(item): item.where for item in node.items}, node.tag)


def _as_list(node: Node) -> Node:
    return Sequence(node.where, (node,)) if isinstance(node, Scalar) and not is_null(node) else node


def _other_driver(base: Node, over: Node) -> bool:
    drivers = [_text(node.items.get("driver")) for node in (base, over) if isinstance(node, Mapping)]
    return all(drivers) and len(set(drivers)) > 1
