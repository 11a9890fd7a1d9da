"""What updates and roll-backs promise: each checker is proven by a bug that it must catch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bus.commits import Put
from controller import decide, replicated, rolling, updates
from controller.slots import Round, end_task
from controller.work import Work
from schemas.records import RolloutRecord, UpdateProgress
from schemas.revisionapi import RollbackService
from schemas.serviceapi import ServiceDeploy
from schemas.spec import RestartPolicy
from schemas.wire import encode
from tests.sim.stage import (
    Plant,
    Stage,
    commit_as_leader,
    play,
    updated,
    web,
)
from tests.sim.test_planted import assign, task_of
from tests.sim.test_rollouts import rollout
from tests.sim.test_world import deploy, slots
from tests.sim.world import silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def early(work: Work, round_: Round, slot: str) -> None:
    """Start-first gone wrong: the old one ends as soon as the new one is told to start."""
    if rolling.new_task(work, slot) is not None:
        for task in work.candidates(slot):
            if task.spec != work.spec_hash:
                end_task(work, round_, task, f"replaced by revision {work.aim.revision}", "")


def one_more(work: Work) -> tuple[str, ...]:
    """A slot more than wanted."""
    return (*replicated.wanted_slots(work), "9")


POLICIES: list[dict[str, Any]] = [
    {"order": order, "parallelism": parallelism, "max_unavailable": borne}
    for order in ("stop-first", "start-first")
    for parallelism in (0, 1, 3)
    for borne in ("", "1", "50%")
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: "-".join(map(str, each.values())))
def test_updates_keep_what_their_policy_promises(policy: dict[str, Any]) -> None:
    stage = play(lambda stage: updated(stage, **policy))
    assert stage.promises.seen["placed"] >= 2
    assert bool(stage.promises.seen["replaced by revision"]) is (policy["order"] == "stop-first")


UPDATES: dict[str, tuple[Plant, dict[str, Any], str]] = {
    "parallelism is not looked at": (
        lambda patch: patch.setattr(updates, "limit", lambda _: 99),
        {"parallelism": 1},
        "are down at the same time, parallelism is 1",
    ),
    "max_unavailable is not looked at": (
        lambda patch: patch.setattr(updates, "spare", lambda _: None),
        {"parallelism": 3, "max_unavailable": "1"},
        "and 1 may be unavailable",
    ),
    "start-first ends the old one too early": (
        lambda patch: patch.setattr(updates, "_hand_over", early),
        {"order": "start-first"},
        "ended before its next one is up",
    ),
    "start-first places all at once": (
        lambda patch: patch.setattr(updates, "_may_begin", lambda *_, **__: True),
        {"order": "start-first", "parallelism": 1},
        "run doubled by its update, 1 may",
    ),
    "a slot too many": (
        lambda patch: patch.setattr(decide, "wanted_slots", one_more),
        {},
        "and is to have 4",
    ),
}


@pytest.mark.parametrize("bug", UPDATES)
def test_the_watch_catches_in_updates(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, policy, says = UPDATES[bug]
    plant(monkeypatch)
    play(lambda stage: updated(stage, **policy), says)


async def _gone_back_to_work_that_is_done(stage: Stage, **policy: Any) -> None:
    """A job is done, its next revision runs, and it goes back: nothing follows the tasks that end."""
    restart = RestartPolicy(condition="on-failure")
    for image in ("job:1", "app:1"):
        wanted = web(image, **policy)
        task = msgspec.structs.replace(wanted.spec.task, restart=restart)
        await stage.stands(ServiceDeploy(spec=msgspec.structs.replace(wanted.spec, task=task), replicas=4))
        await asyncio.sleep(5)
    assert rollout(stage.world).running == 4
    await stage.world.insist("service.rollback", RollbackService(service="shop_web"))
    await stage.world.until(lambda: not stage.world.live(), 30, "nothing runs")
    await asyncio.sleep(1)
    assert (rollout(stage.world).phase, rollout(stage.world).complete) == ("done", 4)


@pytest.mark.parametrize("policy", [{}, {"order": "start-first"}, {"order": "start-first", "max_unavailable": "0"}])
def test_a_slot_whose_work_was_done_before_is_not_down_once_its_old_task_has_ended(policy: dict[str, Any]) -> None:
    stage = play(lambda stage: _gone_back_to_work_that_is_done(stage, **policy))
    assert stage.promises.seen["replaced by revision"] == 4


def test_the_watch_catches_an_update_that_ends_all_tasks_whose_work_was_done_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def done(work: Work, slot: str) -> bool:
        return work.history(slot).complete == work.spec_hash and not work.candidates(slot)

    monkeypatch.setattr(rolling, "_did_its_work", done)
    play(_gone_back_to_work_that_is_done, "are down at the same time, parallelism is 1")


@pytest.mark.parametrize(("epoch", "says"), [(1, "neither move nor surge"), (11, "")])
def test_the_watch_catches_a_second_task_for_no_reason(epoch: int, says: str) -> None:
    """Seed 57000184: one that an earlier leader had given is no new one, on a node that says what it obeys."""

    async def story(stage: Stage) -> None:
        await stage.stands(web(replicas=1))
        ((node, life),) = stage.world.live()["shop_web", "1"]
        other = "n1" if node != "n1" else "n2"
        record = msgspec.json.decode(assign(task_of("a-1")).value)
        commit_as_leader(stage, Put(f"desired.{other}", msgspec.json.encode({**record, "node": other, "epoch": epoch})))
        assert life.view.alive

    play(story, says)


def test_the_watch_catches_a_roll_back_that_ends_elsewhere() -> None:
    def record(state: Any, revision: int) -> Put:
        progress = UpdateProgress(state=state, left=3)
        return Put(
            "rollout.shop_x",
            encode(RolloutRecord(service="shop_x", deploy=3, revision=revision, good=1, update=progress)),
        )

    async def story(stage: Stage) -> None:
        commit_as_leader(stage, record("rollback_started", 1))
        commit_as_leader(stage, record("rollback_completed", 2))

    play(story, "roll-back of shop_x ended at 2; it began from 1")


async def _fallen(stage: Stage) -> None:
    await stage.stands(web("app:1"))
    await deploy(stage.world, web("crash:1", failure_action="rollback", monitor=2.0))
    back = lambda: rollout(stage.world).update.state == "rollback_completed"  # noqa: E731
    await stage.world.until(back, 60, "it is back")
    await stage.world.until(lambda: stage.world.running("shop_web") == slots(4), 30, "four slots run")


async def _asked(stage: Stage) -> None:
    await stage.stands(web("app:1"))
    await stage.stands(web("app:2"))
    await stage.world.insist("service.rollback", RollbackService(service="shop_web"))
    await stage.world.until(lambda: rollout(stage.world).deploy == 3, 30, "it goes back")
    await stage.world.until(lambda: rollout(stage.world).phase == "done", 60, "it is back")


@pytest.mark.parametrize("way", [_fallen, _asked])
def test_a_roll_back_ends_where_it_began(way: Callable[[Stage], Any]) -> None:
    async def story(stage: Stage) -> None:
        await way(stage)
        assert rollout(stage.world).revision == 1
        assert stage.promises.ends_where_it_should() == ""
        life = stage.world.live()["shop_web", "1"][0][1]
        life.view.labels["mesh.spec"] = "another"  # type: ignore[index]
        assert "is not of revision 1" in stage.promises.ends_where_it_should()

    play(story)
