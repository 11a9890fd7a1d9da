"""A mesh whose store goes back while its leader was told how far it went, and had got nothing of that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from bus.commits import BATCH_MESSAGES, Committed, Put
from bus.memory_stream import MemoryStream
from controller.confirming import Confirmer
from controller.controller import Controller
from schemas import subjects
from schemas.errors import Refused, TimedOut
from schemas.liveness import LeaderBeat
from schemas.records import EpochRecord, MeshRecord, ServiceRecord
from schemas.serviceapi import ScaleServices, ServiceDeploy
from schemas.wire import encode
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import Mesh, mesh_of, ready, spec
from tests.unit.controller_shell.test_suspicion import put


@asynccontextmanager
async def deaf(mesh: Mesh, leader: Controller) -> AsyncIterator[None]:
    """It gets nothing of what is stored, but is told how far the store goes; then it gets that again."""
    lost = mesh.broker.lose(mesh.broker.state.republished + ">", receiver=f"controller-{leader.config.name}")
    shown = leader.mirror.sequence
    yield
    await leader.mirror.state.ask()
    assert leader.mirror.state.extent.furthest == mesh.broker.state.existing().last
    assert leader.mirror.sequence == shown
    mesh.broker.faults.remove(lost)


def write(mesh: Mesh, record: ServiceRecord) -> None:
    mesh.broker.state.commit("operator", (Put(subjects.service_key(record.name), encode(record)),), None)


async def two_run(mesh: Mesh, *more: ServiceDeploy) -> Controller:
    """Two slots of a service, and the leader, for which it has been quiet."""
    await ready(mesh)
    await mesh.deploy(ServiceDeploy(spec=spec("shop_web", "shop"), replicas=2), *more)
    await mesh.until(lambda: len(mesh.running("shop_web")) == 2)
    leader = await mesh.led()
    await asyncio.sleep(10)
    return leader


def scaled_down_and_back(mesh: Mesh, leader: Controller) -> MemoryStream:
    """Two writes of people; the store between them."""
    record = leader.mirror.records.services["shop_web"].record
    write(mesh, replace(record, replicas=1))
    older = mesh.broker.checkpoint()
    write(mesh, record)
    return older


@pytest.mark.parametrize("more", [0, 1, 10])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0, 1.5])
def test_a_leader_carries_nothing_out_that_stands_in_the_older_store_only(more: int, offset: float) -> None:
    """It is scaled down there, which was taken back in what is lost, with `more` writes."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            leader = await two_run(mesh)
            await asyncio.sleep(offset)
            async with deaf(mesh, leader):
                older = scaled_down_and_back(mesh, leader)
                for number in range(more):
                    put(mesh.broker, f"cursor.{number}")
            mesh.broker.roll_back(older)
            await mesh.until(lambda: leader.leader.frozen.startswith("store.rolled_back"))
            assert leader.mirror.records.services["shop_web"].record.replicas == 1
            await asyncio.sleep(20)
            assert mesh.running("shop_web") == ["1", "2"]
            assert leader.leader.frozen.startswith("store.rolled_back")

    run(scenario())


def test_what_was_stored_a_moment_ago_proves_nothing_once_the_store_is_said_to_be_shorter() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=1) as mesh:
            await ready(mesh)
            leader = await mesh.led()
            proof, state = leader.leader._proof, leader.mirror.state
            proof.shown(leader.desk.clock.monotonic())
            assert await proof.holds()
            older = mesh.broker.checkpoint()
            async with deaf(mesh, leader):
                put(mesh.broker, "cursor.b")
            mesh.broker.roll_back(older)
            await state.ask()
            proof.shown(leader.desk.clock.monotonic())
            assert not await proof.holds()

    run(scenario())


@pytest.mark.parametrize("phase", [0.0, 0.5, 1.0, 1.5])
def test_who_was_told_of_more_does_not_take_over(phase: float) -> None:
    """Its own epoch would be stored where others had been, and the store be as long again."""

    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=2) as mesh:
            leader = await two_run(mesh)
            other = next(each for each in mesh.controllers.values() if each is not leader)
            await asyncio.sleep(phase)
            async with deaf(mesh, leader), deaf(mesh, other):
                older = scaled_down_and_back(mesh, leader)
            mesh.broker.roll_back(older)
            await mesh.kill(leader.config.name)
            await asyncio.sleep(30)
            assert not other.leads
            assert other.elector.trouble.startswith("store.rolled_back")
            assert mesh.running("shop_web") == ["1", "2"]

    run(scenario())


@pytest.mark.parametrize("grown", [0, 3])
def test_a_leader_whose_own_writes_were_lost_finds_that_by_the_next_one(grown: int) -> None:
    """Its mirror has got none of them, and others have written since."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            leader = (await two_run(mesh)).leader
            older = mesh.broker.checkpoint()
            mesh.broker.lose(mesh.broker.state.republished + ">", receiver="controller-c1")
            mesh.broker.faults.snapshot_lag = 10
            for _ in range(5):
                assert isinstance(await leader._proof.submit([leader._seat.cursor_write()]), Committed)
            mesh.broker.roll_back(older)
            for _ in range(grown):
                put(mesh.broker, "cursor.b")
            await leader._proof.submit([leader._seat.cursor_write()])
            assert leader.frozen.startswith("store.rolled_back: a write was stored at")
            mesh.broker.faults.clear()
            for _ in range(10):
                put(mesh.broker, "cursor.b")
            await asyncio.sleep(30)
            assert leader.frozen.startswith("store.rolled_back: a write was stored at")

    run(scenario())


@pytest.mark.parametrize("offset", [0.0, 0.7, 1.4, 2.1, 2.8])
def test_nothing_fills_the_place_of_what_was_lost_while_the_store_is_shorter_than_was_told(offset: float) -> None:
    """Neither leases, nor an order for another service; what stands in the older store is not carried out."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            leased = spec("shop_db", "shop")
            leased = replace(leased, task=replace(leased.task, stop_after=20.0))
            leader = await two_run(mesh, ServiceDeploy(spec=leased, replicas=1))
            await asyncio.sleep(offset)
            async with deaf(mesh, leader):
                older = scaled_down_and_back(mesh, leader)
            mesh.broker.roll_back(older)
            await leader.mirror.state.ask()
            assert leader.mirror.state.extent.went_back
            with pytest.raises(Refused, match="this controller was told of"):
                await mesh.ask("service.scale", ScaleServices(replicas={"shop_db": 2}))
            await mesh.until(lambda: leader.leader.frozen.startswith("store.rolled_back"))
            await asyncio.sleep(20)
            assert mesh.running("shop_web") == ["1", "2"]

    run(scenario())


def test_why_a_controller_did_not_stand_is_not_said_of_a_store_that_was_made_anew() -> None:
    """A recovery waits for all to be well with it."""

    async def scenario() -> None:
        async with mesh_of(controllers=2, agents=1) as mesh:
            await ready(mesh)
            leader = await mesh.led()
            other = next(each for each in mesh.controllers.values() if each is not leader)
            other.elector.trouble = "store.rolled_back: it is older"
            await asyncio.sleep(5)
            assert other.elector.trouble
            mesh.broker.state.commit(
                "operator", [Put(subjects.MESH, encode(MeshRecord(mesh_id="m1", generation=2)))], None
            )
            await asyncio.sleep(1)
            assert other.elector.trouble == ""

    run(scenario())


@pytest.mark.parametrize(
    ("epoch", "generation", "proof"), [(0, 0, True), (-1, 0, False), (0, 1, False)], ids=["same", "lower", "anew"]
)
def test_a_leader_whose_epoch_another_one_leads_too_knows_that_a_takeover_was_lost(
    epoch: int, generation: int, *, proof: bool
) -> None:
    """The store went back to just before the takeover, and another one took over in that, at the same place."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            leader = await two_run(mesh)
            known = leader.mirror.records.mesh
            assert known is not None
            beat = LeaderBeat(
                holder="c9",
                epoch=leader.elector.election.epoch + epoch,
                mesh_id=known.mesh_id,
                generation=known.generation + generation,
            )
            await mesh.broker.connect("controller-c9").core.publish(subjects.LEADER, encode(beat))
            await asyncio.sleep(1)
            frozen = leader.leader.frozen
            assert frozen.startswith("store.rolled_back: controller c9 leads epoch") if proof else not frozen
            await asyncio.sleep(20)
            assert leader.leader.frozen == frozen, "it stands until the store is made anew"

    run(scenario())


@pytest.mark.parametrize("faults", [[], ["unknown-stored"]], ids=["acknowledged", "of unknown outcome"])
def test_a_request_that_is_stored_where_a_write_was_seen_proves_an_older_store(faults: list[str]) -> None:
    """What the leader stores next stands after it, and proves nothing any more. Nobody is told that it is done."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            leader = (await two_run(mesh)).leader
            older = mesh.broker.checkpoint()
            assert isinstance(await leader._proof.submit([leader._seat.cursor_write()]), Committed)
            await leader._seat.mirror.reached(older.last + 1)
            mesh.broker.roll_back(older)
            mesh.broker.faults.next_commits.extend(faults)
            with pytest.raises(TimedOut, match="may or may not be done, and may or may not be lost"):
                await mesh.ask("service.scale", ScaleServices(replicas={"shop_web": 1}))
            await asyncio.sleep(20)
            assert leader.frozen.startswith("store.rolled_back: a request was stored at")
            assert mesh.running("shop_web") == ["1", "2"]

    run(scenario())


def test_the_first_part_of_what_is_too_much_for_one_batch_proves_it_too() -> None:
    """The last of it stands after all that was seen; nothing follows the part that proves it."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            leader = (await two_run(mesh)).leader
            older = mesh.broker.checkpoint()
            for number in range(5):
                put(mesh.broker, f"cursor.lost{number}")
            await leader._seat.mirror.reached(older.last + 5)
            mesh.broker.roll_back(older)
            many = [Put(f"cursor.{number}", b"{}") for number in range(BATCH_MESSAGES + 50)]
            outcome = await leader._proof.submit(many)
            assert isinstance(outcome, Committed)
            assert leader.frozen.startswith("store.rolled_back: a write was stored at")
            assert mesh.broker.state.existing().last < older.last + BATCH_MESSAGES + 5

    run(scenario())


def test_a_leader_whose_takeover_was_lost_gives_no_leases_beside_who_took_over_in_its_place() -> None:
    """While the store is not to be trusted it does, as long as the store shows no other leader."""

    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=1) as mesh:
            older = mesh.broker.checkpoint()
            leader = await mesh.led()
            epoch = leader.elector.election.epoch
            confirmer = Confirmer(leader.leader._seat, leader.leader._proof.submit, epoch)
            assert await confirmer._leads_still()
            mesh.broker.roll_back(older)
            assert await confirmer._leads_still()
            while mesh.broker.state.existing().last < epoch - 1:
                put(mesh.broker, "cursor.b")
            rival = encode(EpochRecord(mesh_id="m1", holder="c9", nonce="n", why="nobody led"))
            mesh.broker.state.commit("controller-c9", (Put(subjects.EPOCH, rival),), None)
            assert mesh.broker.state.existing().last == epoch
            assert not await confirmer._leads_still()

    run(scenario())
