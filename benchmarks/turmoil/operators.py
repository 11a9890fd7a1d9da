"""Doing: people who deploy, scale, roll back and drain while everything fails, and remember what was acknowledged."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.turmoil.orders import Order, Wanted, after
from benchmarks.turmoil.stack import STACK, deploy_request
from lab.lab import Lab
from meshctl.client import Mesh
from schemas.errors import MeshError

WEB = f"{STACK}_web"
PAUSE = 0.5
PATIENCE = 20.0
"""Seconds for which a read may be answered by a controller that has not caught up, where no answer told how far it has
to be. Measured after all nats-servers had been away: 5 to 20 s until the last one had caught up."""


class Operators:
    """A thread that carries orders out, each until it is acknowledged. `rest` halts it, `work` lets it go on."""

    def __init__(self, lab: Lab, orders: Iterator[Order], folder: Path, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._orders = orders
        self._folder = folder
        self._say = say
        self._working = threading.Event()
        self._idle = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operators", daemon=True)
        self._revisions: dict[int, int] = {}
        self._behind_until = 0.0
        """Monotonic seconds until which a controller may answer that is behind, without it being found out."""
        self.wanted = Wanted()
        """As it was acknowledged last."""
        self.acknowledged = 0
        self.lost: list[str] = []
        """What was acknowledged and did not show."""
        self.slowest = 0.0
        """Seconds that an order has taken until it was acknowledged, at most."""

    def start(self) -> None:
        """The stack is deployed; then `work` is waited for."""
        self._thread.start()

    def work(self) -> None:
        """Go on with orders."""
        self._working.set()

    def rest(self, patience: float) -> bool:
        """Finish the order at hand and make all nodes active; whether that was done within so many seconds."""
        self._working.clear()
        self._idle.clear()
        return self._idle.wait(patience)

    def end(self) -> None:
        """No further order."""
        self._ended.set()
        self._working.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                asyncio.run(self._carry_out())
            except (MeshError, TimeoutError) as error:
                self._say(f"operators have to connect anew: {error}")
                time.sleep(PAUSE)

    async def _carry_out(self) -> None:
        async with Mesh.connect(self._lab.credentials()) as mesh:
            if not self.acknowledged:
                await self._do(mesh, Order("deploy", mark=self.wanted.mark, replicas=self.wanted.replicas))
            while not self._ended.is_set():
                if not self._working.is_set():
                    await self._come_to_rest(mesh)
                    continue
                order = next(self._orders)
                await self._do(mesh, order)
                await self._sleep(order.rest)

    async def _come_to_rest(self, mesh: Mesh) -> None:
        if self.wanted.drained:
            await self._do(mesh, Order("activate"))
        await self._check(mesh, "at rest")
        while not self._working.is_set():
            self._idle.set()  # again and again: it may be asked for anew before this has seen that there was work
            await asyncio.sleep(PAUSE)

    async def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._working.is_set() and time.monotonic() < end:
            await asyncio.sleep(0.2)

    async def _do(self, mesh: Mesh, order: Order) -> None:
        """Once it is acknowledged, it has to show; what nobody acknowledged is ordered again."""
        began, told = time.monotonic(), ""
        wanted = after(self.wanted, order)
        while not self._ended.is_set():
            try:
                await self._order(mesh, order, wanted)
                self._behind_until = 0.0  # the answer told how far a controller has to be
            except MeshError as error:
                if error.message != told:
                    self._say(f"{order.describe()}: {error.message.splitlines()[0]}")
                told = error.message
                if not await self._shows(mesh, wanted):
                    await asyncio.sleep(PAUSE)
                    continue
                self._behind_until = time.monotonic() + PATIENCE
            self.wanted = wanted
            self.acknowledged += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            await self._check(mesh, order.describe())
            return

    async def _order(self, mesh: Mesh, order: Order, wanted: Wanted) -> None:
        if order.verb == "deploy":
            answer = await mesh.deploy_stack(deploy_request(wanted, len(self._lab.nodes), self._folder))
            self._revisions[wanted.mark] = next(each.revision for each in answer.services if each.service == WEB)
        elif order.verb == "scale":
            await mesh.scale({WEB: wanted.replicas})
        elif order.verb == "rollback":
            await mesh.rollback(WEB, to=self._revisions[wanted.mark])
        elif order.verb == "drain":
            await mesh.update_node(wanted.drained, availability="drain")
        else:
            for node in self._lab.nodes:
                await mesh.update_node(node, availability="active")

    async def _check(self, mesh: Mesh, after: str) -> None:
        """What was acknowledged must show, as soon as anybody can be asked.

        After an order without an answer, which one controller was seen to have, a read has no sequence to wait for, and
        any controller may answer it.
        """
        while not self._ended.is_set():
            try:
                shown, _ = await look(mesh)
            except MeshError:
                await asyncio.sleep(PAUSE)
                continue
            if shown != self.wanted and time.monotonic() < self._behind_until:
                await asyncio.sleep(PAUSE)
                continue
            if shown != self.wanted:
                self.lost.append(f"{after}: wanted {self.wanted}, shown {shown}")
                self._say(f"operators: LOST {self.lost[-1]}")
            return

    async def _shows(self, mesh: Mesh, wanted: Wanted) -> bool:
        try:
            shown, revision = await look(mesh)
        except MeshError:
            return False
        if shown == wanted:
            self._revisions[wanted.mark] = revision
        return shown == wanted


async def look(mesh: Mesh) -> tuple[Wanted, int]:
    """What is wanted as the mesh has it stored, and the number of web's revision. Raises MeshError."""
    web = await mesh.service(WEB)
    drained = ",".join(node.node for node in (await mesh.nodes()).nodes if node.availability == "drain")
    wanted = Wanted(int(web.spec.task.container.environment["MARK"]), web.record.replicas, drained)
    return wanted, web.record.target
