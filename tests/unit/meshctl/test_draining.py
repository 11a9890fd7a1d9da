"""What a drain waits for: moving tasks, tasks that can't move, nodes that are down."""

from __future__ import annotations

from typing import Any

from meshctl.draining import Left, left_on
from schemas.memberapi import NodeList
from schemas.records import Reason
from schemas.requests import Written
from schemas.serviceapi import ServiceList
from schemas.taskapi import TaskList, TaskView
from tests.unit.meshctl.answers import node, service

STAYS = "stays on node n1, which is drained: volume data is on node n1, which is drained"
TURN = "stays on node n1, which is drained: waits for its turn in the update"


def task(id_: str, state: str = "running", where: str = "n1") -> TaskView:
    return TaskView(id=id_, service="hello_web", slot="1", state=state, node=where)


def reasons(*texts: str) -> Any:
    return service(reasons=tuple(Reason(text=text) for text in texts))


def test_ended_and_lost_tasks_and_those_elsewhere_are_not_left() -> None:
    tasks = [task("1", "exited"), task("2", "lost"), task("3", where="n2"), task("", "pending", "")]
    assert left_on("n1", tasks, [reasons(STAYS)]) == Left("n1", 0)


def test_it_is_stuck_only_when_all_that_is_left_stays_for_good() -> None:
    assert left_on("n1", [task("1")], [reasons(STAYS)]).stuck
    assert not left_on("n1", [task("1"), task("2")], [reasons(STAYS)]).stuck
    assert not left_on("n1", [task("1")], [reasons(TURN)]).stuck
    assert not left_on("n1", [task("1")], [reasons()]).stuck


def test_drain_prints_a_node_once_it_is_empty(scripted) -> None:  # type: ignore[no-untyped-def]
    scripted.answer("node.update", Written(sequence=6))
    scripted.answer("node.list", NodeList(nodes=(node("n1"),)))
    looks = iter([[task("1"), task("2", "stopping")], [task("2", "stopping")], []])
    scripted.answer("task.list", lambda _: TaskList(tasks=tuple(next(looks))))
    scripted.answer("service.list", ServiceList(services=(service(),)))
    ran = scripted.run("node", "drain", "n1")
    assert (ran.code, ran.out) == (0, "n1\n")
    assert "n1: 2 tasks left" in ran.err
    assert scripted.requests("node.update")[0].availability == "drain"


def test_what_can_not_move_is_told_with_the_ways_out(scripted) -> None:  # type: ignore[no-untyped-def]
    scripted.answer("node.update", Written(sequence=6))
    scripted.answer("node.list", NodeList(nodes=(node("n1"),)))
    scripted.answer("task.list", TaskList(tasks=(task("1"),)))
    scripted.answer("service.list", ServiceList(services=(reasons(STAYS),)))
    ran = scripted.run("node", "drain", "n1")
    assert ran.code == 6
    assert f"hello_web {STAYS}" in ran.err
    assert "node drain --force n1" in ran.err
