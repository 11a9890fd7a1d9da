"""Requests about services and their answers."""

from __future__ import annotations

from schemas.network import Publication
from schemas.records import RolloutRecord, ServiceRecord
from schemas.requests import Ask, Command, Written
from schemas.spec import ServiceSpec
from schemas.wire import Count, Token, Wire


class ServiceDeploy(Wire, frozen=True, kw_only=True):
    """One wanted service. `replicas` None: as it is, 1 if it is new."""

    spec: ServiceSpec
    replicas: Count | None = None
    canary: Count | None = None
    """So many slots get the new revision first. None: as the spec says."""


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
    published: tuple[Publication, ...] = ()
    """The ports that every node takes connections on for it: those that it names, and those that it was given."""


class ServiceList(Wire, frozen=True, kw_only=True):
    """The answer to service.list."""

    services: tuple[ServiceView, ...]
    sequence: Count = 0


SERVICE_REQUESTS: dict[str, tuple[type[Wire], type[Wire]]] = {
    "service.put": (PutService, DeployAnswer),
    "service.scale": (ScaleServices, Written),
    "service.remove": (RemoveServices, Written),
    "service.list": (ListServices, ServiceList),
    "service.inspect": (InspectService, ServiceView),
}
