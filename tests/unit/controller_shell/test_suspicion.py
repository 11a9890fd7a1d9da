"""A store that went back to what this controller has seen itself: only others know what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from bus.commits import Committed, Put
from bus.memory import MemoryBroker
from bus.memory_stream import MemoryStream
from bus.port import StoreInfo
from controller.mirror import Mirror
from controller.suspicion import SURE_AFTER, WARNED_FOR, Suspicion
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


@asynccontextmanager
async def suspicious(broker: MemoryBroker) -> AsyncIterator[Suspicion]:
    """A controller's, whose mirror is level."""
    mirror = Mirror(broker.connect("controller-c1"))
    await mirror.state.resync("started")
    suspicion = Suspicion(broker.connect("controller-c1"), mirror)
    running = asyncio.create_task(suspicion.run())
    yield suspicion
    running.cancel()


async def heard(broker: MemoryBroker, *beats: ControllerBeat) -> str:
    """What it makes of what others say, and go on saying."""
    async with suspicious(broker) as suspicion:
        for number in range(int(SURE_AFTER) + 2):
            assert suspicion.rolled_back == "" or number >= SURE_AFTER
            for beat in beats:
                suspicion.hear_controller(beat)
            await asyncio.sleep(1)
        assert (suspicion.doubtful_since is None) == (suspicion.rolled_back == "")
        return suspicion.rolled_back


def store_of(*keys: str) -> MemoryBroker:
    broker = MemoryBroker()
    broker.state.commit("operator", (Put(subjects.MESH, encode(STORE)),), None)
    for key in keys:
        put(broker, key)
    return broker


def gone_back() -> tuple[MemoryBroker, MemoryStream, MemoryStream, int]:
    """A store that was rolled back by one write; as it is, as it was, and the sequence of what is lost."""
    broker = store_of("cursor.a")
    before = broker.checkpoint()
    end = put(broker, "cursor.b")
    later = broker.checkpoint()
    broker.roll_back(before)
    return broker, before, later, end


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
        beat(9, generation=3),
        beat(3, generation=3, lacks="cursor.a", at=3),
        beat(3, generation=1, lacks="cursor.a", at=3),
        beat(3, lacks="cursor.a", at=2),
        beat(3, lacks="cursor.b", at=3),
        beat(3, lacks="cursor.c", at=3),
        beat(3),
    ],
)
def test_no_claim(claim: ControllerBeat) -> None:
    """Of another mesh; of a store that was made anew since, or is nobody's; of what stands there, or is not known."""

    async def story() -> None:
        broker = store_of("cursor.a", "cursor.b")
        assert await heard(broker, claim) == ""

    run(story())


@pytest.mark.parametrize(
    ("says", "generation", "warns"), [("rolled_back", 2, True), ("rolled_back", 1, False), ("missing", 2, False)]
)
def test_what_others_say_of_the_store_is_doubt_as_long_as_they_say_it(
    says: str, generation: int, *, warns: bool
) -> None:
    """They may know what can't be seen in it any more; they may be wrong, too."""

    async def story() -> None:
        async with suspicious(store_of("cursor.a")) as suspicion:
            began = asyncio.get_running_loop().time()
            for _ in range(10):
                suspicion.hear_controller(
                    replace(beat(2, generation=generation), distrusts=f"store.{says}: it is older")
                )
                await asyncio.sleep(1)
                assert suspicion.unsure_since == (began if warns else None)
            assert suspicion.rolled_back == ""
            await asyncio.sleep(WARNED_FOR)
            assert suspicion.unsure_since is None
            suspicion._own = "c3"
            suspicion.hear_controller(replace(beat(2), distrusts="store.rolled_back: so it was just now"))
            assert suspicion.unsure_since is None

    run(story())


def test_a_leader_takes_nothing_down_while_another_controller_says_that_the_store_was_rolled_back() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            await ready(mesh)
            await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2))
            await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
            said = replace(beat(3, generation=1), distrusts="store.rolled_back: it is older")
            core = mesh.broker.connect("controller-c3").core
            for second in range(15):
                await core.publish(subjects.controller("c3"), encode(said))
                if second == 1:
                    await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 1}))
                await asyncio.sleep(1)
            assert mesh.running("shop_web") == ["1", "2"]
            await mesh.until(lambda: len(mesh.running("shop_web")) == 1)

    run(scenario())


@pytest.mark.parametrize("seconds", [SURE_AFTER - 1, SURE_AFTER + 2])
def test_a_claim_is_taken_back_once_the_store_shows_it(seconds: float) -> None:
    """A server that led the stream and stalled tells of it as it was, for some seconds: that is doubt, and no proof."""

    async def story() -> None:
        broker, _, later, end = gone_back()
        async with suspicious(broker) as suspicion:
            suspicion.hear_controller(beat(end))
            await asyncio.sleep(seconds)
            assert suspicion.doubtful_since is not None
            assert bool(suspicion.rolled_back) == (seconds > SURE_AFTER)
            broker.roll_back(later)
            await asyncio.sleep(1)
            assert suspicion.rolled_back == ""
            assert suspicion.doubtful_since is None

    run(story())


def test_two_looks_with_a_long_silence_between_them_prove_nothing() -> None:
    """A server that had stalled told of an older store, nobody did for a while, and then another one does."""

    async def story() -> None:
        broker, before, later, end = gone_back()
        async with suspicious(broker) as suspicion:
            suspicion.hear_controller(beat(end))
            await asyncio.sleep(1)
            broker.lose_store()
            await asyncio.sleep(2 * SURE_AFTER)
            broker.roll_back(before)
            await asyncio.sleep(SURE_AFTER - 1.5)
            assert suspicion.doubtful_since is not None
            assert suspicion.rolled_back == ""
            broker.roll_back(later)
            await asyncio.sleep(2)
            assert suspicion.doubtful_since is None

    run(story())


def test_a_frozen_mesh_does_not_ask_at_every_heartbeat() -> None:
    async def story() -> None:
        broker = store_of("cursor.a")
        async with suspicious(broker) as suspicion:
            asked = 0
            store = suspicion._mirror.state._store
            ask = store.info

            async def info() -> StoreInfo:
                nonlocal asked
                asked += 1
                return await ask()

            store.info = info  # type: ignore[method-assign]
            for number in range(1000):
                suspicion.hear_node(f"n{number}", (2, 1000))
                await asyncio.sleep(0.002)
            assert suspicion.rolled_back
            assert 10 < asked < 50

    run(story())


def test_what_an_agent_obeys_can_not_wait() -> None:
    async def story() -> None:
        broker = store_of("cursor.a")
        async with suspicious(broker) as suspicion:
            suspicion.hear_node("n1", (2, 9))
            await asyncio.sleep(0.1)
            assert suspicion.rolled_back.startswith("store.rolled_back: node n1 obeys (2, 9)")

    run(story())


def test_what_is_claimed_while_the_store_is_asked_is_not_held_against_that_answer() -> None:
    async def story() -> None:
        broker = store_of("cursor.a")
        broker.faults.delay = (0.05, 0.05)
        async with suspicious(broker) as suspicion:
            for _ in range(60):
                end = put(broker, "cursor.b")
                suspicion.hear_controller(beat(end))
                suspicion.hear_node("n1", (2, end))
                await asyncio.sleep(0.013)
                assert suspicion.rolled_back == ""
                assert suspicion.doubtful_since is None

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
            await mesh.until(lambda: leader.hearing.suspicion.rolled_back != "" or leader.mirror.trouble != "")
            with pytest.raises(Refused, match=r"store\.rolled_back"):
                await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 1}))
            await asyncio.sleep(20)
            assert mesh.running("shop_web") == ["1", "2"]

    run(scenario())
