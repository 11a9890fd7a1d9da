"""Which image a tag means, asked of agents before a revision is written.

Up to three eligible agents are asked; if none of them can get it, more are. Those that have it must agree; a registry's
answer counts only where nobody has it. Nobody can get it: the deploy fails with each node's reason. Nobody to ask: the
image stays unpinned, with a warning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from bus.port import Core
from schemas import subjects
from schemas.errors import ImageUnavailable, MeshError, Refused, Unreachable
from schemas.nodeapi import ResolvedImage, ResolveImage
from schemas.replies import open_reply
from schemas.wire import encode

log = structlog.get_logger()

ASKED_AT_ONCE = 3
ASKED_AT_MOST = 15
ANSWER_WITHIN = 30.0
"""Seconds: an agent may have to ask a registry."""


@dataclass(frozen=True)
class Wanted:
    """An image to be resolved, and the nodes that may be asked, the best first."""

    image: str
    platform: str
    pull: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Pin:
    """What an image is: `image_id` "" leaves it unpinned."""

    image_id: str = ""
    warnings: tuple[str, ...] = ()


@dataclass
class Answers:
    """What nodes said of one image."""

    resolved: list[ResolvedImage] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)
    """Node -> why it did not answer."""

    @property
    def good(self) -> list[ResolvedImage]:
        """The answers of nodes that have the image or can get it."""
        return [each for each in self.resolved if each.image_id]


def judge(image: str, answers: Answers) -> Pin:
    """What the answers come to. Raises Refused (nodes disagree), ImageUnavailable (nobody can get it)."""
    present = [each for each in answers.good if each.present]
    deciding = present or answers.good
    ids = {each.image_id: each.node for each in reversed(deciding)}
    if len(ids) > 1:
        told = ", ".join(f"{each.node} has {_short(each.image_id)}" for each in deciding)
        raise Refused(
            f"image {image} is not the same on all nodes: {told}",
            hint="bring one of them to all nodes with meshctl image push, or name it by digest",
        )
    failed = {each.node: each.error or "no image and no reason given" for each in answers.resolved if not each.image_id}
    if ids:
        return Pin(next(iter(ids)), tuple(f"{node} can't get image {image}: {why}" for node, why in failed.items()))
    if failed:
        raise ImageUnavailable(
            f"no node can get image {image}: {_reasons(image, failed)}",
            hint=f"without a registry: meshctl image push {image} or meshctl image load ARCHIVE brings it to the nodes",
        )
    if answers.silent:
        told = ", ".join(f"{node} ({why})" for node, why in answers.silent.items())
        return Pin(warnings=(f"image {image} is not pinned: no answer from {told}",))
    return Pin(warnings=(f"image {image} is not pinned: no ready node fits, so none was asked",))


def _reasons(image: str, failed: Mapping[str, str]) -> str:
    """Each reason once, with the nodes that gave it: usually all give the same."""
    nodes: dict[str, list[str]] = {}
    for node, why in failed.items():
        nodes.setdefault(why.removeprefix(f"image {image}: "), []).append(node)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in nodes.items())


async def resolve(core: Core, wanted: Wanted) -> Pin:
    """Ask and judge. Raises Refused, ImageUnavailable."""
    answers = Answers()
    for start in range(0, min(len(wanted.nodes), ASKED_AT_MOST), ASKED_AT_ONCE):
        await _ask(core, wanted, wanted.nodes[start : start + ASKED_AT_ONCE], answers)
        if answers.good:
            break
    return judge(wanted.image, answers)


async def resolve_all(core: Core, wanted: Mapping[str, Wanted]) -> dict[str, Pin]:
    """Ask for several at once; by the same keys. Raises the first refusal in the order of the keys."""
    found: dict[str, Pin] = {}
    refused: dict[str, MeshError] = {}

    async def one(key: str, each: Wanted) -> None:
        try:
            found[key] = await resolve(core, each)
        except MeshError as error:
            refused[key] = error

    async with asyncio.TaskGroup() as group:
        for key, each in wanted.items():
            group.create_task(one(key, each), name=f"image {key}")
    for key in sorted(refused):
        raise refused[key]
    return found


async def _ask(core: Core, wanted: Wanted, nodes: Sequence[str], answers: Answers) -> None:
    request = encode(ResolveImage(image=wanted.image, platform=wanted.platform, pull=wanted.pull))

    async def one(node: str) -> None:
        try:
            data = await core.request(subjects.node_request(node, "image_resolve"), request, timeout=ANSWER_WITHIN)
            answers.resolved.append(open_reply(data, ResolvedImage))
        except Unreachable as error:
            answers.silent[node] = error.message
        except MeshError as error:
            answers.resolved.append(ResolvedImage(node=node, error=error.message))

    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(one(node), name=f"ask {node}")
    answers.resolved.sort(key=lambda each: each.node)


def _short(image_id: str) -> str:
    name, _, digest = image_id.rpartition("sha256:")
    return f"{name}sha256:{digest[:12]}" if digest else image_id
