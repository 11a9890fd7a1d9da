"""`extends` within a file: the named service first, then what the extending one says, by the rules of `merge`."""

from __future__ import annotations

import difflib

from meshctl.compose.keys import remedy
from meshctl.compose.merge import merge
from meshctl.compose.problems import Problems, quote
from meshctl.compose.tree import BROKEN, Mapping, Node, Scalar, Where, is_extension

CHAIN_LIMIT = 32
_KEY = "extends"


def extend_services(document: Mapping, problems: Problems) -> Mapping:
    """The document with every `extends` carried out and taken away."""
    services = document.items.get("services")
    if not isinstance(services, Mapping):
        return document
    extended = {name: _resolved(name, services, problems, ()) for name in services.items}
    items = document.items | {"services": Mapping(services.where, extended, services.keys, services.tag)}
    return Mapping(document.where, items, document.keys, document.tag)


def _resolved(name: str, services: Mapping, problems: Problems, chain: tuple[str, ...]) -> Node:
    service = services.items[name]
    if not isinstance(service, Mapping) or _KEY not in service.items:
        return service
    rest = _without(service)
    where, path = service.keys[_KEY], f"services.{name}.{_KEY}"
    base = _base(service.items[_KEY], where, path, problems)
    if not base:
        return _broken(rest)
    if base in (*chain, name) or len(chain) >= CHAIN_LIMIT:
        problems.add(
            where, path, "services extend each other in a circle: " + " -> ".join((*chain, name, base)), "break it"
        )
        return _broken(rest)
    if base not in services.items:
        near = difflib.get_close_matches(base, services.items, n=1)
        problems.add(
            where,
            path,
            f"there is no service {quote(base)} in this file",
            f"did you mean {quote(near[0])}?" if near else "name one that is there",
        )
        return _broken(rest)
    return merge(_resolved(base, services, problems, (*chain, name)), rest, "services.*")


def _base(node: Node, where: Where, path: str, problems: Problems) -> str:
    if isinstance(node, Scalar) and node.text:
        return node.text
    if not isinstance(node, Mapping):
        problems.add(where, path, "names no service", "write the service's name")
        return ""
    if "file" in node.items:
        problems.add(node.keys["file"], f"{path}.file", "`file` is not supported", remedy("services.*.extends.file"))
        return ""
    for key in [key for key in node.items if key != "service" and not is_extension(key)]:
        problems.add(node.keys[key], f"{path}.{key}", f"the key {quote(key)} is not known here", "give `service` alone")
    service = node.items.get("service")
    if not isinstance(service, Scalar) or not service.text:
        problems.add(where, path, "names no service", "write `service: name`")
        return ""
    return service.text


def _without(service: Mapping) -> Mapping:
    items = {key: node for key, node in service.items.items() if key != _KEY}
    return Mapping(service.where, items, {key: service.keys[key] for key in items}, service.tag)


def _broken(service: Mapping) -> Mapping:
    return Mapping(service.where, service.items, service.keys, BROKEN)
