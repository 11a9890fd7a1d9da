"""`depends_on`: which services must have got how far before a task is started; circles are told with their place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from meshctl.compose.cursor import At
from meshctl.compose.problems import quote
from meshctl.compose.project import Project
from meshctl.compose.scalars import chosen, text, truth
from meshctl.compose.tree import is_null
from schemas.spec import Condition, Dependency, RestartPolicy

_CONDITIONS: dict[str, Condition] = {
    "service_started": "service_started",
    "service_healthy": "service_healthy",
    "service_completed_successfully": "service_completed_successfully",
}
_COMPLETES = "service_completed_successfully"


def read_depends_on(name: str, service: At, project: Project) -> tuple[Dependency, ...]:
    """What the service `name` waits for, by name."""
    found: dict[str, Dependency] = {}
    for other, at in _named(service):
        dependency = _dependency(other, at, project)
        if other == name:
            at.refuse("a service can't depend on itself", "remove it")
        elif other in project.enabled:
            found[other] = dependency
        elif not dependency.required:
            at.warn(f"{quote(other)} is not deployed, and not required: it is not waited for")
        elif other in project.declared:
            at.refuse(
                f"{quote(other)} is left out by its profile", "enable it with --profile, or write required: false"
            )
        else:
            near = difflib.get_close_matches(other, project.declared, n=1)
            how = f"did you mean {quote(near[0])}?" if near else "name a service of these files"
            at.refuse(f"there is no service {quote(other)}", how)
    return tuple(found[other] for other in sorted(found))


def awaited(services: Iterable[tuple[str, At]]) -> frozenset[str]:
    """The services that some other waits for to complete."""
    return frozenset(
        other
        for _, service in services
        for other, at in _named(service)
        if (condition := at.get("condition")) is not None and _plain(condition) == _COMPLETES
    )


def restart_of_awaited(name: str, service: At, policy: RestartPolicy, project: Project) -> RestartPolicy:
    """The restart policy of a service that may be waited for to complete: such a one is not restarted by default."""
    if name not in project.awaited or policy.condition != "any":
        return policy
    given = service.get("restart") or service.dig("deploy", "restart_policy")
    if given is not None:
        given.refuse("a service that is waited for to complete is restarted whenever it ends", 'use on-failure or "no"')
        return policy
    service.warn("it is waited for to complete: it is not restarted once it has ended", 'write restart: "no"')
    return RestartPolicy(condition="none", max_delay=policy.max_delay, reset_after=policy.reset_after)


def check_circles(services: Mapping[str, At]) -> None:
    """Refuse services that wait for each other in a circle, where the circle closes."""
    done: set[str] = set()

    def follow(name: str, chain: tuple[str, ...]) -> None:
        for other, at in _named(services[name]):
            if other in chain and other != name:
                circle = (*chain[chain.index(other) :], other)
                at.refuse("services wait for each other in a circle: " + " -> ".join(circle), "break it")
            elif other in services and other not in done and other not in chain:
                follow(other, (*chain, other))
        done.add(name)

    for name in services:
        if name not in done:
            follow(name, (name,))


def _named(service: At) -> Iterable[tuple[str, At]]:
    """Each dependency with its place: of the mapping its key, of the list its item."""
    at = service.get("depends_on")
    if at is None:
        return
    if at.is_mapping:
        yield from at.entries()
        return
    for item in at.elements():
        if name := text(item):
            yield name, item


def _dependency(other: str, at: At, project: Project) -> Dependency:
    if at.is_mapping:
        condition = chosen(at.get("condition"), tuple(_CONDITIONS), "service_started")
        restart, required = truth(at.get("restart")), truth(at.get("required"), default=True)
    else:
        condition, restart, required = "service_started", False, True
        if is_null(at.node):
            at.refuse("names no condition", "write `condition: service_started` under it")
    return Dependency(
        service=f"{project.stack}_{other}",
        condition=_CONDITIONS.get(condition, "service_started"),
        restart=restart,
        required=required,
    )


def _plain(at: At) -> str:
    return getattr(at.node, "text", "")
