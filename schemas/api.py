"""Requests to the controllers (`mesh.api.<noun>.<verb>`, `mesh.agentapi.<node>.<verb>`) and their answers.

Any controller serves any request. Each answer comes in a `Reply`. A write's answer holds the `sequence` of the state
stream that it made; a read with `min_sequence` waits until the serving controller's mirror has reached it.
`REQUESTS` is the whole list: subject -> (request, answer).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from schemas.errors import MeshError, error_of
from schemas.network import NetworkRecord
from schemas.observation import BoundPort, EndedTask, Health, NodeFacts
from schemas.records import Availability, BrakeRecord, Reason, RolloutRecord, ServiceRecord
from schemas.spec import ServiceSpec
from schemas.wire import Bytes, Count, Seconds, Token, Wire, decode, encode

T = TypeVar("T")


class Fault(Wire, frozen=True, kw_only=True):
    """An error on the wire."""

    code: str
    message: str
    hint: str = ""


class Reply(Wire, frozen=True, kw_only=True):
    """What every request is answered with: `body` or `error`."""

    body: msgspec.Raw = msgspec.Raw(b"null")
    error: Fault | None = None


def reply_with(body: object) -> bytes:
    """The bytes of a good answer."""
    return encode(Reply(body=msgspec.Raw(encode(body))))


def reply_error(error: MeshError) -> bytes:
    """The bytes of an answer that says no."""
    return encode(Reply(error=Fault(code=error.code, message=error.message, hint=error.hint)))


def open_reply(data: bytes, kind: type[T]) -> T:
    """The body of an answer. Raises the error that it carries."""
    reply = decode(data, Reply)
    if reply.error is not None:
        raise error_of(reply.error.code, reply.error.message, reply.error.hint)
    return decode(bytes(reply.body), kind)


class Ask(Wire, frozen=True, kw_only=True):
    """A request that only reads."""

    min_sequence: Count = 0


class Command(Wire, frozen=True, kw_only=True):
    """A request that changes something; `command` is its id, the cause of all that follows.

    The same command may be sent again: if the records carry its id it is done, and answered as such.
    """

    command: str = ""
    until: Seconds = 0.0
    """By the clock of the store's server (`StoreInfo.now`): nothing is begun after it. 0.0: no bound."""


class Written(Wire, frozen=True, kw_only=True):
    """A write was stored."""

    sequence: Count
    warnings: tuple[str, ...] = ()


# stacks and services


class ServiceDeploy(Wire, frozen=True, kw_only=True):
    """One wanted service. `replicas` None: as it is, 1 if it is new."""

    spec: ServiceSpec
    replicas: Count | None = None
    canary: Count | None = None
    """So many slots get the new revision first. None: as the spec says."""


class DeployStack(Command, frozen=True, kw_only=True):
    """stack.deploy. `prune`: services of the stack that are not named are removed."""

    stack: Token
    services: tuple[ServiceDeploy, ...]
    networks: tuple[NetworkRecord, ...] = ()
    """Those that the stack makes, and removes with it."""
    prune: bool = False
    resolve_image: str = "always"
    """always | changed | never, as docker stack deploy has it; pinned: the services say it."""
    expected: dict[str, str] = {}
    """Of a plan: what it rests on (`StackPlan.base`). Conflict where that has moved on."""


class PutService(Command, frozen=True, kw_only=True):
    """service.put: create or update one. `create` True: must not exist, False: must exist."""

    service: ServiceDeploy
    create: bool | None = None
    expected: Count | None = None
    """The sequence of the service record it was made from; Conflict if that has moved."""
    resolve_image: str = "always"


class Deployed(Wire, frozen=True, kw_only=True):
    """What became of one service: created | updated | scaled | unchanged."""

    service: Token
    change: str
    revision: Count
    deploy: Count
    image_id: str = ""


class DeployAnswer(Wire, frozen=True, kw_only=True):
    """The answer to stack.deploy and service.put."""

    sequence: Count
    services: tuple[Deployed, ...]
    pruned: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class ScaleServices(Command, frozen=True, kw_only=True):
    """service.scale."""

    replicas: dict[str, Count]


class RemoveServices(Command, frozen=True, kw_only=True):
    """service.remove."""

    services: tuple[str, ...]


class RemoveStack(Command, frozen=True, kw_only=True):
    """stack.remove."""

    stack: Token


class ListServices(Ask, frozen=True, kw_only=True):
    """service.list; an empty `stack` means all."""

    stack: str = ""


class InspectService(Ask, frozen=True, kw_only=True):
    """service.inspect."""

    service: str


class ServiceView(Wire, frozen=True, kw_only=True):
    """A service: intent, spec of its target revision, and how far it is."""

    record: ServiceRecord
    spec: ServiceSpec
    sequence: Count
    """Of the service record."""
    rollout: RolloutRecord | None = None
    running: Count = 0
    desired: Count = 0
    revisions: tuple[int, ...] = ()
    troubles: tuple[str, ...] = ()
    """What does not work of its networks and published ports, and where."""


class ServiceList(Wire, frozen=True, kw_only=True):
    """The answer to service.list."""

    services: tuple[ServiceView, ...]
    sequence: Count = 0


class StackView(Wire, frozen=True, kw_only=True):
    """A stack."""

    stack: Token
    revision: Count
    services: dict[str, Count]


class StackList(Wire, frozen=True, kw_only=True):
    """The answer to stack.list."""

    stacks: tuple[StackView, ...]


class ListTasks(Ask, frozen=True, kw_only=True):
    """task.list; empty filters mean all. `ended`: with the last 5 ended tasks of each slot."""

    service: str = ""
    stack: str = ""
    node: str = ""
    ended: bool = True


class TaskView(Wire, frozen=True, kw_only=True):
    """A task, or (without an id) a slot that waits for one.

    `state`: pending | assigned | new | pulling | starting | running | stopping | exited | failed | lost.
    """

    id: str
    service: Token
    slot: str
    state: str
    desired: str = "running"
    """running | shutdown."""
    stack: str = ""
    node: str = ""
    revision: Count = 0
    image: str = ""
    since: Seconds = 0.0
    health: Health = ""
    not_ready: str = ""
    error: str = ""
    why: str = ""
    container: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    log_tail: tuple[str, ...] = ()
    ports: tuple[BoundPort, ...] = ()
    current: bool = True
    """Whether the slot counts on it (False: history, or being replaced)."""


class TaskList(Wire, frozen=True, kw_only=True):
    """The answer to task.list."""

    tasks: tuple[TaskView, ...]
    sequence: Count = 0


class InspectTask(Ask, frozen=True, kw_only=True):
    """task.inspect: by id, unique prefix of it, or container id."""

    task: str


class TaskDetail(Wire, frozen=True, kw_only=True):
    """The answer to task.inspect."""

    task: TaskView
    spec: ServiceSpec | None = None
    ended: EndedTask | None = None
    placement: str = ""
    """Why it is where it is."""


# nodes


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


# volumes, status, orders


class ListVolumes(Ask, frozen=True, kw_only=True):
    """volume.list."""


class VolumeView(Wire, frozen=True, kw_only=True):
    """A named volume on one node, and the services whose specs name it."""

    name: str
    node: Token
    services: tuple[str, ...] = ()
    node_status: str = ""


class VolumeList(Wire, frozen=True, kw_only=True):
    """The answer to volume.list."""

    volumes: tuple[VolumeView, ...]


class GetStatus(Ask, frozen=True, kw_only=True):
    """status.get."""


class ControllerView(Wire, frozen=True, kw_only=True):
    """A controller that was heard."""

    name: str
    leads: bool = False
    hostname: str = ""
    version: str = ""
    trouble: str = ""


class Status(Wire, frozen=True, kw_only=True):
    """How the mesh is."""

    mesh_id: str
    generation: Count
    epoch: Count
    leader: str
    controllers: tuple[ControllerView, ...] = ()
    nodes_ready: Count = 0
    nodes: Count = 0
    services: Count = 0
    services_converged: Count = 0
    tasks_running: Count = 0
    tasks_wanted: Count = 0
    brake: BrakeRecord = BrakeRecord()
    reasons: tuple[Reason, ...] = ()
    sequence: Count = 0
    rounds: Count = 0
    version: str = ""


class GiveOrder(Command, frozen=True, kw_only=True):
    """order.give: brake.release, or node.confirm-dead with a node."""

    kind: str
    node: str = ""


# what agents may ask


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


REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "stack.deploy": (DeployStack, DeployAnswer),
    "stack.remove": (RemoveStack, Written),
    "stack.list": (Ask, StackList),
    "service.put": (PutService, DeployAnswer),
    "service.scale": (ScaleServices, Written),
    "service.remove": (RemoveServices, Written),
    "service.list": (ListServices, ServiceList),
    "service.inspect": (InspectService, ServiceView),
    "task.list": (ListTasks, TaskList),
    "task.inspect": (InspectTask, TaskDetail),
    "node.list": (ListNodes, NodeList),
    "node.inspect": (InspectNode, NodeView),
    "node.update": (UpdateNode, Written),
    "node.remove": (RemoveNode, Written),
    "volume.list": (ListVolumes, VolumeList),
    "status.get": (GetStatus, Status),
    "order.give": (GiveOrder, Written),
}

AGENT_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {"join": (Join, Joined)}
