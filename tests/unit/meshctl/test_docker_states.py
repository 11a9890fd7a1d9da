"""Our states in docker's words."""

from __future__ import annotations

from typing import Any

import pytest

from meshctl.views.states import desired_state, docker_state, trouble
from schemas.taskapi import TaskView


def task(state: str, **fields: Any) -> TaskView:
    return TaskView(id="a-1", service="web", slot="1", state=state, **fields)


@pytest.mark.parametrize(
    ("view", "word"),
    [
        (task("new"), "New"),
        (task("pending"), "Pending"),
        (task("assigned"), "Assigned"),
        (task("pulling"), "Preparing"),
        (task("starting"), "Starting"),
        (task("running"), "Running"),
        (task("running", health="starting"), "Starting"),
        (task("running", health="healthy"), "Running"),
        (task("running", health="unhealthy"), "Unhealthy"),
        (task("stopping", desired="shutdown"), "Stopping"),
        (task("exited", exit_code=0), "Complete"),
        (task("exited", exit_code=0, why="3 of 3 nodes fit"), "Complete"),
        (task("exited", exit_code=0, desired="shutdown", why="replaced by revision 2"), "Shutdown"),
        (task("exited", exit_code=143, desired="shutdown", why="scaled down"), "Shutdown"),
        (task("failed", exit_code=1, container="c1"), "Failed"),
        (task("failed", oom_killed=True), "Failed"),
        (task("failed", error="no such image"), "Rejected"),
        (task("lost"), "Orphaned"),
    ],
)
def test_each_state_has_dockers_word(view: TaskView, word: str) -> None:
    assert docker_state(view) == word


def test_what_has_ended_is_wanted_shut_down() -> None:
    assert desired_state(task("failed")) == "Shutdown"
    assert desired_state(task("running", desired="shutdown")) == "Shutdown"
    assert desired_state(task("pending")) == "Running"


@pytest.mark.parametrize(
    ("view", "text"),
    [
        (task("running", why="3 of 3 nodes fit"), ""),
        (task("pending", why="3 nodes: 3 lack memory"), "3 nodes: 3 lack memory"),
        (task("failed", exit_code=3, container="c"), "exit code 3"),
        (task("failed", exit_code=137, oom_killed=True), "killed for want of memory"),
        (task("failed", error="no such image", exit_code=1), "no such image"),
        (task("exited", exit_code=0, why="replaced"), ""),
    ],
)
def test_the_error_column_tells_what_is_wrong_and_nothing_else(view: TaskView, text: str) -> None:
    assert trouble(view) == text
