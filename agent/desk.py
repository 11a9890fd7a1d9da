"""What all workers of a node share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from agent.brought import Brought
from agent.engine.labels import Owner
from agent.engine.port import Engine
from agent.engine_health import EngineHealth
from agent.leases import Leases
from agent.ledger import Ledger
from agent.network.tasks import TaskNetworks
from agent.pulling import Pulls
from agent.readiness import Readiness
from agent.telling import Teller
from schemas.clock import Clock
from schemas.observation import NodeFacts

AT_ONCE = 8
"""Containers that are being made or started at the same time."""


@dataclass(frozen=True)
class Desk:
    """See the module."""

    owner: Owner
    engine: Engine
    health: EngineHealth
    ledger: Ledger
    pulls: Pulls
    brought: Brought
    teller: Teller
    clock: Clock
    chance: random.Random
    facts: Callable[[], NodeFacts]
    networks: TaskNetworks
    readiness: Readiness
    leases: Leases
    slots: asyncio.Semaphore
    boot: str
    """The kernel's boot id."""
    created: Callable[[], None]
    """Called after each new container."""
