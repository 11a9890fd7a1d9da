"""Which slots count as taken down by an update: those that have not come up since, and no others."""

from __future__ import annotations

import pytest

from controller import rolling
from controller.work import Work
from schemas.memberapi import UpdateNode
from schemas.records import Turn
from tests.sim.promises import ROOM
from tests.sim.stage import Stage, play, updated, web
from tests.sim.world import silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


async def _drained_after_an_update(stage: Stage) -> None:
    """All slots are taken down at once and come up; then one at a time may be, and a drain without room ends two."""
    world = stage.world
    for node in ("n2", "n3"):
        await world.insist("node.update", UpdateNode(node=node, availability="pause"))
    await stage.stands(web("app:1", parallelism=0))
    await stage.stands(web("app:2", parallelism=0))
    assert stage.promises.seen["replaced by revision"] == 4
    done = world.now
    await stage.stands(web("app:2", parallelism=1, max_unavailable="50%"))
    await world.insist("node.update", UpdateNode(node="n1", availability="drain"))
    await world.until(lambda: stage.promises.seen["node "] == 2, 5, "two slots leave")
    assert world.now - done < ROOM / 2


def test_a_slot_that_came_up_after_its_turn_and_leaves_a_drained_node_is_not_down_by_the_update() -> None:
    """Seed 70002082."""
    play(_drained_after_an_update)


def test_the_watch_catches_a_turn_that_is_over_before_the_next_task_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node tells of the slot's next task, which is not up yet: the slot stays taken down."""

    def busy(work: Work, slot: str, _turn: Turn, _now: float) -> bool:
        task = rolling.new_task(work, slot)
        return task is None or task.seen is None

    monkeypatch.setattr(rolling, "_busy", busy)
    play(lambda stage: updated(stage, order="stop-first", parallelism=1), "are down at the same time, parallelism is 1")
