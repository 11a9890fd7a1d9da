"""What a slot is given: each checker is proven by a bug that it must catch."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bus.commits import Put
from controller import census
from controller import slots as filling
from controller.nodes import NodeView
from controller.slots import Round
from controller.work import Work
from schemas.assignment import AssignedTask, Assignment
from schemas.wire import decode, encode
from tests.sim.stage import Plant, Stage, play, updated, web
from tests.sim.test_planted import assign, commit, task_of
from tests.sim.world import silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def given(stage: Stage, node: str, task: str) -> None:
    """The leader gives the node a task of slot 1, beside nothing."""
    record = msgspec.structs.replace(decode(assign(task_of(task)).value, Assignment), node=node)
    commit(stage.world, f"controller-{stage.world.leader()}", Put(f"desired.{node}", encode(record)))


def test_the_watch_catches_a_third_task_in_a_slot() -> None:
    async def story(stage: Stage) -> None:
        await stage.stands(web(replicas=1))
        ((at, _),) = stage.world.live()["shop_web", "1"]
        second, third = sorted({"n1", "n2", "n3"} - {at})
        given(stage, second, "a-1")
        assert not any("third" in seen for seen in stage.watchman.violations)
        given(stage, third, "a-2")

    play(story, "is given a third task in one of the slots")


def _hasty(patch: pytest.MonkeyPatch) -> None:
    """The leader places a slot's next task while the previous one is still to end."""
    waits = filling._must_wait

    def hasty(work: Work, round_: Round, slot: str) -> str | None:
        ending = any(task.life == "ending" for task in work.tasks(slot))
        return None if ending else waits(work, round_, slot)

    patch.setattr(filling, "_must_wait", hasty)


def _forgetful(patch: pytest.MonkeyPatch) -> None:
    """The leader takes what it has told to end for ended, and names it no more."""
    life_of = census.life_of

    def ended(view: NodeView, assigned: AssignedTask, *seen: Any, **more: Any) -> census.Life:
        return "ended" if assigned.desired == "shutdown" else life_of(view, assigned, *seen, **more)

    patch.setattr(census, "life_of", ended)


@pytest.mark.parametrize("bug", [_hasty, _forgetful])
@pytest.mark.parametrize("policy", [{}, {"parallelism": 3}, {"max_unavailable": "1"}])
def test_the_watch_catches_a_next_task_that_does_not_wait_for_the_end_of_the_previous_one(
    policy: dict[str, Any], bug: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    play(lambda stage: updated(stage, order="stop-first", **policy), "is assigned, and .* was not seen ended")
