"""How far a deploy is, and when it is over: a state machine that is shown looks at the mesh and asks nothing itself.

A slot counts once its task has been running (healthy) for `monitor` seconds, as this process saw it: no other machine's
clock is used. Over: done, failed (three ends of one slot, or the leader gave up), or timed out with a reason for each
lagging slot. The shell around it is `meshctl.watching`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from meshctl.format.times import duration
from meshctl.views.states import docker_state, ended, told_to_end, trouble, up
from meshctl.views.status import reason_text
from meshctl.views.tasks import in_order, slot_order, task_name
from schemas.errors import MeshError, RolloutFailed, TimedOut
from schemas.records import RolloutRecord
from schemas.serviceapi import ServiceView
from schemas.taskapi import TaskView

ENDS = 3
"""So many ends of one slot while waiting, and the deploy is called failed."""

SLOTS_TOLD = 10
"""So many lagging slots are told by name."""


@dataclass(frozen=True)
class Goal:
    """What is waited for: a service at a revision or later. `settled`: nothing was changed, so no watch is needed."""

    service: str
    revision: int = 0
    settled: bool = False
    fresh: bool = False
    """The revision is new: every end of its tasks belongs to this deploy."""
    scaled: bool = False
    """Only the number of tasks was changed: what became of the last deploy does not count."""


@dataclass(frozen=True)
class Progress:
    """How far one service is."""

    service: str
    wanted: int = 0
    running: int = 0
    steady: int = 0
    """Running for `monitor` seconds, or complete."""
    complete: int = 0
    """Ended with code 0, and not to be started again."""
    words: tuple[tuple[str, int], ...] = ()
    """Docker's state -> how many slots that are not running are in it."""
    reasons: tuple[str, ...] = ()
    done: bool = False
    canary: str = ""
    """Its canary stands, in words: for the deploy that is all."""
    known: bool = False
    """Whether the leader has answered this intent."""


@dataclass(frozen=True)
class Look:
    """What one look showed. `error` is set when it is over and not well; `details` are lines to print before it."""

    progress: tuple[Progress, ...]
    done: bool = False
    error: MeshError | None = None
    details: tuple[str, ...] = ()


@dataclass
class _Service:
    goal: Goal
    up_since: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Slot -> its task and when it was first seen up."""
    before: frozenset[str] | None = None
    ends: dict[str, dict[str, TaskView]] = field(default_factory=dict)
    """Slot -> tasks that ended while waiting."""


class Waiting:
    """The machine: `look` after `look` until one is over. Times are seconds of any monotonic clock."""

    def __init__(self, goals: Sequence[Goal], *, started: float, timeout: float) -> None:
        self._services = {goal.service: _Service(goal) for goal in goals}
        self._started = started
        self._timeout = timeout

    @property
    def services(self) -> tuple[str, ...]:
        """What is waited for."""
        return tuple(self._services)

    def look(self, views: Mapping[str, ServiceView], tasks: Sequence[TaskView], now: float) -> Look:
        """Take in what the mesh says now."""
        mine = {name: [task for task in tasks if task.service == name] for name in self._services}
        progress: list[Progress] = []
        for name, service in self._services.items():
            view = views.get(name)
            if view is None or view.record.removed:
                error = RolloutFailed(f"service {name} was removed meanwhile")
                return Look(tuple(progress), error=error)
            _note(service, mine[name], now)
            progress.append(_progress(service, view, mine[name], now))
            failure = _failure(service, view)
            if failure is not None:
                return Look(tuple(progress), error=failure[0], details=failure[1])
        if all(item.done for item in progress):
            return Look(tuple(progress), done=True)
        if now - self._started >= self._timeout:
            late, details = self._too_late(progress, views, mine)
            return Look(tuple(progress), error=late, details=details)
        return Look(tuple(progress))

    def _too_late(
        self, progress: Sequence[Progress], views: Mapping[str, ServiceView], mine: Mapping[str, Sequence[TaskView]]
    ) -> tuple[TimedOut, tuple[str, ...]]:
        late = [item for item in progress if not item.done]
        details = [line for item in late for line in lagging(views[item.service], item, mine[item.service])]
        more = [f"  ... and {len(details) - SLOTS_TOLD} more slots"] if len(details) > SLOTS_TOLD else []
        counts = ", ".join(f"{item.service} {item.steady} of {item.wanted}" for item in late)
        hint = "it goes on without you; meshctl service ps SERVICE shows how far it is, --timeout waits longer"
        error = TimedOut(f"not all runs after {duration(self._timeout)}: {counts}", hint=hint)
        return error, (*details[:SLOTS_TOLD], *more)


def lagging(view: ServiceView, progress: Progress, tasks: Sequence[TaskView]) -> list[str]:
    """One line with the reason for each slot that does not run."""
    lines, seen = [], set()
    for task in in_order(tasks):
        if task.slot in seen:
            continue
        seen.add(task.slot)
        if not up(task):
            why = trouble(task) or task.why or "no reason is known"
            where = f" on {task.node}" if task.node else ""
            lines.append(f"  {task_name(task)}: {docker_state(task)}{where}: {why}")
    told = len(lines) or progress.wanted <= len(seen)
    return lines if told else [f"  {progress.service}: {reason}" for reason in progress.reasons or (_silent(view),)]


def _silent(view: ServiceView) -> str:
    return "the leader has not answered yet" if view.rollout is None else view.rollout.why or "no reason is known"


def _note(service: _Service, tasks: Sequence[TaskView], now: float) -> None:
    """Remember which tasks are up since when, and which ended while waiting."""
    current = {task.slot: task for task in tasks if _counts(task) and up(task)}
    service.up_since = {
        slot: (task.id, _since(service.up_since.get(slot), task.id, now)) for slot, task in current.items()
    }
    over = {task.id: task for task in tasks if ended(task)}
    if service.before is None:
        service.before = frozenset() if service.goal.fresh else frozenset(over)
    for task in over.values():
        if task.id not in service.before and task.revision >= service.goal.revision and _is_an_end(task):
            service.ends.setdefault(task.slot, {})[task.id] = task


def _since(known: tuple[str, float] | None, task: str, now: float) -> float:
    return known[1] if known is not None and known[0] == task else now


def _counts(task: TaskView) -> bool:
    """Whether a task fills its slot (its revision may be older and equal: `current` tells)."""
    return task.current and task.desired == "running"


def _is_an_end(task: TaskView) -> bool:
    """Whether a task ended by itself. One that was told to end says why."""
    return task.state == "failed" or (task.state == "exited" and not told_to_end(task))


def _progress(service: _Service, view: ServiceView, tasks: Sequence[TaskView], now: float) -> Progress:
    rollout = view.rollout
    known = rollout is not None and rollout.intent >= view.sequence
    wanted = rollout.wanted if rollout is not None and known else view.desired
    settled = service.goal.settled and rollout is not None and rollout.phase == "done"
    monitor = 0.0 if settled else view.spec.update.monitor
    complete = rollout.complete if rollout is not None and known else 0
    steady = sum(now - since >= monitor for _, since in service.up_since.values()) + complete
    running = len(service.up_since) + complete
    current = rollout is not None and known and rollout.updated >= wanted
    left = wanted == 0 and any(not ended(task) and task.state != "lost" and task.id for task in tasks)
    canary = rollout.why if rollout is not None and known and rollout.update.stands else ""
    runs = current and steady >= wanted and not left and not _moving(rollout, scaled=service.goal.scaled)
    return Progress(
        service=view.record.name,
        wanted=wanted,
        running=min(running, wanted),
        steady=min(steady, wanted),
        words=_words(tasks, max(0, wanted - running)),
        complete=complete,
        reasons=_reasons(rollout) if rollout is not None and known else (),
        canary=canary,
        done=bool(canary) or runs,
        known=known,
    )


def _reasons(rollout: RolloutRecord) -> tuple[str, ...]:
    back = (rollout.why,) if rollout.update.state == "rollback_started" else ()
    return (*back, *(reason_text(reason) for reason in rollout.reasons))


def _moving(rollout: RolloutRecord | None, *, scaled: bool) -> bool:
    """Whether the leader is still watching new tasks, or is going back."""
    if rollout is None or scaled:
        return False
    back = ("rollback_started", "rollback_paused", "rollback_completed")
    return rollout.update.state in back or (bool(rollout.update.total) and rollout.update.state == "updating")


def _words(tasks: Sequence[TaskView], missing: int) -> tuple[tuple[str, int], ...]:
    """Docker's states of the slots that are not up. No more slots wait without a task than are `missing`."""
    words: dict[str, int] = {}
    for task in tasks:
        if task.id and task.current and not ended(task) and not up(task):
            words[docker_state(task)] = words.get(docker_state(task), 0) + 1
    waiting = min(sum(not task.id for task in tasks), missing - sum(words.values()))
    return tuple(sorted(({**words, "Pending": waiting} if waiting > 0 else words).items()))


def _failure(service: _Service, view: ServiceView) -> tuple[RolloutFailed, tuple[str, ...]] | None:
    name = service.goal.service
    hint = f"meshctl service ps {name} and meshctl service logs {name} tell more"
    rollout = view.rollout
    known = rollout is not None and rollout.intent >= view.sequence
    if rollout is not None and known and not service.goal.scaled:
        if rollout.update.state == "rollback_started":
            return None
        if rollout.phase == "failed":
            error = RolloutFailed(f"service {name}: {rollout.why or 'the leader gave up'}", hint=hint)
            return error, (*_culprit(rollout), *_runs_now(view))
    if rollout is not None and rollout.update.total and rollout.update.state == "updating":
        return None  # the leader counts failures and says what follows
    for slot in sorted(service.ends, key=slot_order):
        ends = sorted(service.ends[slot].values(), key=lambda task: (task.since, task.id))
        if len(ends) >= ENDS:
            last = ends[-1]
            why = trouble(last) or "it exits at once, with code 0"
            error = RolloutFailed(f"{task_name(last)} ended {len(ends)} times: {why}", hint=hint)
            return error, (
                *last_words(last),
                f"  what runs now: {view.running} of {view.desired} tasks",
            )
    return None


def _culprit(rollout: RolloutRecord) -> tuple[str, ...]:
    """The first task that failed, with the last lines of its log."""
    culprit, slot = rollout.update.culprit, rollout.update.culprit_slot
    if culprit is None:
        return ()
    name = f"{rollout.service}.{slot}"
    why = culprit.error or (f"exit code {culprit.exit_code}" if culprit.exit_code is not None else "it ended")
    said = (f"  last log lines of {name} on {culprit.node}:", *(f"  | {line}" for line in culprit.log_tail))
    tail = said if culprit.log_tail else (f"  {name} on {culprit.node} left no log",)
    return (f"  {name} of revision {culprit.revision} failed on {culprit.node}: {why}", *tail)


def _runs_now(view: ServiceView) -> tuple[str, ...]:
    """What the deploy has left behind."""
    rollout = view.rollout
    assert rollout is not None, "checked by the caller"
    if rollout.update.state == "rollback_completed":
        return (f"  what runs now: revision {rollout.revision}, as before: {rollout.running} of {rollout.wanted}",)
    new = f"{rollout.updated} of {rollout.wanted} slots have revision {rollout.revision}, {rollout.running} of them run"
    return (f"  what runs now: {view.running} tasks; {new}",)


def last_words(task: TaskView) -> tuple[str, ...]:
    """The last log lines of a task, with whose they are."""
    if not task.log_tail:
        return (f"  {task_name(task)} on {task.node} left no log",)
    return (f"  last log lines of {task_name(task)} on {task.node}:", *(f"  | {line}" for line in task.log_tail))
