"""What a leader does not begin while it knows that it has not seen all that nodes told, and what goes on."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from controller.caution import BEHIND, RECHECK
from controller.whatif import foresee
from controller.work import TURN
from schemas.records import ServiceRecord
from schemas.spec import RestartPolicy, UpdatePolicy
from tests.unit.controller.model import EVERYTHING, GIB, service_spec
from tests.unit.controller.rolling import Stage, standing, web
from tests.unit.controller.test_moving import drain, ids, slow
from tests.unit.controller.test_rebalance import START_FIRST, STOP_FIRST, crowded, moves, order

SOON = UpdatePolicy(monitor=0.0)


def behind(stage: Stage) -> None:
    stage.mesh.unseen_since = stage.mesh.now


def caught_up(stage: Stage) -> None:
    stage.mesh.unseen_since = None


def told(stage: Stage) -> list[str]:
    """What slots wait for by it."""
    return [text.removesuffix(f": {BEHIND}") for text in stage.mesh.reasons() if BEHIND in text]


def updated(policy: UpdatePolicy) -> Stage:
    stage = standing(4, update=policy)
    stage.deploy(web("web:2", update=policy), 4)
    return stage


def jobs() -> Stage:
    """Their work at the wanted revision was done before: what runs now only ends."""
    stage = standing(4, update=SOON, restart=RestartPolicy(condition="on-failure"))
    for agent in stage.mesh.agents.values():
        for id_, task in agent.tasks.items():
            agent.tasks[id_] = msgspec.structs.replace(task, state="exited", exit_code=0, ran=5.0)
    stage.until(lambda: stage.rollout.complete == 4)
    stage.deploy(web("web:2", update=SOON), 4)
    stage.until(lambda: stage.rollout.phase == "done" and stage.rollout.running == 4)
    record: ServiceRecord = stage.mesh.services["web"].record
    stage.mesh.change_service("web", target=1, deploy=record.deploy + 1, back_from=2)
    return stage


def drained(policy: UpdatePolicy = SOON, **spec: object) -> Stage:
    stage = standing(3, update=policy, **spec)
    drain(stage, "n1")
    return stage


def scaled(replicas: int) -> Stage:
    stage = standing(5)
    stage.mesh.change_service("web", replicas=replicas)
    return stage


def moved(policy: UpdatePolicy) -> Stage:
    mesh = crowded()
    stage = Stage(mesh)
    stage.deploy(web("web:1", update=policy), 6)
    mesh.settle(steps=200, seconds=1.0)
    order(mesh, moves(mesh))
    return stage


HELD: dict[str, tuple[Callable[[], Stage], str]] = {
    "an update": (lambda: updated(SOON), "keeps its task of revision 1"),
    "an update with a limit": (
        lambda: updated(UpdatePolicy(monitor=0.0, parallelism=0, max_unavailable="2")),
        "keeps its task of revision 1",
    ),
    "an update whose new tasks start first": (
        lambda: updated(UpdatePolicy(monitor=0.0, order="start-first")),
        "keeps its task of revision 1",
    ),
    "the end of what nothing follows": (jobs, "keeps its task of revision 2"),
    "a drain": (drained, "stays on node n1, which is drained"),
    "a drain of what finds no place": (
        lambda: drained(UpdatePolicy(max_unavailable="1"), memory=10 * GIB),
        "stays on node n1, which is drained",
    ),
    "a scale-down": (lambda: scaled(2), "still to be scaled away"),
    "a move": (lambda: moved(STOP_FIRST), "stays on node n2, moves to n3"),
    "a move whose new task starts first": (lambda: moved(START_FIRST), "stays on node n1, moves to n3"),
}


@pytest.mark.parametrize("what", HELD)
def test_nothing_that_is_up_is_taken_down_before_the_leader_has_caught_up(what: str) -> None:
    setting, text = HELD[what]
    stage = setting()
    before = ids(stage)
    behind(stage)
    for _ in range(40):
        stage.step()
        assert before <= ids(stage)
        if stage.mesh.now - (stage.mesh.unseen_since or 0.0) < 0.9:
            assert not told(stage), "a gap that is closed at once is not told of"
    assert text in told(stage)
    last = stage.rollout
    stage.step()
    assert stage.rollout == last, "no reason ticks"
    caught_up(stage)
    stage.until(lambda: not before <= ids(stage), 2)
    assert not told(stage)


def test_for_the_first_second_a_slot_whose_turn_has_come_waits_for_its_turn_like_the_others() -> None:
    stage = updated(SOON)
    behind(stage)
    stage.step()
    assert stage.mesh.reasons() == {TURN: 4}


def test_it_looks_again_soon() -> None:
    stage = updated(SOON)
    behind(stage)
    stage.step()
    stage.mesh.now += 5
    stage.mesh.beat()
    decided = stage.mesh.round(EVERYTHING)
    assert decided.wake_at is not None
    assert stage.mesh.now < decided.wake_at <= stage.mesh.now + RECHECK


def test_a_roll_back_waits_too() -> None:
    policy = UpdatePolicy(monitor=5.0, parallelism=2, failure_action="rollback", max_failure_ratio=0.4)
    stage = standing(4, update=policy)
    stage.deploy(web("web:2", update=policy), 4)
    stage.until(lambda: stage.up().count("web:2") == 4)
    stage.bad = frozenset({"web:bad"})
    for slot in ("1", "2"):
        for agent in stage.mesh.agents.values():
            for id_, task in agent.tasks.items():
                if task.slot == slot and not task.ended:
                    agent.tasks[id_] = msgspec.structs.replace(task, state="failed", exit_code=1, ran=0.1)
    behind(stage)
    kept = ids(stage)
    stage.run(5)
    assert stage.rollout.update.state == "rollback_started"
    assert kept <= ids(stage)
    assert stage.up().count("web:1") == 2, "slots that are empty get the good revision at once"
    caught_up(stage)
    stage.until(lambda: stage.rollout.update.state == "rollback_completed")


def test_a_drained_node_s_replacements_are_started_meanwhile() -> None:
    stage = drained()
    behind(stage)
    stage.until(lambda: len(stage.up()) == 4, 5)


def test_what_is_not_up_does_not_leave_its_node_either() -> None:
    """It may be up by now."""
    stage = standing(2)
    slow(stage, True)
    stage.mesh.change_service("web", replicas=3)
    stage.until(lambda: len(stage.live()) == 3)
    (node,) = stage.mesh.assigned()["3"]
    assert len(stage.up()) == 2
    behind(stage)
    drain(stage, node)
    stage.run(3)
    assert node in stage.mesh.assigned()["3"]
    caught_up(stage)
    stage.run(1)
    assert node not in stage.mesh.assigned()["3"]


def test_what_an_operator_forces_ends() -> None:
    stage = standing(3, memory=10 * GIB)
    behind(stage)
    drain(stage, "n1", force=True)
    stage.until(lambda: not stage.mesh.agents["n1"].live, 1)


@pytest.mark.parametrize("changes", [{"removed": True}, {"replicas": 0}])
def test_what_is_removed_or_scaled_to_nothing_ends(changes: dict[str, object]) -> None:
    stage = standing(3)
    behind(stage)
    stage.mesh.change_service("web", **changes)
    stage.until(lambda: not stage.live(), 1)


def test_of_a_global_service_what_is_on_a_drained_node_ends() -> None:
    stage = standing(1, mode="global")
    behind(stage)
    drain(stage, "n1")
    stage.until(lambda: not stage.mesh.agents["n1"].live, 1)


def test_what_failed_or_was_lost_is_replaced_and_what_is_new_is_started() -> None:
    stage = standing(6)
    mesh = stage.mesh
    behind(stage)
    mesh.fail("n1")
    mesh.deploy(service_spec("db"), 2)
    stage.until(lambda: len(stage.up()) == 6 and len(mesh.running("db")) == 2, 5)
    mesh.kill("n2")
    stage.until(lambda: len(stage.up()) == 6, 10)
    stage.deploy(web("web:2"), 8)
    stage.until(lambda: stage.up().count("web:2") == 2, 5)
    assert stage.up().count("web:1") == 6


def test_a_task_too_many_of_a_slot_ends() -> None:
    """A node comes back: nothing that is to be up goes by that."""
    stage = standing(3)
    stage.mesh.cut("n1")
    stage.until(lambda: len(stage.live()) == 4, 10)
    behind(stage)
    stage.mesh.heal("n1")
    stage.until(lambda: len(stage.live()) == 3, 5)


def test_what_if_questions_look_further() -> None:
    stage = updated(SOON)
    behind(stage)
    ahead = foresee(stage.mesh.world(), [], ["web"], stage.mesh.now)
    for _ in range(300):
        if not ahead.step():
            break
    assert len(ahead.ends) == 4
