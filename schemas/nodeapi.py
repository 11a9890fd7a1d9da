"""Requests to one node's agent (`mesh.node.<node>.<verb>`), by controllers and operators. Answers come in a `Reply`.

Paged: whoever asks gets one answer for each page and asks for the next with the cursor it was given.
`NODE_REQUESTS` is the whole list: verb -> (request, answer).
"""

from __future__ import annotations

from schemas.assignment import Applied, Assignment
from schemas.drift import AskDrift, DriftReport
from schemas.network import AllocationRecord, PublishRecord
from schemas.wire import Bytes, Count, Seconds, Token, Wire

CHUNK = 512 * 1024
"""Bytes of an image in one message (below the server's max_payload of 4 MB with room for base64)."""


class ResolveImage(Wire, frozen=True, kw_only=True):
    """image_resolve: what `image` is on this node. `pull` "never": only look at what is there."""

    image: str
    platform: str = ""
    pull: str = "missing"


class ResolvedImage(Wire, frozen=True, kw_only=True):
    """`image_id`: registry digest "name@sha256:..." or config digest "sha256:..."; "" with `error`: not to be had."""

    node: str
    image_id: str = ""
    present: bool = False
    error: str = ""


class ListImages(Wire, frozen=True, kw_only=True):
    """image_list."""


class ImageView(Wire, frozen=True, kw_only=True):
    """An image on a node."""

    image_id: str
    tags: tuple[str, ...] = ()
    size: Bytes = 0
    created: Seconds = 0.0


class ImageList(Wire, frozen=True, kw_only=True):
    """The answer to image_list."""

    node: str
    images: tuple[ImageView, ...]


class LoadChunk(Wire, frozen=True, kw_only=True):
    """image_load: chunk `index` of transfer `transfer`. The last has `last` and the archive's SHA-256."""

    transfer: str
    index: Count
    data: bytes
    last: bool = False
    sha256: str = ""


class LoadAnswer(Wire, frozen=True, kw_only=True):
    """`received`: chunks so far, in order. After the last: the references that the archive held."""

    received: Count
    images: tuple[str, ...] = ()


class ReadLogs(Wire, frozen=True, kw_only=True):
    """logs: one page of a task's log. An empty cursor starts at `tail` lines from the end (-1: at the beginning)."""

    task: str
    cursor: str = ""
    tail: int = -1
    since: Seconds = 0.0
    wait: Seconds = 0.0
    """Seconds that the agent may wait for a first line when there is none yet (follow)."""


class LogLine(Wire, frozen=True, kw_only=True):
    """One line. `at`: RFC 3339 as the engine has it."""

    at: str
    text: str
    stream: str = "stdout"


class LogPage(Wire, frozen=True, kw_only=True):
    """`cursor`: for the next page. `ended`: no further line will come."""

    lines: tuple[LogLine, ...] = ()
    cursor: str = ""
    ended: bool = False


class RemoveVolume(Wire, frozen=True, kw_only=True):
    """volume_remove: refused while a container uses it."""

    name: str


class ReadAssignment(Wire, frozen=True, kw_only=True):
    """assignment: what this agent obeys. `observe`: also store the observation anew, since the stored one was lost."""

    observe: bool = False


class AssignmentView(Wire, frozen=True, kw_only=True):
    """The answer to assignment. `assignment` None: this agent has never obeyed one."""

    node: Token
    instance: str
    mesh_id: str
    boot: str = ""
    applied: Applied = Applied()
    assignment: Assignment | None = None
    labels: dict[str, str] = {}
    """With which the agent joined."""
    allocations: dict[Token, AllocationRecord] = {}
    """What it holds of the networks that it has to do with, as the leader has allotted them."""
    allotted: dict[Token, Count] = {}
    """The sequence of each of these."""
    publish: PublishRecord = PublishRecord()
    published: Count = 0
    """The sequence of that."""
    networks_known: Count = 0
    """The highest sequence of all that it holds of networks: what is told it later has to be above."""
    up: dict[str, Seconds] = {}
    """Task -> the longest time for which this agent has seen it up without a break; by a clock that is never set."""


class Diagnose(Wire, frozen=True, kw_only=True):
    """doctor: try what the node's networks rely on, here and towards the nodes `peers`."""

    peers: tuple[Token, ...] = ()


class Finding(Wire, frozen=True, kw_only=True):
    """One thing that was tried. `why` and `hint`: what is wrong and what helps; "" where all is well."""

    check: str
    """machine, port 4789, mtu, names, overlap, tunnel, publish, ..."""
    peer: str = ""
    """The other node; "": it is about this one alone."""
    network: str = ""
    ok: bool = True
    why: str = ""
    hint: str = ""


class Diagnosis(Wire, frozen=True, kw_only=True):
    """The answer to doctor."""

    node: Token
    findings: tuple[Finding, ...] = ()


class Done(Wire, frozen=True, kw_only=True):
    """It was done."""

    node: str = ""


NODE_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "image_resolve": (ResolveImage, ResolvedImage),
    "image_list": (ListImages, ImageList),
    "image_load": (LoadChunk, LoadAnswer),
    "logs": (ReadLogs, LogPage),
    "volume_remove": (RemoveVolume, Done),
    "doctor": (Diagnose, Diagnosis),
    "drift": (AskDrift, DriftReport),
    "assignment": (ReadAssignment, AssignmentView),
}
