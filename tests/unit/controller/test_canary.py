"""Canaries: some slots get the new revision, then it waits; promoted, aborted, failed, superseded, interrupted."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.spec import UpdatePolicy
from tests.unit.controller.rolling import Stage, standing, web

ORDERS = ["stop-first", "start-first"]


def policy(order: str, **changes: object) -> UpdatePolicy:
    return UpdatePolicy(monitor=1.0, order=order, **changes)  # type: ignore[arg-type]


def canary(order: str, count: int = 2, replicas: int = 6, image: str = "web:2", **changes: object) -> Stage:
    stage = standing(replicas)
    stage.deploy(web(image, update=policy(order, **changes), deadline=30.0), replicas, count)
    return stage


def promote(stage: Stage) -> None:
    stage.mesh.change_service("web", canary=0)


def abort(stage: Stage, to: int = 1) -> None:
    record = stage.mesh.services["web"].record
    stage.mesh.change_service("web", canary=0, target=to, deploy=record.deploy + 1, back_from=record.target)


def stands(stage: Stage) -> bool:
    return stage.rollout.update.stands


def done(stage: Stage) -> bool:
    record = stage.mesh.services["web"].record
    return stage.rollout.deploy == record.deploy and stage.rollout.phase == "done"


@pytest.mark.parametrize("order", ORDERS)
def test_a_canary_stands_and_waits_for_as_long_as_it_takes(order: str) -> None:
    stage = canary(order)
    stage.until(lambda: stands(stage))
    stage.run(60)
    assert stands(stage)
    old = 6 if order == "start-first" else 4
    assert Counter(stage.up()) == {"web:1": old, "web:2": 2}
    assert stage.rollout.why == "canary: 2 of 6 slots have revision 2: promote or abort it"
    assert (stage.rollout.phase, stage.rollout.good) == ("converging", 1)
    assert stage.fewest >= (5 if order == "stop-first" else 6)


@pytest.mark.parametrize("order", ORDERS)
def test_promoted_it_goes_on_by_turns(order: str) -> None:
    stage = canary(order)
    stage.until(lambda: stands(stage))
    promote(stage)
    stage.until(lambda: done(stage))
    assert stage.live() == ["web:2"] * 6
    assert stage.rollout.good == 2
    assert stage.fewest == (5 if order == "stop-first" else 6)


@pytest.mark.parametrize("order", ORDERS)
def test_aborted_all_is_as_it_was(order: str) -> None:
    stage = canary(order)
    before = {task.id for agent in stage.mesh.agents.values() for task in agent.live if task.revision == 1}
    stage.until(lambda: stands(stage))
    abort(stage)
    stage.until(lambda: done(stage))
    assert stage.live() == ["web:1"] * 6
    if order == "start-first":
        assert {task.id for agent in stage.mesh.agents.values() for task in agent.live} == before
        assert stage.fewest == 6


def test_blue_and_green_stand_side_by_side_and_change_places_at_once() -> None:
    stage = canary("start-first", count=6, parallelism=2)
    stage.until(lambda: stands(stage))
    assert Counter(stage.up()) == {"web:1": 6, "web:2": 6}
    promote(stage)
    stage.step()
    stage.step()
    assert stage.live() == ["web:2"] * 6
    stage.until(lambda: done(stage))
    assert stage.fewest == 6


@pytest.mark.parametrize("order", ORDERS)
def test_a_canary_that_fails_does_what_the_file_says(order: str) -> None:
    stage = canary(order, image="web:bad", failure_action="rollback")
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    stage.run(10)
    assert stage.live() == ["web:1"] * 6
    paused = canary(order, image="web:bad")
    paused.until(lambda: paused.rollout.update.state == "paused")
    paused.run(10)
    assert Counter(paused.up())["web:1"] == (5 if order == "stop-first" else 6)


@pytest.mark.parametrize("order", ORDERS)
def test_a_canary_that_fails_while_it_waits_fails_the_deploy(order: str) -> None:
    stage = canary(order, failure_action="rollback")
    stage.until(lambda: stands(stage))
    stage.run(10)
    stage.bad = frozenset({"web:2"})
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")
    stage.run(10)
    assert stage.live() == ["web:1"] * 6


@pytest.mark.parametrize("order", ORDERS)
def test_a_new_deploy_takes_the_place_of_a_canary(order: str) -> None:
    stage = canary(order)
    stage.until(lambda: stands(stage))
    stage.deploy(web("web:3", update=policy(order)), 6, 1)
    stage.until(lambda: stage.rollout.deploy == 3 and stands(stage))
    found = Counter(stage.up())
    assert found["web:3"] == 1
    if order == "start-first":
        assert found == {"web:1": 6, "web:3": 1}
    promote(stage)
    stage.until(lambda: done(stage))
    assert stage.live() == ["web:3"] * 6


@pytest.mark.parametrize("order", ORDERS)
def test_scaled_meanwhile_the_canary_stays_as_small(order: str) -> None:
    stage = canary(order, count=1)
    stage.until(lambda: stands(stage))
    stage.mesh.change_service("web", replicas=9)
    stage.run(10)
    assert Counter(stage.up()) == {"web:1": 8 + (order == "start-first"), "web:2": 1}
    stage.mesh.change_service("web", replicas=2)
    stage.run(10)
    assert stands(stage)
    promote(stage)
    stage.until(lambda: done(stage))
    assert stage.live() == ["web:2"] * 2


@pytest.mark.parametrize("order", ORDERS)
def test_slots_of_a_lost_node_get_the_revision_that_they_had(order: str) -> None:
    stage = canary(order)
    stage.until(lambda: stands(stage))
    stage.mesh.kill("n1")
    stage.run(20)
    found = Counter(stage.up())
    assert found["web:2"] == 2
    assert found["web:1"] >= 4


@pytest.mark.parametrize("order", ORDERS)
def test_slots_that_are_down_when_it_begins_make_it_no_larger(order: str) -> None:
    stage = standing(6)
    for node in ("n1", "n2", "n3"):
        stage.mesh.fail(node)
    stage.step()
    assert len(stage.up()) == 3, "the others wait before their next start"
    stage.deploy(web("web:2", update=policy(order), deadline=30.0), 6, 2)
    stage.until(lambda: stands(stage))
    stage.run(10)
    found = Counter(stage.up())
    assert found["web:2"] == 2
    assert found["web:1"] >= 4


@pytest.mark.parametrize("order", ORDERS)
def test_one_that_was_promoted_late_has_its_whole_deadline(order: str) -> None:
    stage = canary(order)
    stage.until(lambda: stands(stage))
    stage.run(60)
    for agent in stage.mesh.agents.values():
        agent.slow = True
    promote(stage)
    stage.run(20)
    assert stage.rollout.update.state == "updating"
    for agent in stage.mesh.agents.values():
        agent.slow = False
    stage.until(lambda: done(stage))


def test_one_of_all_slots_that_leaves_nothing_to_promote_is_done_like_any_other_deploy() -> None:
    stage = canary("stop-first", count=6)
    stage.until(lambda: done(stage))
    assert (stage.live(), stage.rollout.good) == (["web:2"] * 6, 2)


def test_without_anything_to_replace_there_is_no_canary() -> None:
    stage = standing(3)
    stage.deploy(web("web:1", update=policy("stop-first")), 3, 1)
    stage.until(lambda: done(stage))
    first = Stage()
    first.deploy(web("web:1"), 3, 1)
    first.until(lambda: "web" in first.mesh.rollouts and done(first))
    assert first.live() == ["web:1"] * 3


ends = st.sampled_from(["promote", "abort", "deploy"])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [2, 3])
def test_a_leader_that_ends_between_two_writes_holds_no_canary_up(order: str, count: int) -> None:
    """The turn of the next slot was noted, and its task was not placed."""
    stage = canary(order, count=count, parallelism=1)
    for number in range(60):
        stage.step(cut={1: 1}.get(number))
    assert stands(stage)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    order=st.sampled_from(ORDERS),
    count=st.integers(1, 5),
    parallelism=st.integers(0, 3),
    cuts=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=6),
    end=ends,
    early=st.integers(0, 40),
)
def test_whoever_leads_a_canary_keeps_its_promise_at_every_step(
    order: str, count: int, parallelism: int, cuts: list[tuple[int, int]], end: str, early: int
) -> None:
    stage = canary(order, count=count, replicas=5, parallelism=parallelism)
    cut = dict(cuts)
    at_once = parallelism or 5
    for number in range(80):
        stage.step(cut=cut.get(number))
        found = Counter(stage.up())
        assert Counter(stage.live())["web:2"] <= count
        if order == "start-first":
            assert found["web:1"] == 5
        else:
            assert sum(found.values()) >= 5 - at_once
        if end == "deploy" and number == early:
            break
    else:
        assert stands(stage) or (order == "stop-first" and count == 5 and done(stage))
    if end == "promote":
        promote(stage)
    elif end == "abort":
        abort(stage)
    else:
        stage.deploy(web("web:3", update=policy(order, parallelism=parallelism)), 5)
    for number in range(200):
        stage.step(cut=cut.get(number))
        assert len(stage.up()) >= (5 if order == "start-first" else 5 - at_once)
    wanted = {"promote": "web:2", "abort": "web:1", "deploy": "web:3"}[end]
    assert (done(stage), stage.live()) == (True, [wanted] * 5)
