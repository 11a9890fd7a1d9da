"""The public client: everything that meshctl does, for programs.

    async with Mesh.connect() as mesh:                 # the current context; or a name, or Credentials
        for task in (await mesh.tasks(service="web")).tasks:
            print(task.id, task.state)
        async for event in mesh.events(kinds=("task.failed",)):
            print(event.at, event.service, event.why)

Every call raises `schemas.errors`. Requests are repeated when nobody answers (a controller may just have died). A write
is repeated under the same command id, by which the controllers know what is done already, and tells them until when it
holds, by the store's clock: what reaches them later is not carried out. The client remembers the highest sequence that
its writes made, so that what it reads afterwards shows them, whichever controller serves it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

from msgspec.structs import replace

from bus.port import Bus, Credentials
from meshctl import asking
from meshctl.eventstream import EventFilter, find_post_mortem, follow_events
from schemas import api, netapi, nodeapi, planapi, rebalanceapi, refreshapi, revisionapi, stackapi, subjects
from schemas.clock import Clock, SystemClock
from schemas.errors import BadMessage, StoreMissing, Unreachable, error_of
from schemas.events import Event
from schemas.network import NetworkRecord
from schemas.postmortem import PostMortem
from schemas.records import Availability
from schemas.wire import Wire, decode, encode

A = TypeVar("A", bound=Wire)

REQUESTS = {
    **api.REQUESTS,
    **netapi.NETWORK_REQUESTS,
    **revisionapi.REVISION_REQUESTS,
    **stackapi.STACK_REQUESTS,
    **planapi.PLAN_REQUESTS,
    **refreshapi.REFRESH_REQUESTS,
    **rebalanceapi.REBALANCE_REQUESTS,
}
"""All that controllers may be asked: "service.list" -> (request, answer)."""

WRITTEN = (api.Written, api.DeployAnswer, refreshapi.RefreshAnswer, rebalanceapi.RebalanceOrdered)
"""Answers that hold the sequence of a write."""

CONNECT_TIMEOUT = 3.0
"""Seconds until a mesh that does not answer is called unreachable."""

WRITE_TIMEOUT = 15.0
DEPLOY_TIMEOUT = 180.0
"""A deploy may make nodes pull images before it is answered."""

NODE_TIMEOUT = 10.0


@dataclass(frozen=True)
class Call:
    """One kind of request: its name in REQUESTS, and how long its answer may take."""

    name: str
    timeout: float = WRITE_TIMEOUT


class Mesh:
    """A connection to a mesh. Made by `Mesh.connect`, or around any `bus.port.Bus`."""

    def __init__(self, bus: Bus, *, clock: Clock | None = None) -> None:
        self.bus = bus
        self.clock: Clock = clock or SystemClock()
        self.min_sequence = 0
        """The highest sequence that a write of this client made."""

    @staticmethod
    @asynccontextmanager
    async def connect(mesh: str | Credentials | None = None, *, clock: Clock | None = None) -> AsyncIterator[Mesh]:
        """Connect to the mesh of a context (by name; None: as meshctl chooses it) or by credentials.

        Raises:
            Unreachable: no server answers within 3 seconds, or no mesh is chosen.
            NotFound: there is no such context.
        """
        from meshctl.connection import connected

        async with connected(_credentials(mesh), clock or SystemClock(), CONNECT_TIMEOUT) as bus:
            yield Mesh(bus, clock=clock)

    # any request

    async def ask(self, name: str, request: Wire, *, timeout: float | None = None) -> Wire:
        """Send `request` as `name` ("service.list", a key of `schemas.api.REQUESTS`); its answer.

        Raises whatever error the answer carries, or Unreachable.
        """
        _, answer_kind = REQUESTS[name]
        subject = subjects.api(*name.split("."))
        if isinstance(request, api.Command):
            data = await asking.write(self.bus, subject, request, timeout or WRITE_TIMEOUT)
        else:
            if isinstance(request, api.Ask):
                request = replace(request, min_sequence=max(request.min_sequence, self.min_sequence))
            data = await asking.read(self.bus, subject, encode(request), timeout or asking.READ_TIMEOUT)
        answer = _opened(name, data, answer_kind)
        if isinstance(answer, WRITTEN):
            self.min_sequence = max(self.min_sequence, answer.sequence)
        return answer

    async def ask_node(self, node: str, verb: str, request: Wire, *, timeout: float = NODE_TIMEOUT) -> Wire:
        """Send `request` to a node's agent (`verb`: a key of `schemas.nodeapi.NODE_REQUESTS`); its answer."""
        _, answer_kind = nodeapi.NODE_REQUESTS[verb]
        try:
            data = await self.bus.core.request(subjects.node_request(node, verb), encode(request), timeout=timeout)
        except Unreachable as error:
            raise Unreachable(
                f"node {node} does not answer ({verb})", hint="meshctl node ls tells whether its agent is up"
            ) from error
        return _opened(f"{node} {verb}", data, answer_kind)

    # stacks and services

    async def deploy_stack(self, request: api.DeployStack) -> api.DeployAnswer:
        """Store a stack's services in one step; they run later (`meshctl.waiting`)."""
        return cast("api.DeployAnswer", await self.ask("stack.deploy", request, timeout=DEPLOY_TIMEOUT))

    async def remove_stack(self, stack: str) -> api.Written:
        """Remove a stack and all its services."""
        return cast("api.Written", await self.ask("stack.remove", api.RemoveStack(stack=stack)))

    async def stacks(self) -> api.StackList:
        """All stacks."""
        return cast("api.StackList", await self.ask("stack.list", api.Ask()))

    async def plan_stack(self, request: planapi.PlanStack) -> planapi.StackPlan:
        """What a deploy of a stack would do."""
        return cast("planapi.StackPlan", await self.ask("stack.plan", request, timeout=DEPLOY_TIMEOUT))

    async def stack_history(self, stack: str, specs: Collection[int] = ()) -> stackapi.StackHistory:
        """The kept revisions of a stack, newest first; with the services' specs of those whose numbers are given."""
        request = stackapi.GetStackHistory(stack=stack, specs=tuple(specs))
        return cast("stackapi.StackHistory", await self.ask("stack.history", request))

    async def rollback_stack(self, request: stackapi.RollbackStack) -> stackapi.StackRolledBack:
        """Make an older revision of a stack its target, in one step."""
        return cast("stackapi.StackRolledBack", await self.ask("stack.rollback", request))

    async def put_service(self, request: api.PutService) -> api.DeployAnswer:
        """Create or update one service."""
        return cast("api.DeployAnswer", await self.ask("service.put", request, timeout=DEPLOY_TIMEOUT))

    async def scale(self, replicas: dict[str, int]) -> api.Written:
        """Set replica counts, all in one step."""
        return cast("api.Written", await self.ask("service.scale", api.ScaleServices(replicas=replicas)))

    async def history(self, service: str) -> revisionapi.History:
        """The kept revisions of a service, newest first."""
        return cast("revisionapi.History", await self.ask("service.history", revisionapi.GetHistory(service=service)))

    async def rollback(self, service: str, to: int = 0) -> api.DeployAnswer:
        """Go back to a revision; 0: the last good one, or the one before."""
        request = revisionapi.RollbackService(service=service, to=to)
        return cast("api.DeployAnswer", await self.ask("service.rollback", request))

    async def promote(self, service: str) -> api.Written:
        """Let the canary's revision go to all slots."""
        return cast("api.Written", await self.ask("service.promote", revisionapi.PromoteService(service=service)))

    async def abort(self, service: str) -> api.DeployAnswer:
        """Take a canary back."""
        request = revisionapi.RollbackService(service=service, canary=True)
        return cast("api.DeployAnswer", await self.ask("service.rollback", request))

    async def refresh(self, request: refreshapi.RefreshServices) -> refreshapi.RefreshAnswer:
        """Resolve the images of services anew; only what has moved is changed."""
        return cast("refreshapi.RefreshAnswer", await self.ask("service.refresh", request, timeout=DEPLOY_TIMEOUT))

    async def pause(self, services: Collection[str], *, paused: bool = True) -> api.Written:
        """Halt the rollouts of services, or let them go on."""
        request = revisionapi.PauseServices(services=tuple(services), paused=paused)
        return cast("api.Written", await self.ask("service.pause", request))

    async def remove_services(self, services: Collection[str]) -> api.Written:
        """Remove services."""
        return cast("api.Written", await self.ask("service.remove", api.RemoveServices(services=tuple(services))))

    async def services(self, *, stack: str = "") -> api.ServiceList:
        """All services, or those of a stack."""
        return cast("api.ServiceList", await self.ask("service.list", api.ListServices(stack=stack)))

    async def service(self, name: str) -> api.ServiceView:
        """One service. Raises NotFound."""
        return cast("api.ServiceView", await self.ask("service.inspect", api.InspectService(service=name)))

    async def tasks(self, *, service: str = "", stack: str = "", node: str = "", ended: bool = True) -> api.TaskList:
        """Tasks, with the last ended ones of each slot."""
        request = api.ListTasks(service=service, stack=stack, node=node, ended=ended)
        return cast("api.TaskList", await self.ask("task.list", request))

    async def task(self, task: str) -> api.TaskDetail:
        """One task by id, unique prefix or container id. Raises NotFound."""
        return cast("api.TaskDetail", await self.ask("task.inspect", api.InspectTask(task=task)))

    # nodes and the rest

    async def nodes(self) -> api.NodeList:
        """All nodes."""
        return cast("api.NodeList", await self.ask("node.list", api.ListNodes()))

    async def node(self, name: str) -> api.NodeView:
        """One node. Raises NotFound."""
        return cast("api.NodeView", await self.ask("node.inspect", api.InspectNode(node=name)))

    async def update_node(
        self,
        node: str,
        *,
        availability: Availability | None = None,
        force: bool = False,
        labels_add: dict[str, str] | None = None,
        labels_remove: Collection[str] = (),
    ) -> api.Written:
        """Change a node's availability or labels. `force`: of a drain, end what can't run elsewhere, too."""
        request = api.UpdateNode(
            node=node,
            availability=availability,
            force=force,
            labels_add=labels_add or {},
            labels_remove=tuple(labels_remove),
        )
        return cast("api.Written", await self.ask("node.update", request))

    async def remove_node(self, node: str, *, force: bool = False) -> api.Written:
        """Forget a node. Raises Refused while it is not down, unless `force`."""
        return cast("api.Written", await self.ask("node.remove", api.RemoveNode(node=node, force=force)))

    async def plan_rebalance(self, max_moves: int = 0) -> rebalanceapi.RebalancePlan:
        """The fewest moves that even out where tasks run; 0: all of them."""
        request = rebalanceapi.PlanRebalance(max_moves=max_moves)
        return cast("rebalanceapi.RebalancePlan", await self.ask("rebalance.plan", request, timeout=WRITE_TIMEOUT))

    async def apply_rebalance(self, max_moves: int = 0) -> rebalanceapi.RebalanceOrdered:
        """Order them. Raises Conflict while another rebalance is under way."""
        request = rebalanceapi.ApplyRebalance(max_moves=max_moves)
        return cast("rebalanceapi.RebalanceOrdered", await self.ask("rebalance.apply", request))

    async def stop_rebalance(self) -> rebalanceapi.RebalanceOrdered:
        """Begin no further move. Raises NotFound."""
        return cast("rebalanceapi.RebalanceOrdered", await self.ask("rebalance.stop", rebalanceapi.StopRebalance()))

    async def rebalance(self) -> rebalanceapi.RebalanceView:
        """How far the last rebalance is."""
        return cast("rebalanceapi.RebalanceView", await self.ask("rebalance.get", rebalanceapi.GetRebalance()))

    async def volumes(self) -> api.VolumeList:
        """Named volumes on all nodes."""
        return cast("api.VolumeList", await self.ask("volume.list", api.ListVolumes()))

    async def networks(self) -> netapi.NetworkList:
        """All networks."""
        return cast("netapi.NetworkList", await self.ask("network.list", netapi.ListNetworks()))

    async def network(self, name: str) -> netapi.NetworkView:
        """One network, with who answers on it. Raises NotFound."""
        return cast("netapi.NetworkView", await self.ask("network.inspect", netapi.InspectNetwork(network=name)))

    async def create_network(self, record: NetworkRecord) -> netapi.NetworkView:
        """Make a network. Raises Conflict, Refused."""
        return cast("netapi.NetworkView", await self.ask("network.create", netapi.CreateNetwork(network=record)))

    async def remove_networks(self, names: Collection[str]) -> api.Written:
        """Remove networks. Raises NotFound, Refused while one is used."""
        request = netapi.RemoveNetworks(networks=tuple(names))
        return cast("api.Written", await self.ask("network.remove", request))

    async def status(self) -> api.Status:
        """How the mesh is."""
        return cast("api.Status", await self.ask("status.get", api.GetStatus()))

    async def order(self, kind: str, *, node: str = "") -> api.Written:
        """Tell the leader: "brake.release", or "node.confirm-dead" with a node."""
        return cast("api.Written", await self.ask("order.give", api.GiveOrder(kind=kind, node=node)))

    # a node's agent

    async def log_page(self, node: str, request: nodeapi.ReadLogs) -> nodeapi.LogPage:
        """One page of a task's log."""
        answer = await self.ask_node(node, "logs", request, timeout=NODE_TIMEOUT + request.wait)
        return cast("nodeapi.LogPage", answer)

    async def logs(
        self, node: str, task: str, *, follow: bool = False, tail: int = -1, since: float = 0.0
    ) -> AsyncGenerator[nodeapi.LogLine, None]:
        """A task's log line by line; `follow`: until the task has ended."""
        request = nodeapi.ReadLogs(task=task, tail=tail, since=since)
        while True:
            page = await self.log_page(node, request)
            for line in page.lines:
                yield line
            if page.ended or (not follow and not page.lines):
                return
            wait = 2.0 if follow else 0.0
            request = replace(request, cursor=page.cursor or request.cursor, wait=wait)

    async def images(self, node: str) -> nodeapi.ImageList:
        """The images on a node."""
        return cast("nodeapi.ImageList", await self.ask_node(node, "image_list", nodeapi.ListImages()))

    async def resolve_image(self, node: str, request: nodeapi.ResolveImage) -> nodeapi.ResolvedImage:
        """What an image is on a node."""
        answer = await self.ask_node(node, "image_resolve", request, timeout=DEPLOY_TIMEOUT)
        return cast("nodeapi.ResolvedImage", answer)

    async def load_chunk(self, node: str, chunk: nodeapi.LoadChunk) -> nodeapi.LoadAnswer:
        """One chunk of an image's archive (`meshctl.transfer` sends whole archives)."""
        timeout = DEPLOY_TIMEOUT if chunk.last else NODE_TIMEOUT * 3
        return cast("nodeapi.LoadAnswer", await self.ask_node(node, "image_load", chunk, timeout=timeout))

    async def remove_volume(self, node: str, name: str) -> None:
        """Remove a named volume from a node. Raises Refused while it is in use."""
        await self.ask_node(node, "volume_remove", nodeapi.RemoveVolume(name=name))

    # events

    def events(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        kinds: Collection[str] = (),
        service: str = "",
        node: str = "",
        cursor: str = "",
    ) -> AsyncGenerator[Event, None]:
        """Events in the log's order, each once: from `since` (seconds since 1970; None: from now on), to `until`.

        `kinds`: "task.failed", or "task" for all of a noun. `cursor` names a place kept by the server: reading goes on
        after the last event that the loop was done with, also in another process.
        """
        wanted = EventFilter(kinds=frozenset(kinds), service=service, node=node)
        return follow_events(self.bus, wanted, since=since, until=until, cursor=cursor, clock=self.clock)

    async def post_mortem(self, task: str) -> PostMortem | None:
        """How a task ended, by its full id, for as long as the event log keeps it; None: nothing is kept of it."""
        try:
            return await find_post_mortem(self.bus, task)
        except StoreMissing:
            return None


def _credentials(mesh: str | Credentials | None) -> Credentials:
    from meshctl.contexts import credentials_for, user_contexts

    if isinstance(mesh, Credentials):
        return mesh
    return credentials_for(mesh, os.environ, user_contexts())


def _opened(name: str, data: bytes, kind: type[A]) -> A:
    """The answer in a reply. Raises what it carries, or Internal for bytes that are no answer."""
    reply = _read(name, data, api.Reply)
    if reply.error is not None:
        raise error_of(reply.error.code, reply.error.message, reply.error.hint)
    return _read(name, bytes(reply.body), kind)


def _read(name: str, data: bytes, kind: type[A]) -> A:
    try:
        return decode(data, kind)
    except BadMessage as error:
        raise asking.unreadable(name, error) from error
