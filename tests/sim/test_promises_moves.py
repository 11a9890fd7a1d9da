"""What drains and rebalances promise: each checker is proven by a bug that it must catch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from bus.commits import Delete, Outcome, Put, Write
from controller import moving
from controller.api import rebalancing
from controller.task_ids import base36
from controller.world import Stored
from schemas import subjects
from schemas.assignment import Assignment
from schemas.memberapi import UpdateNode
from schemas.rebalance import Move
from schemas.records import NodeRecord, ServiceRecord
from schemas.wire import decode, encode
from tests.sim.basis import LAG, Basis
from tests.sim.people import People
from tests.sim.stage import (
    Stage,
    availability_record,
    before_it_is_stored,
    commit_as_leader,
    drained,
    play,
    tell_all_up,
    web,
)
from tests.sim.test_planted import assign, commit, task_of
from tests.sim.test_rollouts import rollout
from tests.sim.test_world import deploy, slots
from tests.sim.world import silence_logs


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def test_drains_keep_what_they_promise() -> None:
    play(drained)


def test_the_watch_catches_a_drain_that_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_at_once", lambda *_: True)
    play(drained, "leaves a drained node before its next one is up")


async def _drained_while_it_comes_up(stage: Stage, *, known: bool) -> None:
    """`known`: the leader has heard that the node's tasks are up; else it is told between its look and its decision."""
    world = stage.world
    await deploy(world, web("slow:1"))
    await world.until(lambda: world.running("shop_web") == slots(4), 30, "they start")
    if known:
        tell_all_up(world, "n1")
        await asyncio.sleep(0.1)
    decided = before_it_is_stored(
        stage, lambda write: write.key == "desired.n1", lambda: None if known else tell_all_up(world, "n1")
    )
    await world.insist("node.update", UpdateNode(node="n1", availability="drain"))
    await world.until(lambda: not world.nodes["n1"].live(), 30, "the node is empty")
    assert decided()


def test_what_came_up_since_the_leader_looked_may_be_ended() -> None:
    play(lambda stage: _drained_while_it_comes_up(stage, known=False))


def test_what_has_just_come_up_may_not_be_ended_by_a_leader_that_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_at_once", lambda *_: True)
    play(lambda stage: _drained_while_it_comes_up(stage, known=True), "leaves a drained node before its next one is up")


async def _turn_comes_as_it_leaves(stage: Stage, meanwhile: Callable[[str], None]) -> list[set[str]]:
    """Between two looks of the leader an update comes for a drained node's task, whose next one has been started.

    `meanwhile` is told where that runs. What the mesh decides then: for each batch, why it ends tasks of the slot.
    """
    world, state = stage.world, stage.world.broker.state
    first = web("slow:1", replicas=3, parallelism=0)
    container = msgspec.structs.replace(first.spec.task.container, environment={"N": "2"})
    task = msgspec.structs.replace(first.spec.task, container=container)  # of the same image: nothing is to be fetched
    await stage.stands(first)
    await stage.stands(msgspec.structs.replace(first, spec=msgspec.structs.replace(first.spec, task=task)))
    (slot,) = (slot for (_, slot), ((node, _),) in world.live().items() if node == "n1")
    await world.insist("node.update", UpdateNode(node="n1", availability="drain"))
    await world.until(lambda: len(world.running("shop_web")) == 4, 30, "the next one runs")
    ((place, _),) = (each for each in world.live()["shop_web", slot] if each[0] != "n1")
    decided: list[set[str]] = []

    def note(batch: Sequence[Write], _: Outcome) -> None:
        records = [decode(write.value, Assignment) for write in batch if write.key.startswith("desired.")]
        ending = [task for record in records for task in record.tasks if task.desired == "shutdown"]
        decided.append({task.why for task in ending if task.slot == slot})

    stage.watchman.listeners.append(note)
    leader = world.leader()
    world.stop_controller(leader)
    meanwhile(place)
    intent = state.existing().entries["service.shop_web"].value
    assert intent is not None
    record = decode(intent, ServiceRecord)
    back = msgspec.structs.replace(record, target=1, deploy=record.deploy + 1, back_from=record.target)
    commit(world, "controller-c0", Put("service.shop_web", encode(back)), fenced=False)
    await asyncio.sleep(0.1)
    world.continue_controller(leader)
    await world.until(lambda: not world.nodes["n1"].live(), 30, "the node is empty")
    await world.until(lambda: rollout(world).deploy == back.deploy and rollout(world).phase == "done", 60, "it is back")
    return decided


def test_what_leaves_a_node_ends_together_with_its_next_one_whose_turn_has_come() -> None:
    async def story(stage: Stage) -> None:
        decided = await _turn_comes_as_it_leaves(stage, lambda place: tell_all_up(stage.world, place))
        both = next(whys for whys in decided if len(whys) > 1)
        assert sorted(why.split(";")[0] for why in both) == ["node n1 is drained", "replaced by revision 1"]

    stage = play(story)
    assert stage.promises.seen["node "] == 0


def test_the_watch_catches_what_leaves_before_the_next_one_whose_turn_has_come_was_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def planted(_: str) -> None:
        monkeypatch.setattr(moving, "_at_once", lambda *_: True)

    async def story(stage: Stage) -> None:
        assert any(len(whys) > 1 for whys in await _turn_comes_as_it_leaves(stage, planted))

    play(story, "leaves a drained node before its next one is up")


async def _drain_taken_back_unheard(stage: Stage) -> None:
    """A node is in use again between the leader's look at its drain and the decision."""
    world = stage.world
    await stage.stands(web("app:1", replicas=6))
    stood = world.live()
    decided = before_it_is_stored(
        stage,
        lambda write: write.key in ("desired.n2", "desired.n3"),
        lambda: commit_as_leader(stage, availability_record(world, "n1", "active")),
    )
    await world.insist("node.update", UpdateNode(node="n1", availability="drain"))
    await asyncio.sleep(5)
    assert decided()
    assert stage.promises.seen["placed"] > 1
    assert world.live() == stood


def test_a_drain_that_is_taken_back_while_the_leader_decides_may_begin() -> None:
    play(_drain_taken_back_unheard)


def test_the_watch_catches_a_drain_that_goes_on_though_the_leader_has_heard_that_it_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(stage: Stage) -> None:
        await stage.stands(web("app:1", replicas=6))
        for availability in ("drain", "active"):
            commit_as_leader(
                stage, *(availability_record(stage.world, node, availability) for node in ("n1", "n2", "n3"))
            )
            await asyncio.sleep(0.5)
        stage.watchman.raise_if_any()
        on_n1 = lambda work, slot: [each.node for each in work.candidates(slot)] == ["n1"]  # noqa: E731
        monkeypatch.setattr(moving, "_to_replace", on_n1)
        await stage.world.insist("node.update", UpdateNode(node="n2", labels_add={"zone": "a"}))
        await asyncio.sleep(1)

    play(story, "neither move nor surge")


@pytest.mark.parametrize("ago", [0.5, LAG + 1])
def test_the_watch_catches_a_leader_that_goes_by_a_drain_long_after_it_was_taken_back(ago: float) -> None:
    async def story(stage: Stage) -> None:
        world = stage.world
        await stage.stands(web(replicas=1))
        ((node, _),) = world.live()["shop_web", "1"]
        commit_as_leader(stage, availability_record(world, node, "active"))
        await asyncio.sleep(ago)
        drained = decode(availability_record(world, node, "drain").value, NodeRecord)
        epoch = world.broker.state.existing().entries[subjects.EPOCH].sequence
        world.decided_by[epoch] = Basis(world.now, {}, {node: Stored(drained, 1)}, {})
        other = "n1" if node != "n1" else "n2"
        record = decode(assign(task_of(f"{base36(epoch)}-1")).value, Assignment)
        record = msgspec.structs.replace(record, node=other, epoch=epoch)
        commit_as_leader(stage, Put(f"desired.{other}", encode(record)))

    play(story, "neither move nor surge" if ago > LAG else "")


async def _uneven(stage: Stage) -> None:
    stage.world.power_off("n3")
    await stage.world.until(lambda: "n3" not in stage.world.ready(), 30, "n3 is down")
    await stage.stands(web("app:1", replicas=6))
    stage.world.power_on("n3")
    await stage.world.settled()


async def _rebalanced(stage: Stage) -> None:
    await _uneven(stage)
    most_one = random.Random(3)
    most_one.random = lambda: 1.0  # type: ignore[method-assign]
    most_one.choice = lambda _: 1  # type: ignore[method-assign,assignment]
    await People(stage.world, most_one, stage.watchman.note).rebalance()
    moved = lambda: len(stage.world.nodes["n3"].live()) > 0  # noqa: E731
    await stage.world.until(moved, 60, "it is used again")
    await asyncio.sleep(10)


def test_a_rebalance_moves_no_more_than_asked() -> None:
    async def story(stage: Stage) -> None:
        await _rebalanced(stage)
        assert len(stage.world.nodes["n3"].live()) == 1

    stage = play(story)
    assert stage.promises.seen["moves to node"] == 1


def test_a_rebalance_that_is_stopped_while_the_leader_decides_may_begin() -> None:
    async def story(stage: Stage) -> None:
        state = stage.world.broker.state
        stop = lambda: state.commit(  # noqa: E731
            f"controller-{stage.world.leader()}",
            [Delete(key) for key in state.existing().entries if key.startswith("order.")],
            None,
        )
        decided = before_it_is_stored(
            stage, lambda write: isinstance(write, Put) and b"moves to node" in write.value, stop
        )
        await _rebalanced(stage)
        assert decided()

    stage = play(story)
    assert stage.promises.seen["moves to node"] == 1


def test_the_watch_catches_a_rebalance_that_moves_more_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rebalancing._moves

    class Stubborn(list[Move]):
        def __getitem__(self, _: Any) -> Any:
            return list(self)

    monkeypatch.setattr(rebalancing, "_moves", lambda desk: (Stubborn(whole(desk)[0]), *whole(desk)[1:]))
    play(_rebalanced, "2 moves were ordered, and at most 1 asked for")


def test_the_watch_catches_a_move_that_nobody_ordered() -> None:
    async def story(stage: Stage) -> None:
        commit_as_leader(stage, assign(task_of("a-1")))
        ended = msgspec.structs.replace(task_of("a-1"), desired="shutdown", why="moves to node n2")
        commit_as_leader(stage, assign(ended))

    play(story, "nobody has ordered that")
