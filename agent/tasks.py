"""A container's life: what is the next thing to do for one task.

`next_step` is the whole decision: a pure function of what is wanted, what the engine has and what this agent knows.
It is asked again after each step, so a crash between any two of them changes nothing: the next agent sees
the same containers and goes on from there. Invariants: a state moves forwards only (`FORWARD`); an ended
container is never started again; without a stored assignment nothing is stopped (intent "keep").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from agent.engine.model import Container
from agent.local import LocalTask
from agent.network.model import mesh_addresses
from agent.steps import Create, Kill, Nothing, Pull, Remove, Report, Start, Step, Stop, Wait
from schemas.observation import TaskState

Intent: TypeAlias = Literal["run", "end", "keep", "hold", "cease"]
"""run: the assignment wants it. end: it does not. keep: nobody knows: only look. hold: it is wanted, and may not be
started now. cease: the same, and what runs is ended as failed: its lease has run out (`agent.leases`)."""

Standing: TypeAlias = Literal["free", "held", "lapsed"]
"""What may be done with a task that must not run twice (`agent.leases`). free: it may be started. held: it may not;
what runs goes on for now. lapsed: what runs is to be stopped."""

LAPSED = "stopped: no leader has answered for so long that it may run elsewhere (on_disconnect: stop_after)"

TOLD = "stopped from outside the mesh: its engine was stopped or killed, or somebody stopped it by hand"

REBOOTED = "its machine was shut down while it ran"

FORWARD: dict[TaskState, frozenset[TaskState]] = {
    "new": frozenset({"pulling", "starting", "running", "stopping", "exited", "failed"}),
    "pulling": frozenset({"starting", "running", "stopping", "exited", "failed"}),
    "starting": frozenset({"running", "stopping", "exited", "failed"}),
    "running": frozenset({"stopping", "exited", "failed"}),
    "stopping": frozenset({"exited", "failed"}),
    "exited": frozenset(),
    "failed": frozenset(),
}
"""Which states may follow a state."""

STOPS_BEFORE_KILL = 2
"""Stops that brought nothing before the container is killed outright."""


@dataclass(frozen=True)
class Tries:
    """What this process has tried for the task: forgotten by a restart, which is harmless."""

    boot: str = ""
    """The machine's boot that this process lives in."""

    stops: int = 0
    """Those that the engine has answered."""
    not_before: float = 0.0
    """Monotonic time before which nothing is done, after the engine failed a call."""


def next_step(intent: Intent, task: LocalTask, container: Container | None, tries: Tries, now: float) -> Step:
    """What to do for `task` now. `now` is monotonic, as `tries.not_before` is."""
    if task.ended:
        return _after_the_end(intent, container, tries, now)
    news = _news(intent, task, container, tries.boot)
    if news != task:
        return Report(news)
    if intent == "keep":
        return Nothing()
    if now < tries.not_before:
        return Wait(tries.not_before)
    if intent == "end" or task.state == "stopping":
        return _towards_the_end(container, tries)
    step = _towards_running(task, container)
    return Nothing() if intent != "run" and isinstance(step, Create | Start) else step


def _after_the_end(intent: Intent, container: Container | None, tries: Tries, now: float) -> Step:
    """Somebody has started an ended container by hand: its task is over, so it may not run."""
    if intent == "keep" or container is None or not container.alive:
        return Nothing()
    if now < tries.not_before:
        return Wait(tries.not_before)
    return _towards_the_end(container, tries)


def _towards_running(task: LocalTask, container: Container | None) -> Step:
    if container is not None:
        return Start(container.id) if container.state == "created" else Nothing()
    return Create() if task.state == "starting" else Pull()


def _towards_the_end(container: Container | None, tries: Tries) -> Step:
    if container is None or container.ended:
        return Nothing()
    if container.state == "created":
        return Remove(container.id)
    if tries.stops >= STOPS_BEFORE_KILL:
        return Kill(container.id)
    return Stop(container.id, 10.0 if container.stop_grace is None else container.stop_grace)


def _news(intent: Intent, task: LocalTask, container: Container | None, boot: str) -> LocalTask:
    """The task as the engine and the intent show it now."""
    asked = task.asked or intent == "end"
    if asked != task.asked:
        task = msgspec.structs.replace(task, asked=True)
    if container is None:
        return _without_container(intent, task)
    task = msgspec.structs.replace(task, container=container.id, image=container.image or task.image)
    if container.ended or (container.state == "created" and container.error):
        return _ended(task, container, boot)
    if container.state == "created":
        return _moved(task, "stopping" if asked else "starting")
    if intent == "cease" and not asked and not task.verdict:
        task = msgspec.structs.replace(task, verdict=LAPSED)
    return msgspec.structs.replace(_alive(task, container, asked), boot=boot or task.boot)


def _without_container(intent: Intent, task: LocalTask) -> LocalTask:
    if task.asked:
        return _moved(task, "failed" if task.verdict else "exited", error=task.verdict)
    if task.container:
        return _moved(task, "failed", error="the container was removed by somebody else")
    if intent in ("run", "hold", "cease") and task.state == "new":
        return _moved(task, "pulling")
    return task


def _alive(task: LocalTask, container: Container, asked: bool) -> LocalTask:
    not_ready = task.not_ready if container.not_ready is None else container.not_ready
    flaps = task.flaps + (container.health != task.health or bool(not_ready) != bool(task.not_ready))
    task = msgspec.structs.replace(
        task,
        health=container.health,
        not_ready=not_ready,
        ports=container.ports,
        addresses=mesh_addresses(container.addresses),
        flaps=flaps,
        started=True,
    )
    if container.health == "unhealthy" and not asked and not task.verdict:
        task = msgspec.structs.replace(task, verdict=_unhealthy(container))
    return _moved(task, "stopping" if asked or task.verdict else "running")


def _unhealthy(container: Container) -> str:
    said = container.health_log.strip().splitlines()
    return f"unhealthy container: {said[-1][:256]}" if said else "unhealthy container"


def _ended(task: LocalTask, container: Container, boot: str) -> LocalTask:
    error = _why_failed(task, container, boot)
    ran = max(0.0, container.finished_at - container.started_at) if container.started_at else 0.0
    task = msgspec.structs.replace(
        task,
        exit_code=container.exit_code,
        oom_killed=container.oom_killed,
        ran=ran,
        ports=(),
        addresses={},
        health="",
        not_ready="",
        started=task.started or container.started_at > 0,
    )
    return _moved(task, "failed" if error else "exited", error=error)


def _why_failed(task: LocalTask, container: Container, boot: str) -> str:
    """ "" if it ended well or because that was asked for."""
    if task.verdict:
        return task.verdict
    if task.asked:
        return ""
    if container.oom_killed:
        return f"out of memory: killed by the kernel (exit code {container.exit_code})"
    if container.error:
        return container.error
    if container.told_to_end:
        return f"{TOLD} (exit code {container.exit_code})"
    if task.boot and boot and task.boot != boot:
        return f"{REBOOTED} (exit code {container.exit_code})"
    return "" if container.exit_code == 0 else f"exit code {container.exit_code}"


def _moved(task: LocalTask, state: TaskState, *, error: str = "") -> LocalTask:
    """The task in `state`, if that lies ahead of it."""
    if state not in FORWARD[task.state]:
        return task
    return msgspec.structs.replace(task, state=state, error=error or task.error)


def failed(task: LocalTask, error: str) -> LocalTask:
    """The task after a step that can't succeed."""
    if task.asked and not task.verdict:
        return _moved(task, "exited")
    return _moved(task, "failed", error=task.verdict or error)


def pulled(task: LocalTask, image: str) -> LocalTask:
    """The task once its image is here."""
    return _moved(msgspec.structs.replace(task, image=image), "starting")
