"""What the watchers of promises know of tasks, of what their nodes told."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from bus.commits import Committed, Put
from schemas.assignment import AssignedTask, Assignment
from schemas.observation import Observation, ObservedTask, TaskState
from schemas.wire import encode
from tests.sim.basis import LAG
from tests.sim.loop import run
from tests.sim.shown import Shown
from tests.sim.world import World, in_world


def _told(counter: int, state: TaskState, id_: str = "4-6") -> Put:
    task = ObservedTask(id=id_, service="shop_web", slot="1", revision=1, spec="s", state=state)
    return Put("n1", encode(Observation(node="n1", instance="i", boot="b", counter=counter, tasks=(task,))))


def test_what_its_node_does_not_show_any_more_is_not_up() -> None:
    """A task, its successor and the next one failed within moments: the node tells of the first and the last."""

    async def story(world: World) -> None:
        shown = Shown(world)
        shown.observed([_told(1, "running", "4-6.r1")])
        assert shown.is_up("4-6.r1")
        shown.observed([_told(2, "failed", "4-6.r3")])
        assert not shown.is_up("4-6.r1")
        assert shown.was_up("4-6.r1"), "a leader need not know yet"
        assert not shown.has_ended("4-6.r1")
        await asyncio.sleep(LAG + 0.1)
        assert not shown.was_up("4-6.r1")
        shown.observed([_told(3, "running", "4-6.r1")])
        assert shown.is_up("4-6.r1")

    run(in_world(1, story))


def test_what_has_ended_stays_so_though_an_older_observation_is_stored_late() -> None:
    async def story(world: World) -> None:
        shown = Shown(world)
        shown.observed([_told(14, "running")])
        assert shown.is_up("4-6")
        assert not shown.has_ended("4-6")
        for counter, state in ((16, "failed"), (15, "running")):
            shown.observed([_told(counter, state)])
            assert shown.has_ended("4-6")
            assert not shown.is_up("4-6")

    run(in_world(1, story))


def _assigned(desired: Literal["running", "shutdown"], *, provisional: bool = False) -> Put:
    task = AssignedTask(id="4-6", service="shop_web", slot="1", revision=1, spec="s", desired=desired, why="why")
    return Put("desired.n1", encode(Assignment(node="n1", epoch=4, tasks=(task,), provisional=provisional)))


@pytest.mark.parametrize("provisional", [False, True])
def test_what_an_agent_says_that_it_obeys_was_decided_before_the_store_was_made_anew(provisional: bool) -> None:
    async def story(world: World) -> None:
        shown = Shown(world)
        shown.stored([_assigned("running", provisional=provisional)], Committed(1, 1))
        ended, _ = shown.stored([_assigned("shutdown")], Committed(2, 2))
        assert [each.task.id for each in ended] == ([] if provisional else ["4-6"])

    run(in_world(1, story))
