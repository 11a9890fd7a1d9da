"""Requests about nodes as members of the mesh, and how one joins; what nodes themselves are asked is in `nodeapi`."""

from __future__ import annotations

from schemas.observation import NodeFacts
from schemas.records import Availability
from schemas.requests import Ask, Command, Written
from schemas.wire import Bytes, Count, Seconds, Token, Wire


class ListNodes(Ask, frozen=True, kw_only=True):
    """node.list."""


class InspectNode(Ask, frozen=True, kw_only=True):
    """node.inspect."""

    node: str


class NodeView(Wire, frozen=True, kw_only=True):
    """A node. `status`: ready | not-ready | down | unknown (not yet heard by this leader)."""

    node: Token
    status: str
    availability: Availability
    labels: dict[str, str] = {}
    facts: NodeFacts = NodeFacts()
    why: str = ""
    since: float = 0.0
    instance: str = ""
    tasks: Count = 0
    running: Count = 0
    reserved_cpus: Seconds = 0.0
    reserved_memory: Bytes = 0
    volumes: tuple[str, ...] = ()
    joined_at: Seconds = 0.0


class NodeList(Wire, frozen=True, kw_only=True):
    """The answer to node.list."""

    nodes: tuple[NodeView, ...]
    controllers: tuple[str, ...] = ()


class UpdateNode(Command, frozen=True, kw_only=True):
    """node.update: None and empty leave as it is."""

    node: str
    availability: Availability | None = None
    force: bool = False
    """With "drain": what can't run elsewhere is ended, too."""
    labels_add: dict[str, str] = {}
    labels_remove: tuple[str, ...] = ()


class RemoveNode(Command, frozen=True, kw_only=True):
    """node.remove: refused while it is not down, unless `force`."""

    node: str
    force: bool = False


class Join(Wire, frozen=True, kw_only=True):
    """agentapi join: bind this node's name to this agent."""

    node: Token
    instance: str
    facts: NodeFacts = NodeFacts()
    labels: dict[str, str] = {}
    boot: str = ""
    """The boot id of its machine; "": not told."""


class Joined(Wire, frozen=True, kw_only=True):
    """Welcome."""

    mesh_id: str
    generation: Count
    sequence: Count


MEMBER_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "node.list": (ListNodes, NodeList),
    "node.inspect": (InspectNode, NodeView),
    "node.update": (UpdateNode, Written),
    "node.remove": (RemoveNode, Written),
}

AGENT_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {"join": (Join, Joined)}
"""What agents may ask of controllers: verb -> (request, answer)."""
