"""Doing: one run on a lab that is up: the stack, the turns with their calms, and what is found at the end."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path

from benchmarks.turmoil import audit, growth, orders, plan, remains, stack
from benchmarks.turmoil.audit import Finding
from benchmarks.turmoil.blows import Blows
from benchmarks.turmoil.ground import Ground
from benchmarks.turmoil.operators import Operators
from benchmarks.turmoil.vitals import Vitals
from lab.eye import Eye
from lab.lab import Lab
from lab.plan import Service
from schemas.errors import MeshError, Unreachable

PATIENCE = 150.0
"""Seconds in which it must be as it is wanted once nothing is wrong any more: many times what it takes."""

CALLER = "caller"
VITALS = "vitals.csv"


class Run:
    """One run. Once `stop` is set nothing is waited for any more."""

    IMAGES = stack.IMAGES

    def __init__(self, lab: Lab, folder: Path, seed: int, stop: threading.Event) -> None:
        self._lab = lab
        self._folder = folder
        self._witness = folder / "witness"
        self._seed = seed
        self._stop = stop
        self._began = time.monotonic()
        self._unsettled: list[str] = []
        self._died: list[str] = []
        self._slowest_calm = 0.0
        self._eye: Eye = lab.eye()
        self._operators = Operators(lab, orders.orders(seed, len(lab.nodes)), self._witness, self.say)
        self._vitals = Vitals(lab)
        self._ground = Ground(
            lab,
            self._eye,
            folder,
            self.say,
            stop,
            self._calm,
            self._operators.work,
            lambda: self._operators.acknowledged,
        )
        self._blows = Blows(self._ground, self._leader, seed)
        self._last_leader = lab.controllers[0]

    def say(self, text: str) -> None:
        """A line, with the time since faults began."""
        seconds = time.monotonic() - self._began
        print(f"{int(seconds) // 60:3d}:{int(seconds) % 60:02d}  {text}", flush=True)

    def run(self, ending: contextlib.ExitStack, minutes: float, only: tuple[str, ...], since: float) -> list[Finding]:
        """All of it; `since`: when set-up began (monotonic). What has to end with it goes onto `ending`."""
        self._witness.mkdir()
        self._witness.chmod(0o777)
        ending.enter_context(self._eye)
        before = remains.look_all(self._lab)
        self._operators.start()
        ending.callback(self._operators.end)
        self._calm()
        if self._unsettled:
            return [audit.none_of("what is wrong with the stack before any fault", self._unsettled)]
        self._start_caller()
        self._vitals.start()
        ending.callback(self._vitals.end)
        self._began = time.monotonic()
        self.say(f"the stack runs; set-up took {self._began - since:.0f} s")
        self._turmoil(minutes, only)
        findings = self._findings_of_work(minutes, only or plan.NAMES)
        self._remove_stack()
        return findings + self._findings_of_remains(before)

    def _turmoil(self, minutes: float, only: tuple[str, ...]) -> None:
        self._operators.work()
        for turn in plan.turns(self._seed, nodes=len(self._lab.nodes), only=only):
            self._blows.strike(turn)
            over = time.monotonic() - self._began > minutes * 60
            if died := remains.ended_by_themselves(self._lab):
                self.say(f"do not run, and nobody ended them: {', '.join(died)}")
                self._died += died
            if turn.calm or over:
                self._blows.mend()
                self._calm()
            if over:
                return
            self._operators.work()

    # --- calms --------------------------------------------------------------------------------------------------------

    def _calm(self) -> bool:
        """Nothing is wrong any more: it must become as it is wanted, and stay so for a moment; whether it did."""
        began = time.monotonic()
        wrong = self._wait()
        seconds = time.monotonic() - began
        self._slowest_calm = max(self._slowest_calm, seconds)
        counts = stack.counts(self._folder)
        self.say(
            f"calm: {'as it is wanted' if not wrong else 'NOT AS IT IS WANTED'} after {seconds:.1f} s; "
            f"{self._operators.acknowledged} orders acknowledged, {counts['answered']:.0f} of {counts['sent']:.0f} "
            f"requests answered, longest gap {counts['gap']:.0f} s"
        )
        for each in wrong:
            self.say(f"    {each}")
            self._unsettled.append(each)
        return not wrong

    def _wait(self) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        if not self._operators.rest(PATIENCE):
            return [f"the operators' last order is not acknowledged after {PATIENCE:g} s"]
        in_a_row = 0
        while True:
            wrong = self._wrong()
            in_a_row = 0 if wrong else in_a_row + 1
            if in_a_row == 2:
                return []
            if time.monotonic() > deadline and wrong:
                return wrong
            if self._stop.wait(0.7):
                raise KeyboardInterrupt

    def _wrong(self) -> list[str]:
        wanted = stack.running(self._operators.wanted, len(self._lab.nodes))
        try:
            nodes = [
                f"{node.node} is {node.status}: {node.why}" for node in self._eye.nodes() if node.status != "ready"
            ]
            tasks = {
                task.container: task.service
                for task in self._eye.tasks()
                if task.state == "running" and task.current and task.health in ("", "healthy")
            }
        except MeshError as error:
            return [error.message]
        return nodes or remains.what_is_wrong(self._lab, tasks, wanted)

    def _leader(self) -> str:
        with contextlib.suppress(Unreachable):
            self._last_leader = self._eye.leader(3.0).holder
        return self._last_leader

    # --- the caller ---------------------------------------------------------------------------------------------------

    def _start_caller(self) -> None:
        addresses = [machine.address for machine in self._lab.plan.of("node")]
        argv = (sys.executable, "-I", "-c", stack.CALLER, str(self._folder), str(stack.PORT), *addresses)
        self._lab.rack.host("switch").start(Service(name=CALLER, argv=argv))

    def _stored(self) -> set[str]:
        """The numbers that the store holds. Raises MeshError, StopIteration."""
        node, container = next(
            (node, each["Id"])
            for node in self._lab.nodes
            for each in remains.running(self._lab.engine(node), f"mesh.service={stack.STACK}_store")
        )
        pid = self._lab.engine(node).inspect(container)["State"]["Pid"]
        enter = ("nsenter", "-t", str(pid), "-m", "-n", "--", "/usr/bin/redis-cli", "smembers", "answered")
        return set(self._lab.exec(node, enter).stdout.split())

    # --- the end ------------------------------------------------------------------------------------------------------

    def _findings_of_work(self, minutes: float, kinds: Collection[str]) -> list[Finding]:
        self._lab.rack.host("switch").stop(CALLER, patience=5)
        lost = sorted(stack.answered(self._folder) - self._stored(), key=int)
        lives = stack.lives(self._witness)
        counts = stack.counts(self._folder)
        blows = sum(self._blows.done.values())
        share = counts["answered"] / max(1.0, counts["sent"])
        return [
            Finding("faults, kinds", f"{blows}, {len(self._blows.done)}", "", True),
            audit.all_came([each for each in kinds if not self._blows.done[each]], minutes),
            Finding("requests answered while all that", f"{share:.1%} of {counts['sent']:.0f}", "", True),
            Finding("longest until all was as wanted", f"{self._slowest_calm:.0f} s", f"{PATIENCE:g} s", True),
            Finding("orders acknowledged", f"{self._operators.acknowledged}", "", True),
            Finding("longest until an order was acknowledged", f"{self._operators.slowest:.1f} s", "", True),
            audit.none_of("acknowledged orders lost", self._operators.lost),
            audit.none_of(f"acknowledged writes lost, of {len(stack.answered(self._folder))}", lost),
            audit.none_of(f"singletons doubled, of {len(lives)} lives", audit.doubled(lives)),
            audit.none_of("calms in which it was not as wanted", self._unsettled),
            audit.none_of("promises of a fault not kept", self._ground.broken),
            audit.none_of("programs that ended by themselves", self._died),
        ]  # fmt: skip

    def _remove_stack(self) -> None:
        self.say("the stack is removed")
        self._operators.end()
        remains.remove_stack(self._lab)

    def _findings_of_remains(self, before: dict[str, remains.Found]) -> list[Finding]:
        left = self._left(before)
        self._vitals.end()
        self._vitals.write(self._folder / VITALS)
        samples = self._vitals.samples
        findings = [audit.none_of(f"{kind} left over", left[kind]) for kind in left]
        for role in ("agent", "controller"):
            findings.append(growth.threads(role, samples))
            findings += [growth.rise(role, what, samples) for what in ("threads", "descriptors")]
            findings.append(growth.flat(role, samples))
        return findings

    def _left(self, before: dict[str, remains.Found]) -> dict[str, list[str]]:
        deadline = time.monotonic() + PATIENCE / 2
        while True:
            left = remains.more(before, remains.look_all(self._lab))
            for kind in ("namespaces", "processes"):
                left[kind] = [each for each in left[kind] if each not in self._ground.excused]
            if not any(left.values()) or time.monotonic() > deadline:
                return left
            if self._stop.wait(1.0):
                raise KeyboardInterrupt
