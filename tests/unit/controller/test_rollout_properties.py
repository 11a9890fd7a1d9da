"""What every update keeps, whatever is deployed, fails, is scaled or superseded, and whoever leads."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.spec import UpdatePolicy
from tests.unit.controller.rolling import Stage, standing, web

policies = st.builds(
    UpdatePolicy,
    parallelism=st.integers(0, 3),
    delay=st.sampled_from([0.0, 1.0]),
    order=st.sampled_from(["stop-first", "start-first"]),
    monitor=st.sampled_from([0.0, 1.0]),
    failure_action=st.sampled_from(["pause", "continue", "rollback"]),
    max_failure_ratio=st.sampled_from([0.0, 0.5, 1.0]),
)
images = st.sampled_from(["web:1", "web:2", "web:3", "web:bad"])
REPLICAS = 5


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=policies, image=images, cuts=st.lists(st.integers(0, 40), max_size=4), cut=st.integers(0, 3))
def test_one_update_keeps_its_promise_at_every_step_and_ends(
    policy: UpdatePolicy, image: str, cuts: list[int], cut: int
) -> None:
    stage = standing(REPLICAS)
    stage.deploy(web(image, update=policy, deadline=60.0), REPLICAS)
    at_once = policy.parallelism or REPLICAS
    for number in range(300):
        stage.step(cut=cut if number in cuts else None)
        borne = stage.rollout.update.failed
        if policy.order == "stop-first":
            assert len(stage.up()) >= REPLICAS - at_once - borne
            assert len(stage.live()) <= REPLICAS
        else:
            assert len(stage.up()) >= REPLICAS
            assert len(stage.live()) <= REPLICAS + at_once
        assert not (stage.rollout.deploy == 2 and stage.rollout.phase == "done" and "web:bad" in stage.live())
    state = stage.rollout.update.state
    if image != "web:bad":
        assert (state, stage.live()) == ("completed", [image] * REPLICAS)
    elif policy.failure_action == "rollback" and policy.max_failure_ratio < 1:
        assert (state, stage.live()) == ("rollback_completed", ["web:1"] * REPLICAS)
        assert stage.rollout.phase == "failed"
    elif policy.failure_action == "pause" and policy.max_failure_ratio < 1:
        assert state == "paused"


deeds = st.one_of(
    st.tuples(st.just("deploy"), images, policies),
    st.tuples(st.just("scale"), st.integers(1, 8), st.none()),
    st.tuples(st.just("pause"), st.booleans(), st.none()),
    st.tuples(st.just("slow"), st.booleans(), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 30), st.none()),
    st.tuples(st.just("leader"), st.integers(0, 4), st.none()),
)


def do(stage: Stage, what: str, how: object, policy: UpdatePolicy | None) -> None:
    mesh = stage.mesh
    match what:
        case "deploy":
            stage.deploy(web(str(how), update=policy, deadline=20.0), mesh.services["web"].record.replicas)
        case "scale":
            mesh.change_service("web", replicas=how)
        case "pause":
            mesh.change_service("web", paused=how)
        case "slow":
            for agent in mesh.agents.values():
                agent.slow = bool(how)
        case "wait":
            for _ in range(int(str(how))):
                stage.step()
        case "leader":
            stage.step(cut=int(str(how)))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(deeds, min_size=1, max_size=12))
def test_whatever_is_superseded_the_last_word_holds_in_the_end(
    story: list[tuple[str, object, UpdatePolicy | None]],
) -> None:
    stage = standing(REPLICAS)
    for what, how, policy in story:
        do(stage, what, how, policy)
        stage.step()
    for agent in stage.mesh.agents.values():
        agent.slow = False
    stage.mesh.change_service("web", paused=False)
    for _ in range(300):
        stage.step()
    record, rollout = stage.mesh.services["web"].record, stage.rollout
    image = stage.mesh.revisions["web", record.target].spec.task.container.image
    assert rollout.deploy == record.deploy
    if image != "web:bad":
        assert rollout.update.state in ("completed", "rollback_completed", "paused")
        if rollout.update.state == "completed":
            assert stage.live() == [image] * record.replicas
            assert rollout.phase == "done"
    if rollout.update.state == "rollback_completed":
        good = stage.mesh.revisions["web", rollout.revision].spec.task.container.image
        assert stage.live() == [good] * record.replicas
    if rollout.phase == "done":
        assert rollout.good == rollout.revision == record.target
    before = stage.mesh.sequence
    again = msgspec.structs.replace(rollout)
    for _ in range(10):
        stage.step()
    if rollout.phase == "done":
        assert (stage.mesh.sequence, stage.rollout) == (before, again), "nothing ticks"
