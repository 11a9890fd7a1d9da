"""Doing: each fault of the plan on a lab, with its mending. Calls block; each fault runs in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.turmoil.disasters import Disasters
from benchmarks.turmoil.ground import Ground
from benchmarks.turmoil.plan import GREEDY, LEASED, Fault, Turn
from benchmarks.turmoil.remains import about_to_be_forgotten, namespaces, running, shims
from benchmarks.turmoil.shortages import exhaust_memory
from benchmarks.turmoil.stack import STACK
from lab.engine_api import EngineApi
from lab.lab import Lab
from lab.rack import Part
from meshctl.client import Mesh
from schemas.errors import MeshError

TASKS = {GREEDY: f"{STACK}_greedy", LEASED: f"{STACK}_lease"}
PARTS: dict[str, Part] = {"agent": "agent", "engine": "engine"}

MOST_DOWN = 8
"""How often a node that flaps for a minute may be taken for down: as often as tests/e2e lets its tasks move."""

BOUNCES = 3
"""How often a node loses its power in a row."""


class Blows:
    """Carries turns out. Once `stop` is set nothing is waited for any more."""

    def __init__(self, ground: Ground, leader: Callable[[], str], seed: int) -> None:
        self._ground = ground
        self._lab = ground.lab
        self._say = ground.say
        self._leader = leader
        self._rng = random.Random(f"blows {seed}")
        self._stop = ground.stop
        self._disasters = Disasters(ground)
        self.done: Counter[str] = Counter()
        """Kind -> how often."""

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
        if not machines:
            self._say(f"{fault.kind:<15} no such task runs just now")
            return
        self._say(f"{fault.kind:<15} {' '.join(machines):<22} {fault.seconds:5.1f} s")
        self.done[fault.kind] += 1
        try:
            self._do(fault, machines)
        except MeshError as error:
            text = f"{fault.kind:<15} {' '.join(machines)}: {error.message}"
            if fault.kind in self._disasters.kinds:
                self._ground.fail(text)
                self.mend()  # it is alone
            else:
                self._say(text)

    def _machines(self, fault: Fault) -> list[str]:
        if fault.machine == "leader":
            return [self._leader()]
        if fault.machine == "stream-leader":
            with contextlib.suppress(MeshError, TimeoutError):
                return [asyncio.run(_stream_leader(self._lab)) or "nats-1"]
            return ["nats-1"]
        if fault.machine == "all":
            return [machine.name for machine in self._lab.plan.of("nats")]
        if fault.machine in (GREEDY, LEASED):
            return [node for node in self._lab.nodes if self._runs(node, TASKS[fault.machine])][:1]
        return fault.machine.split(",")

    def _do(self, fault: Fault, machines: list[str]) -> None:
        whom, _, what = fault.kind.partition("-")
        part = PARTS.get(whom)
        if fault.kind in self._disasters.kinds:
            self._disasters.strike(fault)
        elif fault.kind == "task-memory":
            exhaust_memory(self._ground, machines[0])
        elif whom == "task":
            self._hit_task(machines[0], remove=what == "remove")
        elif what == "flap":
            self._flap(machines[0], fault.seconds)
        elif what == "bounce":
            for _ in range(BOUNCES):
                self._end(self._lab.kill, machines, part, fault.seconds)
        elif what == "stall":
            self._stall(machines[0], part, fault.seconds)
        elif what == "cut":
            self._cut(machines[0], fault.seconds)
        elif fault.kind == "engine-kill":
            self._kill_engine(machines[0], fault.seconds)
        else:
            end = self._lab.kill if what in ("kill", "power") else self._lab.stop
            self._end(end, machines, part, fault.seconds)

    def _runs(self, node: str, service: str) -> bool:
        with contextlib.suppress(MeshError):
            return bool(running(self._ground.engine(node), f"mesh.service={service}"))
        return False

    def _end(
        self, end: Callable[[str, Part | None], object], machines: list[str], part: Part | None, seconds: float
    ) -> None:
        for machine in machines:
            end(machine, part)
        self._stop.wait(seconds)
        for machine in machines:
            self._lab.start(machine, part)

    def _kill_engine(self, machine: str, seconds: float) -> None:
        """It forgets namespaces of containers that it had, those that it makes just then, and perhaps a shim."""
        before = set(namespaces(self._lab, machine))
        left = about_to_be_forgotten(self._lab, machine)
        self._lab.kill(machine, "engine")
        left |= set(namespaces(self._lab, machine)) - before
        self._ground.excused |= {f"{machine}: {each}" for each in (*left, *shims(self._lab, machine))}
        self._stop.wait(seconds)
        self._lab.start(machine, "engine")

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
        began, end = time.time(), time.monotonic() + seconds
        while time.monotonic() < end and not self._stop.is_set():
            self._cut(machine, 1)
            self._stop.wait(1)
        times: list[int] = []

        def known() -> bool:
            times.append(len(self._ground.events(began, "node.down", node=machine)))
            return True

        if self._ground.wait("events can be read", known, 60) and times[-1] > MOST_DOWN:
            self._ground.fail(f"{machine} flapped for {seconds:g} s and was taken for down {times[-1]} times")

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
