"""Watches, told of both adapters."""

from __future__ import annotations

from bus.commits import Committed, Delete, Put
from bus.port import Entry


async def test_a_watch_tells_every_entry_in_order(mesh) -> None:
    async with mesh.connect("controller-1") as bus, mesh.connect("controller-2") as other:
        await bus.state.commit([Put("service.before", b"")])
        async with other.state.watch() as watch:
            for number in range(20):
                await bus.state.commit([Put(f"service.s{number}", b"1"), Put("service.again", b"%d" % number)])
            await bus.state.commit([Delete("service.s3")])
            seen = [await watch.next() for _ in range(41)]
        assert all(isinstance(entry, Entry) for entry in seen)
        sequences = [entry.sequence for entry in seen if isinstance(entry, Entry)]
        assert sequences == list(range(sequences[0], sequences[0] + 41))
        last = seen[-1]
        assert isinstance(last, Entry)
        assert (last.key, last.value) == ("service.s3", None)


async def test_a_watch_and_a_snapshot_miss_nothing_between_them(mesh) -> None:
    async with mesh.connect("controller-1") as bus:
        async with bus.state.watch() as watch:
            await bus.state.commit([Put("service.a", b"1")])
            snapshot = await bus.state.snapshot()
            outcome = await bus.state.commit([Put("service.b", b"2")])
            assert isinstance(outcome, Committed)
            known = {entry.key: entry.value for entry in snapshot.entries}
            while (entry := await watch.next()) and isinstance(entry, Entry):
                if entry.sequence > snapshot.sequence:
                    known[entry.key] = entry.value
                if entry.sequence == outcome.sequence:
                    break
        assert known["service.a"] == b"1"
        assert known["service.b"] == b"2"


async def test_an_agent_hears_of_its_assignment_alone(mesh) -> None:
    async with (
        mesh.connect("controller-1") as bus,
        mesh.connect("agent-n1") as agent,
        agent.state.watch("desired.n1") as watch,
    ):
        await bus.state.commit([Put("desired.n2", b"other"), Put("desired.n1", b"mine"), Put("service.x", b"")])
        entry = await watch.next()
        assert isinstance(entry, Entry)
        assert (entry.key, entry.value) == ("desired.n1", b"mine")


async def test_controllers_hear_observations(mesh) -> None:
    async with mesh.connect("controller-1") as bus, mesh.connect("agent-n1") as agent:
        async with bus.observed.watch() as watch:
            for number in range(3):
                await agent.observed.commit([Put("n1", b"%d" % number)])
            seen = [await watch.next() for _ in range(3)]
        assert [entry.value for entry in seen if isinstance(entry, Entry)] == [b"0", b"1", b"2"]


async def test_an_agent_that_watches_one_network_hears_of_no_other(mesh) -> None:
    async with mesh.connect("controller-1") as bus, mesh.connect("agent-n1") as agent:
        async with agent.state.watch("endpoints.front.>") as watch, agent.state.watch("alloc.front") as allotted:
            await bus.state.commit(
                [
                    Put("alloc.back", b"1"),
                    Put("endpoints.back.web", b"1"),
                    Put("endpoints.publish", b"1"),
                    Put("alloc.front", b"2"),
                    Put("endpoints.front.web", b"2"),
                ]
            )
            seen = [await watch.next(), await allotted.next()]
        assert [each.key for each in seen if isinstance(each, Entry)] == ["endpoints.front.web", "alloc.front"]
        assert await agent.state.read_near("endpoints.front.web")
