"""What a controller hears, and when its silence-clocks run: in virtual time on the bus in memory."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from bus.memory import MemoryBroker
from controller.hearing import DEAF_AFTER, Hearing
from controller.highest import FileMemory, Highest
from controller.mirror import Mirror
from controller.streamtime import StreamTime
from schemas.errors import BadMessage
from tests.sim.loop import run
from tests.unit.controller_shell.pretend import mesh_of, ready


class TurnedClock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def hearing_with(clock: TurnedClock) -> tuple[Hearing, StreamTime]:
    bus = MemoryBroker(random.Random(1)).connect("controller-c1")
    time = StreamTime(clock)
    return Hearing(bus, Mirror(bus), clock, time), time


def test_stream_time_runs_on_from_where_it_was_set() -> None:
    clock = TurnedClock()
    time = StreamTime(clock)
    time.set(5_000.0)
    clock.now += 7
    assert (time.now(), time.of(clock.now - 3), time.until(5_010.0), time.until(0.0)) == (5_007.0, 5_004.0, 3.0, 0.0)


def test_silence_is_counted_only_since_the_own_voice_was_heard_without_a_break() -> None:
    async def scenario() -> None:
        clock = TurnedClock()
        hearing, time = hearing_with(clock)
        time.set(1_000.0)
        hearing.begin(3)
        clock.now += 0.9
        hearing.own_beat()
        clock.now += 0.9
        assert hearing.hearing_since() == 1_000.0
        clock.now += DEAF_AFTER
        assert hearing.hearing_since() == time.now(), "while it is deaf no clock runs"
        clock.now += 10
        hearing.own_beat()
        assert hearing.hearing_since() == time.now(), "all get a full grace from here"
        clock.now += 0.5
        assert hearing.hearing_since() == time.now() - 0.5

    run(scenario())


def test_a_leader_that_hears_nobody_not_even_itself_declares_nobody_down() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=3) as mesh:
            await ready(mesh)
            leader = await mesh.led()
            deaf = mesh.broker.lose("mesh.leader", receiver="controller-c1")
            silent = mesh.broker.lose("mesh.heartbeat.>", receiver="controller-c1")
            await asyncio.sleep(20)
            assert {verdict.verdict for verdict in leader.mirror.records.liveness.values()} == {"ready"}
            mesh.broker.faults.remove(deaf)
            mesh.broker.faults.remove(silent)
            await asyncio.sleep(10)
            assert {verdict.verdict for verdict in leader.mirror.records.liveness.values()} == {"ready"}
            assert not leader.mirror.records.brake.engaged

    run(scenario())


def test_followers_hear_the_nodes_too_and_only_the_leader_answers() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=3, agents=2) as mesh:
            await ready(mesh)
            await asyncio.sleep(2)
            for controller in mesh.controllers.values():
                assert set(controller.hearing.heard()) == {"n1", "n2"}
            leader = await mesh.led()
            answer = mesh.agents["n1"].answer
            assert answer is not None
            assert (answer.epoch, answer.refused) == (leader.elector.election.epoch, "")

    run(scenario())


def test_a_disconnect_makes_a_node_suspect_until_it_beats_again() -> None:
    async def scenario() -> None:
        async with mesh_of(controllers=1, agents=2) as mesh:
            await ready(mesh)
            leader = await mesh.led()
            await mesh.kill("n2", advise=True)
            await mesh.until(lambda: leader.hearing.heard()["n2"].suspect_since is not None, 1)
            mesh.start_agent("n2")
            await mesh.until(lambda: leader.hearing.heard()["n2"].suspect_since is None, 3)

    run(scenario())


async def test_what_is_remembered_outlives_the_process(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "data")
    assert await memory.load() == Highest()
    kept = Highest(mesh_id="m1", generation=2, sequence=7)
    await memory.keep(kept)
    assert await FileMemory(tmp_path / "data").load() == kept
    await asyncio.to_thread((tmp_path / "data" / "highest.json").write_text, "{")
    with pytest.raises(BadMessage, match=r"highest\.json"):
        await FileMemory(tmp_path / "data").load()
