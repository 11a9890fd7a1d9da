"""Drained nodes: replacements first, what stays and why, interrupted and resumed, and what is up all the while."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.availability import bearable
from schemas.records import NodeRecord
from schemas.spec import UpdatePolicy
from tests.unit.controller.model import GIB
from tests.unit.controller.rolling import Stage, standing, web


def drain(stage: Stage, *nodes: str, force: bool = False) -> None:
    for node in nodes:
        stage.mesh.change_node(node, availability="drain", force=force)


def activate(stage: Stage, *nodes: str) -> None:
    for node in nodes:
        stage.mesh.change_node(node, availability="active", force=False)


def slow(stage: Stage, slow: bool) -> None:
    for agent in stage.mesh.agents.values():
        agent.slow = slow


def ids(stage: Stage) -> set[str]:
    return {task.id for agent in stage.mesh.agents.values() for task in agent.live if task.service == "web"}


def test_replacements_are_up_before_anything_ends() -> None:
    stage = standing(6)
    drain(stage, "n2")
    stage.fewest, stage.most = 1000, 0
    stage.until(lambda: not stage.mesh.agents["n2"].live)
    assert (stage.fewest, stage.most) == (6, 8)
    stage.until(lambda: stage.rollout.phase == "done", 20)


def test_nothing_is_stopped_for_a_replacement_that_does_not_come_up() -> None:
    stage = standing(3)
    slow(stage, True)
    drain(stage, "n1")
    stage.run(60)
    assert len(stage.up()) == 3
    slow(stage, False)
    stage.until(lambda: not stage.mesh.agents["n1"].live)


def test_a_replacement_that_fails_is_tried_again_ever_more_slowly() -> None:
    stage = standing(3)
    stayed = {task.id for task in stage.mesh.agents["n1"].live}
    drain(stage, "n1")
    for _ in range(300):
        stage.step()
        for agent in stage.mesh.agents.values():
            for id_, task in agent.tasks.items():
                if task.slot == "1" and id_ not in stayed and not task.ended:
                    agent.tasks[id_] = msgspec.structs.replace(task, state="failed", exit_code=1, ran=0.1)
    assert {task.id for task in stage.mesh.agents["n1"].live} == stayed
    history = stage.rollout.slots["1"]
    assert 4 <= history.restarts <= 9
    assert next(iter(stage.mesh.reasons())).startswith("stays on node n1, which is drained: its replacement failed")


def test_an_activated_node_keeps_what_it_still_has() -> None:
    stage = standing(3)
    before = ids(stage)
    slow(stage, True)
    drain(stage, "n1")
    stage.run(2)
    activate(stage, "n1")
    stage.run(2)
    slow(stage, False)
    stage.until(lambda: stage.rollout.phase == "done")
    assert ids(stage) == before
    drain(stage, "n1")
    stage.until(lambda: not stage.mesh.agents["n1"].live)
    assert len(stage.up()) == 3


def test_what_finds_no_place_stays_until_there_is_room() -> None:
    stage = standing(3, memory=10 * GIB)
    drain(stage, "n1")
    stage.run(5)
    assert len(stage.up()) == 3
    assert list(stage.mesh.reasons()) == ["stays on node n1, which is drained: 3 nodes: 2 lack memory, 1 drained"]
    stage.mesh.add_node("n4")
    stage.until(lambda: not stage.mesh.agents["n1"].live)
    assert stage.fewest == 3


def test_an_explicit_max_unavailable_lets_as_many_go_without_a_place() -> None:
    stage = standing(3, memory=10 * GIB, update=UpdatePolicy(max_unavailable="1"))
    drain(stage, "n1", "n2")
    stage.run(5)
    assert len(stage.up()) == 2
    assert sum(bool(stage.mesh.agents[node].live) for node in ("n1", "n2")) == 1


def test_force_ends_what_can_not_move() -> None:
    stage = standing(3, memory=10 * GIB)
    drain(stage, "n1", force=True)
    stage.run(2)
    assert not stage.mesh.agents["n1"].live


def test_what_force_ends_in_this_round_is_down_for_an_update_in_this_round() -> None:
    """The update's own new task was up for a moment: the next slot's turn waits until it is up elsewhere."""
    stage = standing(2)
    stage.deploy(web("web:2", update=UpdatePolicy(monitor=0.0)), 2)
    stage.until(lambda: "web:2" in stage.up())
    holders = {name: {stage._image(task.spec) for task in agent.live} for name, agent in stage.mesh.agents.items()}
    (node,) = [name for name, images in holders.items() if "web:2" in images]
    drain(stage, node, force=True)
    stage.fewest = 1000
    stage.until(lambda: stage.rollout.phase == "done")
    assert stage.fewest == 1
    assert stage.live() == ["web:2"] * 2


def test_host_ports_do_not_matter_where_nodes_are_free() -> None:
    stage = standing(2, ports=(8080,))
    (left,) = [name for name, agent in stage.mesh.agents.items() if not agent.live]
    drain(stage, next(name for name in stage.mesh.agents if name != left))
    stage.until(lambda: bool(stage.mesh.agents[left].live))
    stage.until(lambda: stage.rollout.phase == "done")
    assert (stage.fewest, len(stage.live())) == (2, 2)


def test_a_deploy_meanwhile_goes_on_and_the_node_is_empty_in_the_end() -> None:
    stage = standing(6)
    stage.deploy(web("web:2", update=UpdatePolicy(monitor=1.0)), 6)
    stage.run(1)
    drain(stage, "n1")
    stage.until(lambda: stage.rollout.deploy == 2 and stage.rollout.phase == "done")
    assert stage.live() == ["web:2"] * 6
    assert not stage.mesh.agents["n1"].live
    assert stage.fewest >= 5


def test_after_a_paused_update_a_drain_moves_the_good_revision() -> None:
    stage = standing(3)
    stage.deploy(web("web:bad", update=UpdatePolicy(monitor=1.0, order="start-first")), 3)
    stage.until(lambda: stage.rollout.update.state == "paused")
    stage.run(5)
    drain(stage, "n2")
    stage.run(20)
    assert stage.up() == ["web:1"] * 3
    assert not [task for task in stage.mesh.agents["n2"].live if task.up]


policies = st.builds(
    UpdatePolicy,
    parallelism=st.integers(0, 3),
    order=st.sampled_from(["stop-first", "start-first"]),
    monitor=st.sampled_from([0.0, 1.0]),
    failure_action=st.sampled_from(["pause", "rollback"]),
    max_unavailable=st.sampled_from(["", "1", "2", "40%"]),
)
deeds = st.one_of(
    st.tuples(st.just("drain"), st.sampled_from(["n1", "n2", "n3", "n4"])),
    st.tuples(st.just("activate"), st.sampled_from(["n1", "n2", "n3", "n4"])),
    st.tuples(st.just("deploy"), st.sampled_from(["web:2", "web:bad"])),
    st.tuples(st.just("slow"), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 20)),
    st.tuples(st.just("leader"), st.integers(0, 4)),
)
REPLICAS = 5


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(policies, st.lists(deeds, min_size=2, max_size=14))
def test_availability_is_never_below_what_the_policy_promises(
    policy: UpdatePolicy, story: list[tuple[str, object]]
) -> None:
    """Drains, deploys, slow engines and leaders that die between two writes: only failures of a new version count."""
    stage = standing(REPLICAS, update=policy)
    stage.mesh.add_node("n4")
    at_once = policy.parallelism or REPLICAS
    borne = bearable(policy.max_unavailable, REPLICAS, least=1)
    promised = REPLICAS - (at_once if borne is None else borne)
    if policy.order == "start-first" and not policy.max_unavailable:
        promised = REPLICAS
    failed = 0
    for what, how in [*story, ("wait", 40)]:
        match what:
            case "drain":
                stage.mesh.change_node(str(how), availability="drain")
            case "activate":
                stage.mesh.change_node(str(how), availability="active")
            case "deploy":
                stage.deploy(web(str(how), update=policy, deadline=20.0), REPLICAS)
            case "slow":
                slow(stage, bool(how))
        for _ in range(int(str(how)) if what == "wait" else 1):
            stage.step(cut=int(str(how)) if what == "leader" else None)
            failed = max(failed, stage.rollout.update.failed)
            assert len(stage.up()) >= promised - failed, (stage.rollout, stage.tasks())
            assert len(stage.live()) <= 2 * REPLICAS
    slow(stage, False)
    for node in ("n1", "n2", "n3", "n4"):
        activate(stage, node)
    stage.run(60)
    assert all(isinstance(each.record, NodeRecord) for each in stage.mesh.nodes.values())
    slots = [slot for slot, _ in stage.tasks()]
    assert len(slots) == len(set(slots)), "two tasks of one slot are left"
