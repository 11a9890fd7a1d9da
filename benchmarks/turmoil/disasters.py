"""Doing: what befalls the mesh as a whole: a store that is lost or an older one, most nodes gone, a boot in the dark.

Each begins with a calm, and operators hold still until it is over: what runs then is known, and must run on.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.turmoil.ground import Ground
from benchmarks.turmoil.plan import Fault
from benchmarks.turmoil.shortages import fill_disk
from benchmarks.turmoil.stack import STACK
from bus.nats import NatsBus
from meshctl.client import Mesh
from schemas.errors import MeshError
from schemas.subjects import STATE_STREAM

PATIENCE = 60.0
"""Seconds in which what is promised must show: many times what it takes."""

STEADY = f"{STACK}_steady"


class Disasters:
    """Each kind by its name."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._lab = ground.lab
        self._servers = [machine.name for machine in ground.lab.plan.of("nats")]
        self._count = 0
        self.kinds: dict[str, Callable[[Fault], None]] = {
            "store-lost": self._store_lost,
            "store-back": self._store_back,
            "nodes-return": self._nodes_vanish,
            "nodes-release": self._nodes_vanish,
            "boot-alone": self._boot_alone,
            "engine-full": lambda fault: fill_disk(ground, fault.machine, fault.seconds),
        }

    def strike(self, fault: Fault) -> None:
        """A calm, the disaster, a calm. Raises MeshError."""
        if self._still():
            self.kinds[fault.kind](fault)
            self._ground.calm()

    def _still(self) -> bool:
        """All is as it is wanted, and nothing is under way."""
        return self._ground.calm() and self._ground.wait("every update is done", self._no_update, PATIENCE)

    def _no_update(self) -> bool:
        async def ask(mesh: Mesh) -> bool:
            views = [await mesh.service(f"{STACK}_{name}") for name in ("web", "store", "steady", "edge", "greedy")]
            return all(view.rollout is not None and view.rollout.phase == "done" for view in views)

        return self._ground.ask(ask)

    # --- the store ----------------------------------------------------------------------------------------------------

    def _store_lost(self, fault: Fault) -> None:
        backup = self._backup()
        before, generation = self._ground.containers(), self._ground.eye.leader().generation

        async def delete(mesh: Mesh) -> None:
            assert isinstance(mesh.bus, NatsBus)
            await mesh.bus.line.ask(f"$JS.API.STREAM.DELETE.{STATE_STREAM}", b"", timeout=10)

        self._ground.ask(delete)
        self._recover(backup, "store.missing", before, generation, fault.seconds)

    def _store_back(self, fault: Fault) -> None:
        """Older files under all servers: operators work, and a backup is taken, in between."""
        older = self._ground.folder / "older"
        self._all_servers(self._lab.kill)
        for server in self._servers:
            shutil.copytree(self._lab.paths.data(server), older / server)
        self._all_servers(self._lab.start)
        acknowledged = self._ground.acknowledged()
        self._ground.work()
        self._ground.wait("an order is taken", lambda: self._ground.acknowledged() > acknowledged, PATIENCE)
        self._ground.stop.wait(fault.seconds)
        if not self._still():
            shutil.rmtree(older)
            return
        backup = self._backup()
        before, generation = self._ground.containers(), self._ground.eye.leader().generation
        self._all_servers(self._lab.kill)
        for server in self._servers:
            shutil.rmtree(self._lab.paths.data(server))
            shutil.move(older / server, self._lab.paths.data(server))
        self._all_servers(self._lab.start)
        older.rmdir()
        self._recover(backup, "store.rolled_back", before, generation, fault.seconds)

    def _backup(self) -> str:
        self._count += 1
        file = str(self._ground.folder / f"backup-{self._count}")
        code, said = self._ground.meshctl("backup", file)
        if code:
            self._ground.fail(f"no backup can be taken: {said}")
        return file

    def _recover(
        self, backup: str, trouble: str, before: dict[str, tuple[str, str]], generation: int, seconds: float
    ) -> None:
        """Nothing stops, no order is taken; `meshctl state recover` makes it anew, and the same containers run on."""
        ground = self._ground
        ground.wait(f"status tells {trouble}", lambda: trouble in ground.reasons(), PATIENCE)
        ground.untouched(before, seconds, f"while the mesh says {trouble}")
        self._nothing_is_ordered(trouble)
        recover = ("state", "recover", "--backup", backup)
        code, said = ground.meshctl(*recover)
        if code or "nothing was done" not in said:
            ground.fail(f"the preview of a recovery ended with {code}: {said}")
        code, said = ground.meshctl(*recover, "--apply", "--replicas", "3")
        if code:
            ground.fail(f"the recovery ended with {code}: {said}")
        ground.wait("the new store is led", lambda: ground.eye.leader().generation == generation + 1, PATIENCE)
        self._ground.calm()
        ground.untouched(before, 2.0, f"{trouble}, after the recovery")

    def _nothing_is_ordered(self, trouble: str) -> None:
        async def order(mesh: Mesh) -> None:
            await mesh.scale({STEADY: len(self._lab.nodes)})

        with contextlib.suppress(MeshError):
            self._ground.ask(order)
            self._ground.fail(f"an order is taken while the mesh says {trouble}")

    def _all_servers(self, do: Callable[[str], object]) -> None:
        for server in self._servers:
            do(server)

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _nodes_vanish(self, fault: Fault) -> None:
        """The brake holds: nothing is replaced until they are back, or a person says so."""
        ground, nodes = self._ground, fault.machine.split(",")
        left = [node for node in self._lab.nodes if node not in nodes]
        before = ground.containers(*left)
        self._at_once(self._lab.cut, nodes)
        try:
            if not ground.wait("the brake holds", ground.braked, PATIENCE):
                return
            ground.untouched(before, fault.seconds, "while the brake holds", *left)
            if fault.kind == "nodes-release":
                code, said = ground.meshctl("brake", "release")
                if code or "released" not in said:
                    ground.fail(f"the brake can't be released: {code} {said}")
                wanted = len(self._lab.nodes)
                ground.wait(
                    f"all of {STEADY} run on {left[0]} once the brake is released",
                    lambda: [name for name, _ in ground.containers(*left).values()].count(STEADY) == wanted,
                    PATIENCE,
                )
        finally:
            self._at_once(self._lab.heal, nodes)
        ground.wait("the brake is let go once they are back", lambda: not ground.braked(), PATIENCE)

    def _boot_alone(self, fault: Fault) -> None:
        """What ran on the node runs again by its agent alone, and is taken over once the mesh is back."""
        ground, node = self._ground, fault.machine
        slots = sorted(ground.containers(node).values())
        elsewhere = ground.containers(*(each for each in self._lab.nodes if each != node))
        self._all_servers(self._lab.stop)
        try:
            self._lab.kill(node)
            ground.stop.wait(fault.seconds)
            self._lab.start(node)
            came = ground.wait(
                f"{node} runs its tasks again while no nats-server runs",
                lambda: sorted(ground.containers(node).values()) == slots,
                PATIENCE,
            )
            successors = ground.containers(node)
        finally:
            self._all_servers(self._lab.start)
        ground.calm()
        if came:
            ground.untouched(elsewhere | successors, 2.0, f"{node} booted while no nats-server ran, and is back")

    @staticmethod
    def _at_once(do: Callable[[str], object], machines: list[str]) -> None:
        with ThreadPoolExecutor(max_workers=len(machines)) as pool:
            list(pool.map(do, machines))
