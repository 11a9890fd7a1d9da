"""What rollouts, drains, rebalances and roll-backs promise: each checker is proven by a bug that it must catch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from bus.commits import Delete, Fence, Outcome, Put, Write
from controller import decide, moving, replicated, rolling, updates
from controller.api import rebalancing
from controller.slots import Round, end_task
from controller.task_ids import base36
from controller.work import Work
from controller.world import Stored
from schemas import subjects
from schemas.assignment import Assignment
from schemas.memberapi import UpdateNode
from schemas.observation import Observation
from schemas.rebalance import Move
from schemas.records import NodeRecord, RolloutRecord, ServiceRecord, UpdateProgress
from schemas.revisionapi import RollbackService
from schemas.serviceapi import ServiceDeploy
from schemas.spec import ContainerSpec, HealthCheck, RestartPolicy, ServiceSpec, TaskSpec, UpdatePolicy
from schemas.wire import decode, encode
from tests.sim.basis import LAG, Basis
from tests.sim.invariants import Violated, Watchman
from tests.sim.loop import run
from tests.sim.people import People
from tests.sim.promises import PromiseWatch
from tests.sim.test_planted import assign, commit, task_of
from tests.sim.test_rollouts import rollout
from tests.sim.test_world import deploy, slots
from tests.sim.world import World, in_world, silence_logs

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_logs()


def web(image: str = "app:1", replicas: int = 4, **policy: Any) -> ServiceDeploy:
    update = UpdatePolicy(**{"monitor": 0.0, **policy})
    check = HealthCheck(test=("CMD", "true")) if image == "slow:1" else None
    task = TaskSpec(container=ContainerSpec(image=image, healthcheck=check))
    spec = ServiceSpec(name="shop_web", stack="shop", task=task, update=update, rollback=update)
    return ServiceDeploy(spec=spec, replicas=replicas)


class Stage:
    """A world whose decisions are watched from its beginning."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.watchman = Watchman(world)
        self.promises = PromiseWatch(world, self.watchman.note)
        self.watchman.listeners.append(self.promises.stored)
        self.watchman.observers.append(self.promises.observed)

    async def begin(self) -> None:
        """Until a leader has been seen to take over, so that the watchman knows it."""
        self.world.crash_controller(self.world.leader())
        await self.world.settled()
        await asyncio.sleep(3)  # it hears all nodes

    async def stands(self, wanted: ServiceDeploy) -> None:
        """Deploy it and wait until the leader says that it is done."""
        before = rollout(self.world).deploy
        await deploy(self.world, wanted)
        holds = lambda: rollout(self.world).phase == "done" and rollout(self.world).deploy > before  # noqa: E731
        await self.world.until(holds, 60, "it stands")


async def updated(stage: Stage, **policy: Any) -> None:
    """A service is deployed, and then another image of it, which takes a while to get healthy."""
    await stage.stands(web("app:1", **policy))
    await stage.stands(web("slow:1", **policy))


async def drained(stage: Stage) -> None:
    """A node with tasks is emptied."""
    await stage.stands(web("app:1", replicas=6))
    await stage.world.insist("node.update", UpdateNode(node="n1", availability="drain"))
    await stage.world.until(lambda: not stage.world.nodes["n1"].live(), 30, "the node is empty")


def play(story: Callable[[Stage], Any], says: str = "") -> Stage:
    """Tell it; `says`: what the watchman must have seen. "": nothing."""
    stages: list[Stage] = []

    async def whole(world: World) -> None:
        stage = Stage(world)
        stages.append(stage)
        await stage.begin()
        await story(stage)
        if not says:
            stage.watchman.raise_if_any()
        else:
            with pytest.raises(Violated, match=says):
                stage.watchman.raise_if_any()

    run(in_world(51, whole))
    return stages[0]


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


def test_drains_keep_what_they_promise() -> None:
    play(drained)


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


def test_the_watch_catches_a_drain_that_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_at_once", lambda *_: True)
    play(drained, "leaves a drained node before its next one is up")


def _told_up(world: World, node: str) -> None:
    """The node tells that all of its tasks are up: not all were."""
    value = world.broker.observed.existing().entries[node].value
    assert value is not None
    now = decode(value, Observation)
    tasks = tuple(msgspec.structs.replace(task, state="running", health="healthy") for task in now.tasks)
    assert not all(task.up for task in now.tasks)
    later = msgspec.structs.replace(now, counter=now.counter + 1, tasks=tasks)
    world.broker.observed.commit(f"agent-{node}", [Put(node, encode(later))], None)


def _commit(stage: Stage, *batch: Put) -> None:
    commit(stage.world, f"controller-{stage.world.leader()}", *batch)


def _before_it_is_stored(
    stage: Stage, such: Callable[[Write], bool], happens: Callable[[], object]
) -> Callable[[], bool]:
    """Once, between a decision and its being stored, something happens; whether it has."""
    state = stage.world.broker.state
    store = state.commit

    def commit_behind(user: str, batch: Sequence[Write], fence: Fence | None) -> Outcome:
        if any(such(write) for write in batch):
            state.commit = store  # type: ignore[method-assign]
            happens()
        return store(user, batch, fence)

    state.commit = commit_behind  # type: ignore[method-assign]
    return lambda: state.commit == store


async def _drained_while_it_comes_up(stage: Stage, *, known: bool) -> None:
    """`known`: the leader has heard that the node's tasks are up; else it is told between its look and its decision."""
    world = stage.world
    await deploy(world, web("slow:1"))
    await world.until(lambda: world.running("shop_web") == slots(4), 30, "they start")
    if known:
        _told_up(world, "n1")
        await asyncio.sleep(0.1)
    decided = _before_it_is_stored(
        stage, lambda write: write.key == "desired.n1", lambda: None if known else _told_up(world, "n1")
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
        decided = await _turn_comes_as_it_leaves(stage, lambda place: _told_up(stage.world, place))
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


def _availability(world: World, node: str, availability: Any) -> Put:
    value = world.broker.state.existing().entries[f"node.{node}"].value
    assert value is not None
    return Put(f"node.{node}", encode(msgspec.structs.replace(decode(value, NodeRecord), availability=availability)))


async def _drain_taken_back_unheard(stage: Stage) -> None:
    """A node is in use again between the leader's look at its drain and the decision."""
    world = stage.world
    await stage.stands(web("app:1", replicas=6))
    stood = world.live()
    decided = _before_it_is_stored(
        stage,
        lambda write: write.key in ("desired.n2", "desired.n3"),
        lambda: _commit(stage, _availability(world, "n1", "active")),
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
            _commit(stage, *(_availability(stage.world, node, availability) for node in ("n1", "n2", "n3")))
            await asyncio.sleep(0.5)
        stage.watchman.raise_if_any()
        on_n1 = lambda work, slot: [each.node for each in work.candidates(slot)] == ["n1"]  # noqa: E731
        monkeypatch.setattr(moving, "_to_replace", on_n1)
        await stage.world.insist("node.update", UpdateNode(node="n2", labels_add={"zone": "a"}))
        await asyncio.sleep(1)

    play(story, "neither move nor surge")


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
        decided = _before_it_is_stored(
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
        _commit(stage, assign(task_of("a-1")))
        ended = msgspec.structs.replace(task_of("a-1"), desired="shutdown", why="moves to node n2")
        _commit(stage, assign(ended))

    play(story, "nobody has ordered that")


@pytest.mark.parametrize(("epoch", "says"), [(1, "neither move nor surge"), (11, "")])
def test_the_watch_catches_a_second_task_for_no_reason(epoch: int, says: str) -> None:
    """Seed 57000184: one that an earlier leader had given is no new one, on a node that says what it obeys."""

    async def story(stage: Stage) -> None:
        await stage.stands(web(replicas=1))
        ((node, life),) = stage.world.live()["shop_web", "1"]
        other = "n1" if node != "n1" else "n2"
        record = msgspec.json.decode(assign(task_of("a-1")).value)
        _commit(stage, Put(f"desired.{other}", msgspec.json.encode({**record, "node": other, "epoch": epoch})))
        assert life.view.alive

    play(story, says)


@pytest.mark.parametrize("ago", [0.5, LAG + 1])
def test_the_watch_catches_a_leader_that_goes_by_a_drain_long_after_it_was_taken_back(ago: float) -> None:
    async def story(stage: Stage) -> None:
        world = stage.world
        await stage.stands(web(replicas=1))
        ((node, _),) = world.live()["shop_web", "1"]
        _commit(stage, _availability(world, node, "active"))
        await asyncio.sleep(ago)
        drained = decode(_availability(world, node, "drain").value, NodeRecord)
        epoch = world.broker.state.existing().entries[subjects.EPOCH].sequence
        world.decided_by[epoch] = Basis(world.now, {}, {node: Stored(drained, 1)}, {})
        other = "n1" if node != "n1" else "n2"
        record = decode(assign(task_of(f"{base36(epoch)}-1")).value, Assignment)
        record = msgspec.structs.replace(record, node=other, epoch=epoch)
        _commit(stage, Put(f"desired.{other}", encode(record)))

    play(story, "neither move nor surge" if ago > LAG else "")


def test_the_watch_catches_a_roll_back_that_ends_elsewhere() -> None:
    def record(state: Any, revision: int) -> Put:
        progress = UpdateProgress(state=state, left=3)
        return Put(
            "rollout.shop_x",
            encode(RolloutRecord(service="shop_x", deploy=3, revision=revision, good=1, update=progress)),
        )

    async def story(stage: Stage) -> None:
        _commit(stage, record("rollback_started", 1))
        _commit(stage, record("rollback_completed", 2))

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
