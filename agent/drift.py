"""Whether containers are still what their revision says: compared with the plan that they would be made by. Pure.

What is compared is what can be changed without making the container anew: limits (`docker update`), the name,
networks, a pause, Docker's restart policy; and whether the tag of its image names another image by now. A container
that somebody stopped or killed over the engine's API has ended; that this was done by hand is told, too.
"""

from __future__ import annotations

from agent.engine.model import ImageInfo, Setup
from schemas.drift import Difference
from schemas.spec import ContainerSpec

TAG = "image tag"
"""Of no use to replace: a revision's image is pinned."""


STOPPED = Difference(what="state", wanted="running", found="stopped by hand")

END_SLACK = 5.0
"""Seconds beyond the grace in which a signal counts as what has ended a container."""


def differences(wanted: Setup, found: Setup) -> tuple[Difference, ...]:
    """What is not as it was made, in a fixed order."""
    told: list[Difference] = []
    if found.state == "paused":
        told.append(Difference(what="state", wanted="running", found="paused"))
    if found.name != wanted.name:
        told.append(Difference(what="name", wanted=wanted.name, found=found.name))
    for what in ("cpus", "memory", "memory_reservation", "pids"):
        left, right = getattr(wanted, what), getattr(found, what)
        if abs(left - right) > 1e-9:
            words = what.replace("_", " ")
            told.append(Difference(what=words, wanted=_amount(left), found=_amount(right)))
    if found.restart != wanted.restart:
        told.append(Difference(what="restart policy", wanted=wanted.restart, found=found.restart))
    told += [
        Difference(what="network", wanted=network, found="")
        for network in sorted(set(wanted.networks) - set(found.networks))
    ]
    told += [
        Difference(what="network", wanted="", found=network)
        for network in sorted(set(found.networks) - set(wanted.networks))
    ]
    return tuple(told)


def moved_tag(spec: ContainerSpec, runs: str, named: ImageInfo | None) -> tuple[Difference, ...]:
    """Whether `spec`'s tag names another image here than the one that the task runs."""
    if "@" in spec.image or spec.image.startswith("sha256:") or named is None or not runs or named.id == runs:
        return ()
    return (Difference(what=TAG, wanted=f"{spec.image} = {_short(runs)}", found=_short(named.id)),)


def ended_by_hand(signalled: float, ended: float, grace: float) -> bool:
    """Whether a signal by hand at `signalled` (seconds) is what ended a container that has `grace` seconds to end."""
    return signalled > 0 and ended - signalled <= max(grace, 10.0) + END_SLACK


def to_replace(found: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """Those of them that another container would mend."""
    return tuple(each for each in found if each.what != TAG)


def in_words(found: tuple[Difference, ...]) -> str:
    """All of it in one line."""
    return "; ".join(map(str, found))


def _amount(value: float) -> str:
    return f"{value:g}" if value and isinstance(value, float) else str(int(value)) if value else "no limit"


def _short(image: str) -> str:
    return image.removeprefix("sha256:")[:12]
