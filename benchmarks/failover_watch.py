"""What `failover.py` sees of a mesh: who leads, what is stored next, whether all runs; and the change it asks for."""

from __future__ import annotations

import asyncio
import time

from bus.port import Entry, Gap
from meshctl.client import Mesh
from schemas.errors import MeshError
from schemas.liveness import LeaderBeat
from schemas.records import EpochRecord, LivenessRecord
from schemas.serviceapi import ScaleServices
from schemas.subjects import EPOCH, LEADER, desired_key
from schemas.wire import decode

SERVICE = "bench"
PATIENCE = 60.0
ASK_TIMEOUT = 0.3
"""Seconds for the asked change: a request that the dying controller has taken with it is asked again."""


async def leader(mesh: Mesh) -> LeaderBeat:
    """Who leads, by the highest epoch heard in a second: one that was cut off says late what it meant to say then."""
    heard: list[LeaderBeat] = []
    async with asyncio.timeout(PATIENCE), mesh.bus.core.subscribe(LEADER) as beats:
        until = time.monotonic() + 1.0
        while not heard or time.monotonic() < until:
            beat = decode((await beats.next()).data, LeaderBeat)
            heard += [] if beat.stepping_down else [beat]
    return max(heard, key=lambda beat: beat.epoch)


async def scale(mesh: Mesh, replicas: int, timeout: float = ASK_TIMEOUT) -> None:
    """Ask for so many until that is accepted; `timeout`: seconds for one attempt."""
    while True:
        try:
            await mesh.ask("service.scale", ScaleServices(replicas={SERVICE: replicas}), timeout=timeout)
        except MeshError:
            await asyncio.sleep(0.05)
        else:
            return


async def next_decision(watch: object, old: str, *, takeover_is_enough: bool) -> float:
    """When (monotonic seconds) another leader than `old` has stored its first decision, or its takeover."""
    took_over = False
    async for item in watch:  # type: ignore[attr-defined]
        if isinstance(item, Gap):
            took_over = True  # the takeover may be what was missed
            continue
        assert isinstance(item, Entry)
        if item.key == EPOCH and item.value is not None:
            holder = decode(item.value, EpochRecord).holder
            took_over = holder not in ("", old)
            if took_over and takeover_is_enough:
                return time.monotonic()
        elif took_over and item.key.startswith((desired_key(""), "rollout.")):
            return time.monotonic()
    raise AssertionError("a watch never ends")


async def until_verdict(watch: object, verdict: str) -> None:
    """Until the leader has stored that verdict of the node that is watched."""
    async for item in watch:  # type: ignore[attr-defined]
        if isinstance(item, Entry) and item.value and decode(item.value, LivenessRecord).verdict == verdict:
            return


async def until_running(mesh: Mesh, replicas: int) -> None:
    """Until so many run and the leader is done. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                view = await mesh.service(SERVICE)
                if view.running == replicas and view.rollout is not None and view.rollout.phase == "done":
                    return
            except MeshError:
                pass
            await asyncio.sleep(0.1)
