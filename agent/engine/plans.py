"""What an engine is asked for: containers, volumes, networks, pages of logs. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class VolumePlan:
    """A named volume that must be there before a container is made; an `external` one is never made."""

    name: str
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    external: bool = False


@dataclass(frozen=True)
class NetworkPlan:
    """A network that the engine is to make. Ranges and addresses as text; `reserved`: addresses it may not give out."""

    name: str
    device: str
    subnet: str
    range: str
    gateway: str
    mtu: int
    internal: bool = False
    reserved: tuple[tuple[str, str], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Join:
    """A network, by the engine's name, that a container is to be on."""

    network: str


@dataclass(frozen=True)
class ContainerPlan:
    """What `Engine.create` makes: built by `agent.engine.container.plan_container`."""

    name: str
    image: str
    """The engine's own id of the image, so that a tag that moves does not matter."""
    labels: Mapping[str, str]
    body: Mapping[str, Any]
    """Docker's JSON of the create call."""
    volumes: tuple[VolumePlan, ...] = ()
    binds: tuple[str, ...] = ()
    """Host paths that must exist."""
    platform: str = ""


@dataclass(frozen=True)
class LogQuery:
    """Which page of a log. An empty `cursor` starts at `tail` lines from the end (-1: all) and not before `since`."""

    cursor: str = ""
    tail: int = -1
    since: float = 0.0
    """Seconds since 1970 by the engine's clock."""
    limit: int = 1000
    """Lines of the page."""
    wait: float = 0.0
    """Seconds to wait for a first line while there is none and the container runs."""
