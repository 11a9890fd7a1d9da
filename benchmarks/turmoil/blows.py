"""Doing: each fault of the plan on a lab, with its mending. Calls block; each fault runs in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.turmoil.plan import Fault, Turn
from benchmarks.turmoil.remains import namespaces
from benchmarks.turmoil.stack import STACK
from lab.engine_api import EngineApi
from lab.lab import Lab
from lab.rack import Part
from meshctl.client import Mesh
from schemas.errors import MeshError

Say = Callable[[str], None]
PARTS: dict[str, Part] = {"agent": "agent", "engine": "engine"}


class Blows:
    """Carries turns out. Once `stop` is set nothing is waited for any more."""

    def __init__(self, lab: Lab, say: Say, leader: Callable[[], str], seed: int, stop: threading.Event) -> None:
        self._lab = lab
        self._say = say
        self._leader = leader
        self._rng = random.Random(f"blows {seed}")
        self._stop = stop
        self.done: Counter[str] = Counter()
        """Kind -> how often."""
        self.orphaned: set[str] = set()
        """Namespaces ("node: name") whose engine was killed: it forgets them, with and without Dockmesh (measured with
        plain containers on docker.io 20.10: they stay until the machine boots)."""

    def strike(self, turn: Turn) -> None:
        """All faults of a turn, until the last is mended, and the rest."""
        with ThreadPoolExecutor(max_workers=len(turn.faults)) as pool:
            list(pool.map(self._one, turn.faults))
        self._stop.wait(turn.rest)

    def mend(self) -> None:
        """Whatever happened: everything runs and is plugged in. Raises MeshError."""
        for machine in self._lab.plan.machines:
            if machine.kind in ("node", "controller", "nats"):
                self._signal(machine.name, signal.SIGCONT)
        self._lab.mend()

    def _one(self, fault: Fault) -> None:
        if self._stop.wait(fault.after):
            return
        machines = self._machines(fault)
        self._say(f"{fault.kind:<15} {' '.join(machines):<22} {fault.seconds:5.1f} s")
        self.done[fault.kind] += 1
        try:
            self._do(fault, machines)
        except MeshError as error:
            self._say(f"{fault.kind:<15} {' '.join(machines)}: {error.message}")

    def _machines(self, fault: Fault) -> list[str]:
        if fault.machine == "leader":
            return [self._leader()]
        if fault.machine == "stream-leader":
            with contextlib.suppress(MeshError, TimeoutError):
                return [asyncio.run(_stream_leader(self._lab)) or "nats-1"]
            return ["nats-1"]
        if fault.machine == "all":
            return [machine.name for machine in self._lab.plan.of("nats")]
        return [fault.machine]

    def _do(self, fault: Fault, machines: list[str]) -> None:
        whom, _, what = fault.kind.partition("-")
        part = PARTS.get(whom)
        if whom == "task":
            self._hit_task(machines[0], remove=what == "remove")
        elif what == "flap":
            self._flap(machines[0], fault.seconds)
        elif what == "stall":
            self._stall(machines[0], part, fault.seconds)
        elif what == "cut":
            self._cut(machines[0], fault.seconds)
        else:
            end = self._lab.kill if what in ("kill", "power") else self._lab.stop
            for machine in machines:
                end(machine, part)
                if fault.kind == "engine-kill":
                    self.orphaned |= {f"{machine}: {each}" for each in namespaces(self._lab, machine)}
            self._stop.wait(fault.seconds)
            for machine in machines:
                self._lab.start(machine, part)

    def _stall(self, machine: str, part: Part | None, seconds: float) -> None:
        self._signal(machine, signal.SIGSTOP, part)
        try:
            self._stop.wait(seconds)
        finally:
            self._signal(machine, signal.SIGCONT, part)

    def _cut(self, machine: str, seconds: float) -> None:
        self._lab.cut(machine)
        try:
            self._stop.wait(seconds)
        finally:
            self._lab.heal(machine)

    def _flap(self, machine: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._stop.is_set():
            self._cut(machine, 1)
            self._stop.wait(1)

    def _hit_task(self, node: str, *, remove: bool) -> None:
        """Somebody kills or removes a container of `web` behind the mesh's back."""
        engine = EngineApi(self._lab.paths.docker_socket(node), timeout=5)
        found = engine.containers(f"mesh.service={STACK}_web")
        if found:
            container = self._rng.choice(found)["Id"]
            engine.remove(container) if remove else engine.signal(container, "SIGKILL")

    def _signal(self, machine: str, number: int, only: Part | None = None) -> None:
        host = self._lab.rack.host(machine)
        if host.pid() is not None:
            for service in self._lab.rack.services(self._lab.plan.machine(machine), only):
                host.signal(service.name, number)


async def _stream_leader(lab: Lab) -> str:
    async with asyncio.timeout(5), Mesh.connect(lab.credentials()) as mesh:
        return (await mesh.bus.state.info()).leader
