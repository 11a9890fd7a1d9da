"""The next step of a task, as tables: intent, what is known, what the engine has -> what to do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.engine.model import Container
from agent.local import LocalTask
from agent.steps import Create, Kill, Nothing, Pull, Remove, Report, Start, Step, Stop, Wait
from agent.tasks import FORWARD, REBOOTED, TOLD, Intent, Tries, failed, next_step, pulled
from schemas.observation import ENDED

NOW = 100.0


def task(state: str = "new", **fields: Any) -> LocalTask:
    return LocalTask(id="1-1", service="web", slot="1", state=state, **fields)  # type: ignore[arg-type]


def container(state: str = "running", **fields: Any) -> Container:
    fields.setdefault("stop_grace", 7.0)
    return Container("c1", "web.1.1-1", state, image="i1", **fields)  # type: ignore[arg-type]


RUNNING = task("running", container="c1", image="i1", started=True)
STOPPING = task("stopping", container="c1", image="i1", started=True, asked=True)


@pytest.mark.parametrize(
    ("intent", "known", "seen", "step"),
    [
        # nothing is there yet
        ("run", task(), None, Report(task("pulling"))),
        ("run", task("pulling"), None, Pull()),
        ("run", task("starting", image="i1"), None, Create()),
        ("keep", task(), None, Nothing()),
        ("keep", task("pulling"), None, Nothing()),
        ("end", task(), None, Report(task("exited", asked=True))),
        ("end", task("pulling"), None, Report(task("exited", asked=True))),
        # made, never started: also after a crash between the two
        ("run", task("starting", image="i1"), container("created"),
         Report(task("starting", image="i1", container="c1"))),
        ("run", task("starting", image="i1", container="c1"), container("created"), Start("c1")),
        ("keep", task("starting", image="i1", container="c1"), container("created"), Nothing()),
        ("end", task("stopping", image="i1", container="c1", asked=True), container("created"), Remove("c1")),
        # the engine could not start it, and the agent that asked is gone
        ("run", task("starting", image="i1", container="c1"), container("created", error="no such file"),
         Report(task("failed", image="i1", container="c1", error="no such file"))),
        # runs
        ("run", task("starting", image="i1", container="c1"), container(), Report(msgspec.structs.replace(RUNNING))),
        ("run", RUNNING, container(), Nothing()),
        ("keep", RUNNING, container(), Nothing()),
        ("end", RUNNING, container(), Report(STOPPING)),
        ("end", STOPPING, container(), Stop("c1", 7.0)),
        ("end", STOPPING, container(stop_grace=None), Stop("c1", 10.0)),
        # what has begun to stop goes on stopping, whatever the assignment says later
        ("run", STOPPING, container(), Stop("c1", 7.0)),
        # has ended
        ("run", RUNNING, container("exited", exit_code=0, started_at=1.0, finished_at=5.0),
         Report(msgspec.structs.replace(RUNNING, state="exited", exit_code=0, ran=4.0))),
        ("end", STOPPING, container("exited", exit_code=143, started_at=1.0, finished_at=5.0),
         Report(msgspec.structs.replace(STOPPING, state="exited", exit_code=143, ran=4.0))),
        ("run", RUNNING, None,
         Report(msgspec.structs.replace(RUNNING, state="failed", error="the container was removed by somebody else"))),
        ("end", STOPPING, None, Report(msgspec.structs.replace(STOPPING, state="exited"))),
        # is over: never started again, and stopped should somebody do that by hand
        ("run", task("failed", container="c1"), container("exited", exit_code=1), Nothing()),
        ("run", task("exited", container="c1"), None, Nothing()),
        ("run", task("failed", container="c1"), container("created"), Nothing()),
        ("run", task("failed", container="c1"), container(), Stop("c1", 7.0)),
        ("keep", task("failed", container="c1"), container(), Nothing()),
    ],
)  # fmt: skip
def test_the_next_step(intent: Intent, known: LocalTask, seen: Container | None, step: Step) -> None:
    found = next_step(intent, known, seen, Tries(), NOW)
    assert found == step
    assert found.describe()


@pytest.mark.parametrize(
    ("seen", "error"),
    [
        (container("exited", exit_code=3), "exit code 3"),
        (container("exited", exit_code=137, oom_killed=True), "out of memory: killed by the kernel (exit code 137)"),
        (container("exited", exit_code=127, error="exec: not found"), "exec: not found"),
        (container("dead", exit_code=1), "exit code 1"),
        (container("exited", exit_code=0, told_to_end=True), f"{TOLD} (exit code 0)"),
        (container("exited", exit_code=143, told_to_end=True), f"{TOLD} (exit code 143)"),
    ],
)
def test_an_end_that_nobody_asked_for_is_told_with_its_reason(seen: Container, error: str) -> None:
    step = next_step("run", RUNNING, seen, Tries(), NOW)
    assert isinstance(step, Report)
    assert (step.task.state, step.task.error) == ("failed", error)


@pytest.mark.parametrize(
    ("seen_in", "now_in", "state", "error"),
    [
        ("b1", "b2", "failed", f"{REBOOTED} (exit code 0)"),
        ("b1", "b1", "exited", ""),
        ("", "b2", "exited", ""),  # adopted: nobody knows when it was seen to run
    ],
)
def test_what_ends_well_while_its_machine_is_shut_down_has_failed(
    seen_in: str, now_in: str, state: str, error: str
) -> None:
    running = next_step("run", task("starting", container="c1"), container(), Tries(boot=seen_in), NOW)
    assert isinstance(running, Report)
    step = next_step("run", running.task, container("exited", exit_code=0), Tries(boot=now_in), NOW)
    assert isinstance(step, Report)
    assert (step.task.state, step.task.error) == (state, error)
    asked = next_step("end", running.task, container("exited", exit_code=0), Tries(boot=now_in), NOW)
    assert isinstance(asked, Report)
    assert (asked.task.state, asked.task.error) == ("exited", "")


def test_an_unhealthy_container_is_judged_first_and_stopped_then() -> None:
    step = next_step("run", RUNNING, container(health="unhealthy"), Tries(), NOW)
    assert isinstance(step, Report)
    assert (step.task.state, step.task.verdict) == ("stopping", "unhealthy container")
    assert next_step("run", step.task, container(health="unhealthy"), Tries(), NOW) == Stop("c1", 7.0)
    ended = next_step("run", step.task, container("exited", exit_code=0), Tries(), NOW)
    assert isinstance(ended, Report)
    assert (ended.task.state, ended.task.error) == ("failed", "unhealthy container")


def test_an_unhealthy_container_that_is_told_to_end_anyway_has_not_failed() -> None:
    step = next_step("end", RUNNING, container(health="unhealthy"), Tries(), NOW)
    assert isinstance(step, Report)
    assert step.task.verdict == ""


def test_after_a_failed_call_nothing_is_done_before_its_time() -> None:
    assert next_step("end", STOPPING, container(), Tries(not_before=105.0), NOW) == Wait(105.0)
    assert next_step("end", STOPPING, container(), Tries(not_before=99.0), NOW) == Stop("c1", 7.0)


def test_what_does_not_stop_is_killed() -> None:
    assert next_step("end", STOPPING, container(), Tries(stops=2), NOW) == Kill("c1")


def test_news_is_told_even_while_calls_wait() -> None:
    step = next_step("run", RUNNING, container("exited", exit_code=1), Tries(not_before=999.0), NOW)
    assert isinstance(step, Report)


def test_states_move_forwards_only() -> None:
    order = ["new", "pulling", "starting", "running", "stopping"]
    for position, state in enumerate(order):
        assert FORWARD[state] == set(order[position + 1 :]) | ENDED  # type: ignore[index]
    for state in ENDED:
        assert not FORWARD[state]
    assert failed(task("exited"), "late").state == "exited"
    assert pulled(task("running"), "i2").state == "running"


def test_every_step_reaches_a_rest() -> None:
    """Whatever is reported is news once: the same look again asks for something else."""
    for intent in ("run", "end", "keep"):
        for state in FORWARD:
            for seen in (None, container("created"), container(), container("exited", exit_code=1)):
                step = next_step(intent, task(state), seen, Tries(), NOW)  # type: ignore[arg-type]
                for _ in range(3):
                    if isinstance(step, Report):
                        step = next_step(intent, step.task, seen, Tries(), NOW)  # type: ignore[arg-type]
                assert not isinstance(step, Report), (intent, state, seen)
