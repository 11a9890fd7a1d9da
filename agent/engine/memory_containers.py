"""The containers of the engine in memory: made, started, ended, changed by hand and forgotten."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from agent.engine.labels import Owner, owner_of
from agent.engine.logs import plan_fetch, stamp, take_page
from agent.engine.memory_events import EventHub
from agent.engine.memory_faults import Faults
from agent.engine.memory_images import ImageShelf, MemoryRegistry
from agent.engine.memory_life import Life, Program
from agent.engine.memory_networks import NetworkShelf
from agent.engine.memory_ports import bind_ports
from agent.engine.model import (
    Container,
    EngineEvent,
    EngineInfo,
    EventAction,
    EventGap,
    Setup,
    Volume,
)
from agent.engine.plans import ContainerPlan, Join, LogQuery, VolumePlan
from schemas.clock import Clock
from schemas.errors import Conflict, EngineError, ImageUnavailable, NotFound, Refused
from schemas.nodeapi import LogPage
from schemas.spec import ReadyCheck


class MemoryContainers:
    """The part of a `MemoryEngine` that has to do with containers, and with the harm that befalls it."""

    def __init__(
        self,
        *,
        chance: random.Random,
        clock: Clock,
        facts: EngineInfo | None = None,
        registry: MemoryRegistry | None = None,
        paths: Iterable[str] = (),
    ) -> None:
        self.faults = Faults()
        self.lives: dict[str, Life] = {}
        """By container id."""
        self.facts = facts or EngineInfo("memory", "1.41", "memory", architecture="x86_64", cpus=2.0, memory=4 << 30)
        self.paths = set(paths)
        """The host's paths that exist."""
        self.shelf = ImageShelf()
        self.nets = NetworkShelf()
        self._registry = registry or MemoryRegistry()
        self._owners: set[Owner] = set()
        self._volumes: dict[str, Volume] = {}
        self._chance = chance
        self._clock = clock
        self._hub = EventHub()
        self.on_change: Callable[[Life], None] = lambda _: None
        """Told of each container that was made, started, ended, changed or removed, by whomever: for checkers of
        invariants. One that was removed is in `lives` no more."""

    def life(self, container: str) -> Life:
        """The container with that id or name. Raises NotFound."""
        for life in self.lives.values():
            if container in (life.view.id, life.view.name):
                return life
        raise NotFound(f"no such container: {container}")

    def forget(self, container: str) -> None:
        """Somebody removed the container behind everyone's back, and no event tells."""
        life = self.life(container)
        life.end(137, silent=True)
        self._take_away(life)

    def invent(self, name: str, labels: dict[str, str], program: Program | None = None) -> str:
        """A running container that nobody asked for; its id."""
        life = self._make(ContainerPlan(name, "invented", labels, {}), program or Program())
        life.start()
        return life.view.id

    def crash(self, *, containers: bool = True) -> None:
        """The engine dies; its containers too, unless told otherwise. Event readers hear of it after `recover`."""
        self.faults.down = True
        for life in self.lives.values() if containers else ():
            life.end(137, silent=True)

    def recover(self) -> None:
        """The engine is there again, with what it had on disk."""
        self.faults.down = self.faults.hang = False
        self.break_events("the event stream was broken")

    def break_events(self, why: str) -> None:
        """Every reader of events is told that it may have missed some."""
        self._hub.break_all(why)

    async def containers(self, owner: Owner) -> tuple[Container, ...]:
        await self._before("containers")
        self._owners.add(owner)
        views = (life.view for life in self.lives.values() if owner.owns(life.view.labels))
        return tuple(sorted(views, key=lambda view: view.name))

    async def inspect(self, container: str) -> Container:
        await self._before("inspect")
        return self.life(container).view

    async def setup(self, container: str) -> Setup:
        await self._before("setup")
        life = self.life(container)
        return replace(life.setup, name=life.view.name, state=life.view.state)

    async def changed_files(self, container: str) -> tuple[str, ...]:
        await self._before("changed_files")
        return self.life(container).files

    def tamper(self, container: str, *, name: str = "", **changes: Any) -> None:
        """Somebody changed a container by hand: fields of its `Setup`; `state` paused or running."""
        life = self.life(container)
        state = changes.pop("state", life.view.state)
        action: EventAction = "pause" if state == "paused" else "other"
        life.view = replace(life.view, state=state, name=name or life.view.name)
        life.setup = replace(life.setup, **changes)
        self.on_change(life)
        self._tell(EngineEvent(action, life.view.id, life.view.labels, self._clock.wall()))

    def stop_by_hand(self, container: str) -> None:
        """Somebody stops it, or its engine does because it is stopped itself."""
        life = self.life(container)
        life.told = True
        life.signal("SIGTERM")

    async def create(self, plan: ContainerPlan) -> str:
        await self._before("create")
        self._owners.add(owner_of(plan.labels))
        for volume in plan.volumes:
            self._ensure_volume(volume)
        for path in plan.binds:
            if path not in self.paths:
                raise EngineError(f"bind source path does not exist: {path}")
        if plan.image not in self.shelf.held:
            raise ImageUnavailable(f"no such image: {plan.image}")
        for life in self.lives.values():
            if life.view.name == plan.name:
                if plan.labels.items() <= life.view.labels.items():
                    return life.view.id
                raise Conflict(f"the container name {plan.name} is taken")
        made = self._make(plan, self.shelf.held[plan.image].program)
        self.faults.after("create", self._chance)
        return made.view.id

    def _make(self, plan: ContainerPlan, program: Program) -> Life:
        view = Container(
            id=f"{self._chance.getrandbits(256):064x}",
            name=plan.name,
            state="created",
            labels=dict(plan.labels),
            image=plan.image,
            created_at=self._clock.wall(),
            stop_grace=plan.body.get("StopTimeout"),
            addresses=self._first_address(plan),
        )
        life = Life(view, plan, program, self._clock, self._tell, lambda life: self.on_change(life))
        self.lives[view.id] = life
        self.on_change(life)
        self._tell(EngineEvent("create", view.id, view.labels, self._clock.wall()))
        return life

    def _take_away(self, life: Life) -> None:
        del self.lives[life.view.id]
        self.on_change(life)

    def _first_address(self, plan: ContainerPlan) -> dict[str, str]:
        name = str((plan.body.get("HostConfig") or {}).get("NetworkMode", ""))
        return {name: self.nets.address(name)} if name in self.nets.held else {}

    async def start(self, container: str) -> None:
        await self._before("start")
        life = self._mine(container)
        if life.view.alive:
            return
        if life.program.starts_in:
            await asyncio.sleep(life.program.starts_in)
        taken = {(port.published, port.protocol) for other in self.lives.values() for port in other.view.ports}
        life.view = replace(life.view, ports=bind_ports(life.plan, taken, self._chance))
        try:
            life.start()
        except EngineError:
            life.view = replace(life.view, ports=())
            raise
        self.faults.after("start", self._chance)

    async def stop(self, container: str, *, signal: str = "", grace: float = 10.0) -> None:
        await self._before("stop")
        life = self._mine(container)
        if not life.view.alive:
            return
        life.signal(signal or "SIGTERM")
        try:
            async with asyncio.timeout(grace):
                await life.ended.wait()
        except TimeoutError:
            await self._before("stop")
            life.signal("SIGKILL")
        self.faults.after("stop", self._chance)

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        await self._before("kill")
        self._mine(container).signal(signal)

    async def remove(self, container: str, *, force: bool = False) -> None:
        await self._before("remove")
        try:
            life = self._mine(container)
        except NotFound:
            return
        if life.view.alive and not force:
            raise EngineError(f"container {life.view.name} runs: stop it first")
        life.end(137)
        self._take_away(life)
        self._tell(EngineEvent("destroy", life.view.id, life.view.labels, self._clock.wall()))

    async def logs(self, container: str, query: LogQuery) -> LogPage:
        await self._before("logs")
        loop = asyncio.get_running_loop()
        until = loop.time() + query.wait
        while True:
            life = self.life(container)
            fetch = plan_fetch(query)
            lines = [line for line in life.lines if stamp(line) >= fetch.since]
            page = take_page(lines if fetch.tail < 0 else lines[-fetch.tail :], query, alive=life.view.alive)
            if page.lines or page.ended or loop.time() >= until:
                return page
            await asyncio.sleep(0.25)

    def events(self, owner: Owner) -> AsyncIterator[EngineEvent | EventGap]:
        self._owners.add(owner)
        return self._hub.read(owner, connected=not self.faults.down)

    async def probe(self, container: Container, check: ReadyCheck) -> str:  # noqa: ARG002 (the port's)
        life = self.lives.get(container.id)
        return life.answer() if life is not None else "no connection"

    async def attach(self, container: str, joins: Sequence[Join]) -> None:
        await self._before("attach")
        life = self._mine(container)
        missing = [join.network for join in joins if join.network not in self.nets.held]
        if missing:
            raise NotFound(f"no such network: {missing[0]}")
        added = {join.network: self.nets.address(join.network) for join in joins}
        life.view = replace(life.view, addresses={**added, **life.view.addresses})
        life.setup = replace(life.setup, networks=tuple(sorted({*life.setup.networks, *added})))
        self.on_change(life)

    async def _before(self, call: str) -> None:
        await self.faults.before(call, self._chance)

    def _ensure_volume(self, plan: VolumePlan) -> None:
        if plan.name in self._volumes:
            return
        if plan.external:
            raise EngineError(f"external volume {plan.name} does not exist on this node")
        self._volumes[plan.name] = Volume(plan.name, plan.driver or "local", dict(plan.labels))

    def _mine(self, container: str) -> Life:
        life = self.life(container)
        if not any(owner.owns(life.view.labels) for owner in self._owners):
            raise Refused(f"container {life.view.name} is not of this mesh and node: left alone")
        return life

    def _tell(self, event: EngineEvent) -> None:
        if not (self.faults.lose_event and self._chance.random() < self.faults.lose_event):
            self._hub.tell(event)
