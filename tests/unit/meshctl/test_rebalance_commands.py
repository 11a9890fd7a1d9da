"""`meshctl rebalance` on a scripted mesh."""

from __future__ import annotations

from schemas.errors import Conflict
from schemas.rebalance import Move, MoveProgress, RebalanceRecord
from schemas.rebalanceapi import RebalanceOrdered, RebalancePlan, RebalanceView
from tests.unit.meshctl.conftest import ScriptedMesh

MOVE = Move(
    service="web", slot="2", task="a-2", source="n1", target="n3", why="evens out the service: 3 on n1, 0 on n3"
)
OTHER = Move(service="web", slot="4", task="a-4", source="n2", target="n3")
PLAN = RebalancePlan(moves=(MOVE,), left_out=1, before={"n1": 3, "n3": 0}, after={"n1": 2, "n3": 1})


def done(*moves: MoveProgress) -> RebalanceView:
    return RebalanceView(record=RebalanceRecord(order="o1", moves=moves, active=False))


def test_a_plan_is_shown_and_nothing_is_ordered(scripted: ScriptedMesh) -> None:
    scripted.answer("rebalance.plan", PLAN)
    for arguments in (("rebalance",), ("rebalance", "--plan", "--max-moves", "1")):
        ran = scripted.run(*arguments)
        assert (ran.code, ran.out.splitlines()) == (
            0,
            [
                "web.2: n1 -> n3: evens out the service: 3 on n1, 0 on n3",
                "Tasks: n1 3 -> 2, n3 0 -> 1",
                "1 more would be needed to spread them evenly.",
            ],
        )
    assert [asked.max_moves for asked in scripted.requests("rebalance.plan")] == [0, 1]
    scripted.answer("rebalance.plan", RebalancePlan())
    assert scripted.run("rebalance").out.strip() == "Tasks are spread evenly: nothing to move."


def test_it_is_applied_and_waited_for(scripted: ScriptedMesh) -> None:
    scripted.answer("rebalance.apply", RebalanceOrdered(sequence=4, order="o1", moves=(MOVE,)))
    scripted.answer("rebalance.get", done(MoveProgress(move=MOVE, state="done")))
    ran = scripted.run("rebalance", "--apply", "--max-moves", "5")
    assert ran.code == 0
    assert ran.out.splitlines()[:2] == ["Moving 1 task", "1 of 1 moved"]
    assert scripted.requests("rebalance.apply")[0].max_moves == 5
    scripted.answer("rebalance.apply", RebalanceOrdered(sequence=4))
    assert "nothing to move" in scripted.run("rebalance", "--apply").out


def test_what_stayed_is_told_and_exits_with_8(scripted: ScriptedMesh) -> None:
    scripted.answer("rebalance.apply", RebalanceOrdered(sequence=4, order="o1", moves=(MOVE, OTHER)))
    stayed = MoveProgress(move=OTHER, state="skipped", why="its replacement failed")
    scripted.answer("rebalance.get", done(MoveProgress(move=MOVE, state="done"), stayed))
    ran = scripted.run("rebalance", "--apply")
    assert "web.4 stays on n2: its replacement failed" in ran.out
    assert ran.code == 8


def test_it_is_stopped_and_not_begun_twice(scripted: ScriptedMesh) -> None:
    scripted.answer("rebalance.stop", RebalanceOrdered(sequence=4, order="o1"))
    assert scripted.run("rebalance", "--stop").out.strip() == "No further move is begun."
    scripted.answer("rebalance.apply", Conflict("a rebalance is under way"))
    assert scripted.run("rebalance", "--apply").code == 5
    assert scripted.run("rebalance", "--apply", "--stop").code == 2
