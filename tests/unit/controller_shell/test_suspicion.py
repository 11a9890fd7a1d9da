"""A store that went back to what this controller has seen itself: only others know what was lost."""

from __future__ import annotations

import asyncio

import pytest

from bus.commits import Committed, Put
from bus.memory import MemoryBroker
from controller.mirror import Mirror
from controller.suspicion import SURE_AFTER, Suspicion
from schemas import subjects
from schemas.errors import Refused
from schemas.liveness import ControllerBeat
from schemas.memberapi import UpdateNode
from schemas.records import MeshRecord
from schemas.serviceapi import ScaleServices, ServiceDeploy
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import mesh_of, ready, spec

STORE = MeshRecord(mesh_id="m1", generation=2)


def put(broker: MemoryBroker, key: str) -> int:
    outcome = broker.state.commit("operator", (Put(key, b"{}"),), None)
    assert isinstance(outcome, Committed)
    return outcome.sequence


async def heard(broker: MemoryBroker, *beats: ControllerBeat) -> str:
    """What a controller whose mirror is level makes of what others say."""
    mirror = Mirror(broker.connect("controller-c1"))
    await mirror.state.resync("started")
    suspicion = Suspicion(broker.connect("controller-c1"), mirror)
    running = asyncio.create_task(suspicion.run())
    for beat in beats:
        suspicion.hear_controller(beat)
        await asyncio.sleep(1)
    running.cancel()
    return suspicion.rolled_back


def store_of(*keys: str) -> MemoryBroker:
    broker = MemoryBroker()
    broker.state.commit("operator", (Put(subjects.MESH, encode(STORE)),), None)
    for key in keys:
        put(broker, key)
    return broker


def beat(sequence: int, *, mesh_id: str = "m1", generation: int = 2, lacks: str = "", at: int = 0) -> ControllerBeat:
    return ControllerBeat(
        name="c3", mesh_id=mesh_id, generation=generation, sequence=sequence, lacks=lacks, lacks_at=at
    )


def test_another_controller_has_seen_more_than_the_store_has() -> None:
    async def story() -> None:
        broker = store_of("cursor.a")
        end = put(broker, "cursor.b")
        why = await heard(broker, beat(end + 1))
        assert why == f"store.rolled_back: controller c3 has seen (2, {end + 1}), the store ends at (2, {end})"

    run(story())


def test_the_store_has_grown_since_over_what_another_controller_has_seen() -> None:
    async def story() -> None:
        broker = store_of()
        older = put(broker, "cursor.a")
        end = put(broker, "cursor.b")
        why = await heard(broker, beat(end, lacks="cursor.a", at=end))
        seen, held = f"controller c3 has seen cursor.a at (2, {end})", f"the store holds that of {older}"
        assert why == f"store.rolled_back: {seen}, {held}"
        put(broker, "cursor.b")
        assert await heard(broker, beat(end + 1, lacks="cursor.a", at=end)) == why

    run(story())


@pytest.mark.parametrize(
    "claim",
    [
        beat(9, mesh_id="m2"),
        beat(9, mesh_id=""),
        beat(9, generation=1),
        beat(3, generation=1, lacks="cursor.a", at=3),
        beat(3, lacks="cursor.a", at=2),
        beat(3, lacks="cursor.b", at=3),
        beat(3, lacks="cursor.c", at=3),
        beat(3),
    ],
)
def test_no_claim(claim: ControllerBeat) -> None:
    """Of another mesh; of a store that was made anew since; of what stands there, or is not known at all."""

    async def story() -> None:
        broker = store_of("cursor.a", "cursor.b")
        assert await heard(broker, claim) == ""

    run(story())


def test_a_claim_is_taken_back_once_the_store_shows_it() -> None:
    async def story() -> None:
        broker = store_of("cursor.a")
        whole = broker.checkpoint()
        end = put(broker, "cursor.b")
        mirror = Mirror(broker.connect("controller-c1"))
        suspicion = Suspicion(broker.connect("controller-c1"), mirror)
        later = broker.checkpoint()
        broker.roll_back(whole)
        await mirror.state.resync("started")
        running = asyncio.create_task(suspicion.run())
        suspicion.hear_controller(beat(end))
        await asyncio.sleep(1)
        assert suspicion.rolled_back
        broker.roll_back(later)
        suspicion.hear_controller(beat(end))
        await asyncio.sleep(1)
        assert not suspicion.rolled_back
        running.cancel()

    run(story())


def test_a_server_that_is_a_moment_behind_is_no_older_store() -> None:
    """It is asked while others have just heard of a write that it has not stored."""

    async def story() -> None:
        broker = store_of("cursor.a")
        mirror = Mirror(broker.connect("controller-c1"))
        await mirror.state.resync("started")
        suspicion = Suspicion(broker.connect("controller-c1"), mirror)
        running = asyncio.create_task(suspicion.run())
        suspicion.hear_controller(beat(mirror.sequence + 1))
        await asyncio.sleep(SURE_AFTER / 2)
        put(broker, "cursor.b")
        for _ in range(100):
            await asyncio.sleep(0.01)
            assert suspicion.rolled_back == ""
        running.cancel()

    run(story())


def test_what_is_claimed_while_the_store_is_asked_is_not_held_against_that_answer() -> None:
    async def story() -> None:
        broker = store_of("cursor.a")
        broker.faults.delay = (0.05, 0.05)
        mirror = Mirror(broker.connect("controller-c1"))
        await mirror.state.resync("started")
        suspicion = Suspicion(broker.connect("controller-c1"), mirror)
        running = asyncio.create_task(suspicion.run())
        for _ in range(60):
            suspicion.hear_controller(beat(put(broker, "cursor.b")))
            await asyncio.sleep(0.013)
            assert suspicion.rolled_back == ""
        running.cancel()

    run(story())


@pytest.mark.parametrize("grown", [0, 3])
def test_a_leader_that_was_deaf_learns_of_what_it_never_saw(grown: int) -> None:
    """It hears nothing (but is heard), others pause a node meanwhile, and the store is what it was when it was deaf."""

    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            await ready(mesh)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            await asyncio.sleep(3)
            leader = await mesh.led()
            name = leader.config.name
            older = mesh.broker.checkpoint()
            mesh.broker.partition(f"controller-{name}", outbound=False)
            await mesh.ask("node.update", UpdateNode(node="n1", availability="pause"))
            await asyncio.sleep(3)
            mesh.broker.roll_back(older)
            for number in range(grown):
                put(mesh.broker, f"cursor.{number}")
            await asyncio.sleep(3)
            mesh.broker.heal(f"controller-{name}")
            await mesh.until(lambda: leader.hearing.rolled_back != "" or leader.mirror.trouble != "")
            with pytest.raises(Refused, match=r"store\.rolled_back"):
                await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 1}))
            await asyncio.sleep(20)
            assert mesh.running("shop_web") == ["1", "2"]

    run(scenario())
