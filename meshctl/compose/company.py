"""`x-mesh.placement`: beside which services a task is placed, and away from which; spread in short."""

from __future__ import annotations

import difflib

from msgspec.structs import replace

from meshctl.compose.cursor import At
from meshctl.compose.deploy import spread_key
from meshctl.compose.problems import quote
from meshctl.compose.project import Project
from meshctl.compose.scalars import text
from schemas.spec import Mode, Placement
from schemas.subjects import is_token


def read_company(name: str, service: At, placement: Placement, project: Project, mode: Mode) -> Placement:
    """The placement with what x-mesh.placement adds."""
    at = service.dig("x-mesh", "placement")
    if at is None:
        return placement
    near, away, spread = at.get("affinity"), at.get("anti_affinity"), at.get("spread")
    for given in (near, away):
        if given is not None and mode == "global":
            given.refuse("a global service has one task on each node", "remove it, or use constraints")
    if spread is not None and placement.spread:
        spread.refuse("`deploy.placement.preferences` says it, too", "keep one of the two")
    affinity, avoids = _services(near, project), _services(away, project)
    own = f"{project.stack}_{name}"
    if near is not None and own in affinity:
        near.refuse("a service can't wait for itself to be on a node", "remove it")
    if near is not None and (both := set(affinity) & set(avoids)):
        near.refuse(f"{quote(min(both))} is avoided, too", "keep one of the two")
    keys = tuple(key for each in (spread.elements() if spread else ()) if (key := spread_key(each)))
    return replace(placement, affinity=affinity, anti_affinity=avoids, spread=placement.spread or keys)


def _services(at: At | None, project: Project) -> tuple[str, ...]:
    found = (_service(each, project) for each in at.one_or_more()) if at is not None else ()
    return tuple(dict.fromkeys(name for name in found if name))


def _service(at: At, project: Project) -> str:
    """The full name: of a service of the files, or given as it is in the mesh."""
    name = text(at)
    if name in project.declared:
        return f"{project.stack}_{name}"
    if "_" in name and is_token(name):
        return name
    near = difflib.get_close_matches(name, project.declared, n=1)
    how = f"did you mean {quote(near[0])}?" if near else "name one of these files, or of the mesh as STACK_SERVICE"
    at.refuse(f"there is no service {quote(name)}", how)
    return ""
