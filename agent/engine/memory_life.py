"""How containers behave in memory: programmable images, and one container's life in virtual time."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.engine.logs import stamp_text
from agent.engine.model import Container, EngineEvent, EventAction, Setup
from agent.engine.plans import ContainerPlan
from agent.engine.setups import planned_setup
from schemas.clock import Clock
from schemas.errors import EngineError
from schemas.nodeapi import LogLine
from schemas.observation import Health
from schemas.postmortem import POST_MORTEM_PROBES, HealthProbe

KILLED = 137
SIGKILL = frozenset({"SIGKILL", "KILL", "9"})
LINES_KEPT = 10_000
NOBODY = contextvars.Context()
"""Whose a container's timers are: it lives on while the process that started it is stopped."""


@dataclass(frozen=True)
class Program:
    """What the containers of an image do. Times are seconds."""

    starts_in: float = 0.0
    """How long the start call takes."""
    start_error: str = ""
    """The engine can't start it, for that reason."""
    runs_for: float | None = None
    """It ends by itself after so long; None: never."""
    exit_code: int = 0
    oom: bool = False
    healthy_after: float | None = 0.1
    """Counts only with a health check; None: it never gets healthy."""
    unhealthy_after: float | None = None
    """Later than `healthy_after`."""
    ready_after: float | None = 0.0
    """It answers readiness checks after so long; None: never."""
    stops_in: float = 0.01
    """From the stop signal to its end."""
    stop_code: int = 0
    ignores_stop: bool = False
    lines: tuple[str, ...] = ()
    """What it logs when it starts."""


@dataclass
class Life:
    """One container: the view the port shows, and what will happen to it."""

    view: Container
    plan: ContainerPlan
    program: Program
    clock: Clock
    tell: Callable[[EngineEvent], None]
    changed: Callable[[Life], None] = lambda _: None
    """Called whenever its view has changed, whether or not an event tells of that."""
    lines: list[LogLine] = field(default_factory=list)
    refuses: str = ""
    """What it answers readiness checks with from now on."""
    told: bool = False
    """Somebody else told it to end."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    files: tuple[str, ...] = ()
    """What differs from its image."""
    setup: Setup = field(init=False)
    _started: float = 0.0
    """Monotonic: wall clocks are set."""
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.setup = planned_setup(self.plan)

    @property
    def checked(self) -> bool:
        """Whether it has a health check."""
        check = self.plan.body.get("Healthcheck") or {}
        return bool(check) and check.get("Test") != ["NONE"]

    def start(self) -> None:
        """It runs from now. Raises EngineError if its program can't be started."""
        if self.program.start_error:
            self.view = replace(self.view, exit_code=127, error=self.program.start_error)
            self.changed(self)
            raise EngineError(self.program.start_error)
        health: Health = "starting" if self.checked else ""
        self.view = replace(
            self.view, state="running", health=health, exit_code=None, error="", started_at=self.clock.wall()
        )
        self._started = self.clock.monotonic()
        self.ended.clear()
        for line in self.program.lines:
            self.log(line)
        self._say("start")
        self._plan_ahead()
        self.changed(self)

    def _plan_ahead(self) -> None:
        program = self.program
        if program.runs_for is not None:
            self._later(program.runs_for, lambda: self.end(program.exit_code, oom=program.oom))
        if self.checked and program.healthy_after is not None:
            self._later(program.healthy_after, lambda: self.become("healthy"))
        if self.checked and program.unhealthy_after is not None:
            self._later(program.unhealthy_after, lambda: self.become("unhealthy"))

    def become(self, health: Health) -> None:
        """Its health check says so from now."""
        if self.view.alive and self.view.health != health:
            probe = HealthProbe(at=stamp_text(self.clock.wall()), exit_code=int(health != "healthy"), output=health)
            probes = (*self.view.probes, probe)[-POST_MORTEM_PROBES:]
            self.view = replace(self.view, health=health, probes=probes)
            self._say("health")
            self.changed(self)

    def answer(self) -> str:
        """What a readiness check gets; "": it is ready."""
        after = self.program.ready_after
        ready = self.view.alive and after is not None and self.clock.monotonic() >= self._started + after
        return self.refuses or ("" if ready else "connection refused")

    def signal(self, name: str) -> None:
        """It gets a signal; any but SIGKILL is taken for its stop signal."""
        if not self.view.alive:
            return
        self._say("kill")
        if name in SIGKILL:
            self.end(KILLED)
        elif not self.program.ignores_stop:
            self._later(self.program.stops_in, lambda: self.end(self.program.stop_code))

    def end(self, code: int, *, oom: bool = False, silent: bool = False) -> None:
        """It has ended. `silent`: nobody is told, as when the whole engine dies."""
        if not self.view.alive:
            return
        self.forget_plans()
        self.view = replace(
            self.view,
            state="exited",
            health="",
            exit_code=KILLED if oom else code,
            oom_killed=oom,
            told_to_end=self.told,
            finished_at=self.clock.wall(),
            ports=(),
        )
        self.ended.set()
        if not silent:
            if oom:
                self._say("oom")
            self._say("die")
        self.changed(self)

    def log(self, text: str, stream: str = "stdout") -> None:
        """It writes a line."""
        self.lines.append(LogLine(at=stamp_text(self.clock.wall()), text=text, stream=stream))
        del self.lines[:-LINES_KEPT]

    def forget_plans(self) -> None:
        """Nothing more happens to it by itself."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _later(self, delay: float, act: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay, act, context=NOBODY))

    def _say(self, action: EventAction) -> None:
        code = self.view.exit_code if action == "die" else None
        self.tell(EngineEvent(action, self.view.id, self.view.labels, self.clock.wall(), code, self.view.health))
