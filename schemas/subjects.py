"""Every stream, bucket, key and subject of the mesh, made in one place.

Names that become a token match `schemas.wire.TOKEN_PATTERN`; nothing here checks it again.
"""

from __future__ import annotations

import re

from schemas.wire import TOKEN_PATTERN

STATE_STREAM = "KV_mesh_state"
OBSERVED_STREAM = "KV_mesh_observed"
EVENT_STREAM = "mesh_events"

STATE_PREFIX = "$KV.mesh_state."
OBSERVED_PREFIX = "$KV.mesh_observed."
STATE_REPUBLISHED = "mesh.state."
OBSERVED_REPUBLISHED = "mesh.observed."

LEADER = "mesh.leader"
CONTROLLER_ALL = "mesh.controller.*"
HEARTBEAT_ALL = "mesh.heartbeat.*"
API_ALL = "mesh.api.>"
API_QUEUE = "mesh-controllers"
AGENT_API_ALL = "mesh.agentapi.>"
EVENT_ALL = "mesh.event.>"
NODE_ALL = "mesh.node.>"

MESH = "mesh"
EPOCH = "election.epoch"
BRAKE = "brake"
REBALANCE = "rebalance"
EVENTS_CURSOR = "events.cursor"
PUBLISH = "endpoints.publish"
ALLOCATION_ALL = "alloc.*"

_TOKEN = re.compile(TOKEN_PATTERN)


def is_token(name: str) -> bool:
    """Whether `name` may be one token of a subject."""
    return _TOKEN.fullmatch(name) is not None


def suggest_token(name: str) -> str:
    """The nearest name that may be a token: lower case, other characters as '-', at most 63; "" if nothing is left."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower())[:63].strip("-_")


def service_key(service: str) -> str:
    """Intent of a service."""
    return f"service.{service}"


def revision_key(service: str, number: int) -> str:
    """An immutable spec of a service."""
    return f"revision.{service}.{number}"


def stack_key(stack: str) -> str:
    """A stack."""
    return f"stack.{stack}"


def stack_revision_key(stack: str, number: int) -> str:
    """What a stack was made up of."""
    return f"stackrev.{stack}.{number}"


def stack_good_key(stack: str) -> str:
    """The leader's list of a stack's good revisions."""
    return f"stackgood.{stack}"


def node_key(node: str) -> str:
    """A member."""
    return f"node.{node}"


def order_key(order: str) -> str:
    """An operator's order."""
    return f"order.{order}"


def rollout_key(service: str) -> str:
    """The leader's progress with a service."""
    return f"rollout.{service}"


def desired_key(node: str) -> str:
    """A node's assignment."""
    return f"desired.{node}"


def liveness_key(node: str) -> str:
    """The leader's verdict of a node."""
    return f"liveness.{node}"


def network_key(network: str) -> str:
    """A network as people want it."""
    return f"network.{network}"


def allocation_key(network: str) -> str:
    """What the leader has allotted to a network."""
    return f"alloc.{network}"


def endpoints_key(network: str, service: str) -> str:
    """Who answers for a service on a network."""
    return f"endpoints.{network}.{service}"


def endpoints_all(network: str) -> str:
    """Pattern: who answers for any service on a network."""
    return f"endpoints.{network}.>"


def network_of(key: str) -> str:
    """The network that an `alloc` or `endpoints` key is about; "": none, or (published ports) all of them."""
    noun, _, rest = key.partition(".")
    network, dot, _ = rest.partition(".")
    return network if noun == "alloc" or (noun == "endpoints" and dot) else ""


def cursor_key(name: str) -> str:
    """The place in the event log of a reader that goes by this name."""
    return f"cursor.{name}"


def heartbeat(node: str) -> str:
    """Where a node's agent sends its heartbeat."""
    return f"mesh.heartbeat.{node}"


def controller(name: str) -> str:
    """Where a controller, leading or not, says that it is there."""
    return f"mesh.controller.{name}"


def api(noun: str, verb: str) -> str:
    """A request to the controllers."""
    return f"mesh.api.{noun}.{verb}"


def agent_api(node: str, verb: str) -> str:
    """An agent's request to the controllers."""
    return f"mesh.agentapi.{node}.{verb}"


def node_request(node: str, verb: str) -> str:
    """A request to a node's agent."""
    return f"mesh.node.{node}.{verb}"


def event(kind: str, node: str = "", service: str = "") -> str:
    """Where an event of `kind` ("noun.verb") is kept; an empty node or service is the token "_"."""
    return f"mesh.event.{kind}.{node or '_'}.{service or '_'}"


def post_mortem(task: str, node: str = "*", service: str = "*") -> str:
    """Where the post-mortem of a task is kept: alone, so that its id finds it; without the rest a pattern for that."""
    return f"mesh.event.postmortem.{suggest_token(task) or '_'}.{node or '_'}.{service or '_'}"


def event_batch(node: str) -> str:
    """Where an agent keeps its batches of container events."""
    return f"mesh.event.batch.container.{node}._"
