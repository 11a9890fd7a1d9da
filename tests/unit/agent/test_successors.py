"""When an agent replaces ended tasks by itself, and as what."""

from __future__ import annotations

from typing import Any

import pytest

from agent.local import LocalTask
from agent.successors import Due, backoff, due_successors, leader_silent, next_in_chain
from agent.wants import stands_for, to_observe, wanted_tasks
from schemas.assignment import AssignedTask, Assignment
from schemas.spec import ContainerSpec, RestartPolicy, TaskSpec

POLICY = RestartPolicy(delay=1.0, max_delay=10.0, reset_after=60.0)


def ended(id_: str, state: str = "failed", **fields: Any) -> LocalTask:
    return LocalTask(id=id_, service="web", slot="1", state=state, **fields)  # type: ignore[arg-type]


def assignment(*ids: str, policy: RestartPolicy = POLICY, desired: str = "running") -> Assignment:
    spec = TaskSpec(container=ContainerSpec(image="web:1"), restart=policy)
    tasks = tuple(
        AssignedTask(id=id_, service="web", slot="1", revision=1, spec=spec.hash, desired=desired)  # type: ignore[arg-type]
        for id_ in ids
    )
    return Assignment(node="n1", epoch=1, tasks=tasks, specs={spec.hash: spec})


@pytest.mark.parametrize(
    ("answered", "period", "now", "silent"),
    [(0.0, 0.8, 4.9, False), (0.0, 0.8, 5.1, True), (0.0, 2.0, 5.9, False), (0.0, 2.0, 6.1, True)],
)
def test_a_leader_is_silent_after_three_periods_and_at_least_five_seconds(
    answered: float, period: float, now: float, silent: bool
) -> None:
    assert leader_silent(answered, period, now) is silent


def test_the_pause_doubles_up_to_its_limit() -> None:
    assert [backoff(POLICY, nth) for nth in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert backoff(POLICY, 10_000) == 10


@pytest.mark.parametrize(
    ("chain", "policy", "due"),
    [
        ([ended("1-1")], POLICY, Due("1-1", "1-1.r1", 11.0)),
        ([ended("1-1"), ended("1-1.r1")], POLICY, Due("1-1", "1-1.r2", 12.0)),
        ([ended("1-1", ran=61.0)], POLICY, Due("1-1", "1-1.r1", 11.0)),
        ([ended("1-1"), ended("1-1.r1", ran=61.0)], POLICY, Due("1-1", "1-1.r2", 11.0)),
        ([ended("1-1"), ended("1-1.r1", "running")], POLICY, None),
        ([ended("1-1", "exited")], POLICY, Due("1-1", "1-1.r1", 11.0)),
        ([ended("1-1", "exited")], RestartPolicy(condition="on-failure"), None),
        ([ended("1-1")], RestartPolicy(condition="on-failure", delay=1.0), Due("1-1", "1-1.r1", 11.0)),
        ([ended("1-1")], RestartPolicy(condition="none"), None),
        ([ended("1-1"), ended("1-1.r1")], RestartPolicy(max_attempts=1), None),
        ([ended("1-1.r2")], POLICY, Due("1-1.r2", "1-1.r3", 11.0)),
    ],
)
def test_what_follows_in_a_chain(chain: list[LocalTask], policy: RestartPolicy, due: Due | None) -> None:
    assert next_in_chain(chain, policy, {task.id: 10.0 for task in chain}, {}) == due


def test_attempts_count_within_their_window() -> None:
    policy = RestartPolicy(delay=1.0, max_attempts=1, window=20.0)
    chain = [ended("1-1"), ended("1-1.r1")]
    assert next_in_chain(chain, policy, {"1-1.r1": 10.0}, {"1-1.r1": 5.0}) is None
    assert next_in_chain(chain, policy, {"1-1.r1": 100.0}, {"1-1.r1": 5.0}) == Due("1-1", "1-1.r2", 102.0)


@pytest.mark.parametrize(
    ("record", "local"),
    [
        (assignment("1-1", desired="shutdown"), [ended("1-1")]),
        (assignment(), [ended("1-1")]),
        (None, [ended("1-1")]),
        (assignment("1-1"), [ended("1-1", "running")]),
    ],
)
def test_nothing_else_is_started(record: Assignment | None, local: list[LocalTask]) -> None:
    tasks = {task.id: task for task in local}
    assert due_successors(tasks, wanted_tasks(record, tasks), {}, {}) == ()


def test_a_refused_agent_starts_none() -> None:
    tasks = {"1-1": ended("1-1")}
    assert due_successors(tasks, wanted_tasks(assignment("1-1"), tasks, frozen=True), {}, {}) == ()


def test_a_successor_stands_while_its_ended_task_is_wanted() -> None:
    tasks = {task.id: task for task in (ended("1-1"), ended("1-1.r1", "running", predecessor="1-1"))}
    wanted = wanted_tasks(assignment("1-1"), tasks)
    assert wanted["1-1.r1"].intent == "run"
    assert wanted["1-1.r1"].spec is not None
    assert wanted_tasks(assignment("1-2"), tasks)["1-1.r1"].intent == "end"
    assert wanted_tasks(assignment("1-1", desired="shutdown"), tasks)["1-1.r1"].intent == "end"
    assert wanted_tasks(assignment("1-1.r1"), tasks)["1-1.r1"].named
    assert wanted_tasks(None, tasks)["1-1.r1"].intent == "keep"


def test_a_successor_of_an_adopted_successor_holds_its_place() -> None:
    assert stands_for("1-1.r2", ["1-1.r1", "2-1"]) == "1-1.r1"
    assert stands_for("1-1.r1", ["1-1.r1"]) == ""
    assert stands_for("1-1", ["1-1"]) == ""


def test_of_ended_successors_only_the_latest_is_told() -> None:
    chain = [ended("1-1"), ended("1-1.r1", predecessor="1-1"), ended("1-1.r2", predecessor="1-1")]
    tasks = {task.id: task for task in chain}
    told = to_observe(chain, wanted_tasks(assignment("1-1"), tasks))
    assert [task.id for task in told] == ["1-1", "1-1.r2"]
