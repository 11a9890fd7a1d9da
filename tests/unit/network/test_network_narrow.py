"""An agent hears of the networks that it uses, of nothing else, and misses nothing of those: in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import pytest

from agent.files import MemoryFiles
from agent.network.entries import digest
from agent.network.followed import AGAIN, Followed
from agent.network.following import FILE, Following
from agent.network.model import View
from bus.commits import Delete, Put, Write
from bus.memory import MemoryBroker
from bus.memory_faults import Packet
from bus.memory_stream import MemoryStream
from schemas import subjects
from schemas.liveness import digest_of
from schemas.network import AllocationRecord, Backend, EndpointsRecord, PublishRecord
from schemas.wire import decode, encode
from tests.sim.loop import run

LEADER = "controller-c1"
NETWORKS = tuple(f"net{number}" for number in range(100))


def alloc(network: str, *services: str) -> Put:
    services = services or ("web",)
    record = AllocationRecord(network=network, vni=1000, services=dict.fromkeys(services, "10.192.224.1"))
    return Put(subjects.allocation_key(network), encode(record))


def answering(network: str, *tasks: str, service: str = "web") -> Put:
    backends = tuple(Backend(task=task, node="n2", address="10.192.2.2") for task in tasks)
    record = EndpointsRecord(network=network, service=service, vip="10.192.224.1", backends=backends)
    return Put(subjects.endpoints_key(network, service), encode(record))


@dataclass
class Bench:
    """A leader's store, and one agent that follows it."""

    broker: MemoryBroker
    files: MemoryFiles
    used: set[str] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)
    """Keys of the entries that were sent to the agent."""
    following: Following = field(init=False)

    def __post_init__(self) -> None:
        self.following = Following(
            self.broker.connect("agent-n1").state, self.files, random.Random(1), lambda: set(self.used)
        )
        send = self.broker.wire.send

        def counted(packet: Packet, deliver: Callable[[], None], lost: Callable[[], None] | None = None) -> None:
            if packet.receiver == "agent-n1" and packet.subject.startswith(subjects.STATE_REPUBLISHED):
                self.heard.append(packet.subject.removeprefix(subjects.STATE_REPUBLISHED))
            send(packet, deliver, lost)

        self.broker.wire.send = counted  # type: ignore[method-assign]

    def write(self, *batch: Write) -> None:
        self.broker.state.commit(LEADER, batch, None)

    def use(self, *networks: str) -> None:
        self.used = set(networks)
        self.following.look()

    def last(self, key: str) -> int:
        entry = self.broker.state.existing().entries.get(key)
        return entry.sequence if entry is not None else 0

    def tasks(self, network: str) -> set[str]:
        record = self.following.view.endpoints.get(f"{network}.web")
        return {each.task for each in record.backends} if record is not None else set()


@contextlib.asynccontextmanager
async def bench(*used: str, delay: tuple[float, float] = (0.0005, 0.005), lag: int = 0) -> AsyncIterator[Bench]:
    broker = MemoryBroker(random.Random(3))
    broker.faults.delay, broker.faults.read_lag = delay, lag
    made = Bench(broker, MemoryFiles(), set(used))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.following.run())
        try:
            yield made
        finally:
            task.cancel()


def fill(made: Bench, networks: Iterable[str] = NETWORKS) -> None:
    for network in networks:
        made.write(alloc(network), answering(network, "t0"))


async def settle(made: Bench) -> None:
    async with asyncio.timeout(30):
        while not made.following.whole:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


async def changes_everywhere(made: Bench) -> int:
    """Five changes in each of a hundred networks; how many of them were sent to the agent."""
    await asyncio.sleep(1)
    before = len(made.heard)
    for number in range(5):
        for network in NETWORKS:
            made.write(answering(network, f"t{number}"))
        await asyncio.sleep(0.1)
    return len(made.heard) - before


def test_of_a_hundred_networks_an_agent_on_one_hears_a_hundredth() -> None:
    async def story() -> None:
        async with bench("net7") as made:
            await settle(made)
            fill(made)
            assert await changes_everywhere(made) == 5, "500 before: every change to everyone"
            assert set(made.heard) == {"endpoints.net7.web", "alloc.net7"}
            assert made.tasks("net7") == {"t4"}
            assert set(made.following.view.allocations) == {"net7"}

    run(story())


def test_the_count_tells_an_agent_that_listens_to_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the subscription of before."""
    monkeypatch.setattr(subjects, "endpoints_all", lambda _: "endpoints.>")

    async def story() -> None:
        async with bench("net7") as made:
            await settle(made)
            fill(made)
            assert await changes_everywhere(made) == 500

    run(story())


def test_networks_that_every_node_has_are_followed_as_soon_as_that_is_told() -> None:
    async def story() -> None:
        async with bench() as made:
            fill(made)
            await settle(made)
            assert not made.following.view.allocations
            made.write(Put(subjects.PUBLISH, encode(PublishRecord(attachable=("net3",)))))
            await asyncio.sleep(0.1)
            assert made.tasks("net3") == {"t0"}
            assert made.following.level >= made.last(subjects.PUBLISH)
            made.write(Put(subjects.PUBLISH, encode(PublishRecord())))
            await asyncio.sleep(0.1)
            assert not made.following.view.allocations

    run(story())


def test_a_network_that_is_used_no_more_is_let_go_entirely_and_the_highest_stays_known() -> None:
    async def story() -> None:
        async with bench("net1", "net2") as made:
            fill(made)
            await settle(made)
            highest = made.last("endpoints.net2.web")
            made.use("net1")
            await asyncio.sleep(1)
            view = made.following.view
            assert (set(view.allocations), set(view.endpoints)) == ({"net1"}, {"net1.web"})
            assert not any("net2" in key for key in view.sequences)
            assert view.highest == highest
            assert decode(made.files.content[FILE], View) == view, "on the disk, too"
            made.write(answering("net2", "t1"))
            await asyncio.sleep(0.1)
            assert not made.tasks("net2")
            assert not made.following.left

    run(story())


async def coming_and_going(made: Bench, chance: random.Random, check: Callable[[], None]) -> None:
    """An agent that begins to use networks and ends it while all of them change."""
    fill(made, NETWORKS[:4])
    services = {network: {"web"} for network in NETWORKS[:4]}
    for number in range(1, 1500):
        network = chance.choice(NETWORKS[:4])
        now = services[network]
        if chance.random() < 0.2:
            now = set(chance.sample(("web", "db", "api"), 2))
            gone = [Delete(subjects.endpoints_key(network, each)) for each in sorted(services[network] - now)]
            new = [answering(network, service=each) for each in sorted(now - services[network])]
            made.write(alloc(network, *sorted(now)), *new, *gone)
            services[network] = now
        else:
            made.write(answering(network, f"t{number}", service=chance.choice(sorted(now))))
        if chance.random() < 0.05:
            made.use(*chance.sample(NETWORKS[:4], chance.randint(0, 3)))
        await asyncio.sleep(chance.uniform(0.0, 0.02))
        check()


def honest(made: Bench) -> Callable[[], None]:
    """Checks that up to its level an agent has all that it follows, by what was ever stored."""
    history: dict[str, list[tuple[int, bool]]] = {}

    def stored() -> None:
        for key, entry in made.broker.state.existing().entries.items():
            found = history.setdefault(key, [])
            if not found or found[-1][0] != entry.sequence:
                found.append((entry.sequence, entry.value is not None))

    def check() -> None:
        stored()
        following = made.following
        if not following.whole:
            return
        for key, entries in sorted(history.items()):
            if subjects.network_of(key) in made.used:
                due, stands = max((each for each in entries if each[0] <= following.level), default=(0, False))
                held = following.view.sequences.get(key, 0)
                named = key.removeprefix("endpoints.") in following.view.endpoints
                ended = any(sequence > due and not stood for sequence, stood in entries)
                fine = held >= due or not (named or (stands and not ended))
                assert fine, f"{held} of {key} is held, {due} of {following.level} is due"

    return check


@pytest.mark.parametrize("seed", range(5))
def test_what_begins_to_be_used_while_it_changes_is_missed_by_nothing(seed: int) -> None:
    async def story() -> None:
        async with bench("net1") as made:
            await coming_and_going(made, random.Random(seed), honest(made))
            await settle(made)
            await asyncio.sleep(AGAIN + 0.1)
            for network in made.used:
                assert made.following.view.sequences[f"alloc.{network}"] == made.last(f"alloc.{network}")

    run(story())


def test_who_reads_before_it_listens_is_caught() -> None:
    """Planted: the subscription comes a little after the read."""

    class Late:
        def __init__(self, store: object) -> None:
            self.read_near = store.read_near  # type: ignore[attr-defined]
            self._store = store

        @contextlib.asynccontextmanager
        async def watch(self, pattern: str) -> AsyncIterator[object]:
            entered = asyncio.get_running_loop().create_future()

            class Watch:
                def __aiter__(self) -> Watch:
                    return self

                async def __anext__(self) -> object:
                    return await (await asyncio.shield(entered)).next()

            async def enter() -> None:
                await asyncio.sleep(0.1)
                async with inner as watch:
                    entered.set_result(watch)
                    await asyncio.Event().wait()

            inner = self._store.watch(pattern)  # type: ignore[attr-defined]
            async with asyncio.TaskGroup() as group:
                task = group.create_task(enter())
                yield Watch()
                task.cancel()

    async def story() -> None:
        async with bench("net1") as made:
            object.__setattr__(made.following._desk, "store", Late(made.following._desk.store))
            await coming_and_going(made, random.Random(1), honest(made))

    with pytest.raises(BaseExceptionGroup) as caught:
        run(story())
    assert caught.group_contains(AssertionError, match="is held")


def test_a_replica_that_is_behind_does_no_harm_for_longer_than_a_task_runs_on() -> None:
    """It is not known that it is behind where nothing is held that is newer: what was read is read once more."""

    async def story() -> None:
        async with bench(lag=3) as made:
            fill(made, NETWORKS[:2])
            made.write(answering("net1", "t1"))
            made.use("net1")
            await asyncio.sleep(0.05)
            assert made.tasks("net1") != {"t1"}, "it is behind"
            made.broker.faults.read_lag = 0
            await asyncio.sleep(AGAIN)
            assert made.tasks("net1") == {"t1"}

    run(story())


def test_a_replica_that_shows_what_was_before_what_is_held_is_asked_until_it_does_not() -> None:
    async def story() -> None:
        async with bench("net1") as made:
            fill(made, NETWORKS[:2])
            await settle(made)
            made.write(answering("net1", "t1"))
            await asyncio.sleep(0.1)
            level = made.following.level
            assert level == made.last("endpoints.net1.web")
            made.broker.faults.read_lag = 1
            made.broker.disconnect("agent-n1")
            made.write(answering("net1", "t2"))
            made.broker.reconnect("agent-n1")
            made.write(answering("net1", "t3"))
            await asyncio.sleep(3)
            assert not made.following.whole
            assert made.following.level == level, "it does not tell what it does not know"
            made.broker.faults.read_lag = 0
            await asyncio.sleep(2)
            assert made.following.level == made.last("endpoints.net1.web")

    run(story())


def test_what_came_while_it_was_cut_off_is_not_passed_over_by_what_comes_after() -> None:
    async def story() -> None:
        async with bench("net1", "net2", delay=(0.05, 0.05)) as made:
            fill(made, NETWORKS[:3])
            await settle(made)
            made.broker.disconnect("agent-n1")
            made.write(answering("net1", "t1"))
            lost = made.last("endpoints.net1.web")
            made.broker.reconnect("agent-n1")
            made.write(answering("net2", "t1"))
            await asyncio.sleep(0.06)
            assert made.tasks("net2") == {"t1"}
            assert made.following.level < lost
            await asyncio.sleep(1)
            assert made.tasks("net1") == {"t1"}
            assert made.following.level >= lost

    run(story())


def test_an_entry_that_was_lost_is_looked_for_once_the_leader_has_told_of_it_twice() -> None:
    async def story() -> None:
        async with bench("net1") as made:
            await settle(made)
            fill(made, NETWORKS[:2])
            await asyncio.sleep(1)
            made.broker.lose("mesh.state.endpoints.>", receiver="agent-n1", first=1)
            made.write(answering("net1", "t1"))
            due = made.last("endpoints.net1.web")
            made.following.told(due, "endpoints.net1.web")
            await asyncio.sleep(0.1)
            assert made.following.level < due, "it may be on its way"
            made.following.told(due, "endpoints.net1.web")
            await asyncio.sleep(0.1)
            assert made.following.level == due
            assert made.tasks("net1") == {"t1"}

    run(story())


def test_what_is_missing_without_a_trace_is_read_when_the_leader_says_so() -> None:
    async def story() -> None:
        async with bench("net1") as made:
            await settle(made)
            fill(made, NETWORKS[:2])
            await asyncio.sleep(1)
            made.broker.lose("mesh.state.endpoints.>", receiver="agent-n1", first=1)
            made.write(answering("net1", "t1"))
            made.write(alloc("net1", "web", "db"))
            await asyncio.sleep(0.1)
            assert made.following.level == made.last("alloc.net1"), "the next entry was heard"
            assert made.tasks("net1") == {"t0"}
            made.following.judged(missing=True)
            await asyncio.sleep(0.2)
            assert made.tasks("net1") == {"t0"}, "it may have been told before what it meant had come"
            made.following.judged(missing=True)
            await asyncio.sleep(0.1)
            assert made.tasks("net1") == {"t1"}
            assert digest(made.following.view) == digest_of(made.last(key) for key in made.following.view.sequences)

    run(story())


def test_what_is_held_of_a_store_that_is_no_more_stands_and_counts_for_nothing() -> None:
    """A store that was made anew without a backup, under the same generation: nobody had told of the old one."""

    async def story() -> None:
        async with bench("net1") as made:
            await settle(made)
            fill(made, NETWORKS[:2])
            await asyncio.sleep(1)
            made.broker.state.existing().entries.clear()
            for _ in range(3):
                made.following.judged(missing=False)
                made.following.look()
                await asyncio.sleep(0.1)
            assert digest(made.following.view) != 0
            for _ in range(2):
                made.following.judged(missing=True)
                await asyncio.sleep(0.1)
            assert digest(made.following.view) == 0
            assert made.tasks("net1") == {"t0"}
            made.write(alloc("net1"), answering("net1", "t5"))
            await asyncio.sleep(0.1)
            assert made.tasks("net1") == {"t5"}

    run(story())


def test_what_is_missing_is_read_again_and_again_but_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica may be far behind; and a leader that says so each time does not make agents read all the time."""

    async def story() -> None:
        async with bench("net1") as made:
            fill(made, NETWORKS[:2])
            await settle(made)
            await asyncio.sleep(1)
            made.broker.lose("mesh.state.endpoints.>", receiver="agent-n1", first=1)
            made.write(answering("net1", "t1"))
            made.broker.faults.read_lag = 1
            looks: list[int] = []
            look = Followed.look
            monkeypatch.setattr(Followed, "look", lambda each: (looks.append(made.following.level), look(each)))
            for _ in range(40):
                made.following.judged(missing=True)
                await asyncio.sleep(0.1)
            assert len(looks) == 2 * 5, "published ports and one network: after 2, 4, 8, 16 and 32 answers"
            made.broker.faults.read_lag = 0
            for _ in range(30):
                made.following.judged(missing=True)
                await asyncio.sleep(0.1)
            assert made.tasks("net1") == {"t1"}

    run(story())


def test_a_replica_that_does_not_show_what_the_leader_told_of_is_not_believed() -> None:
    """The entry was lost on its way, and the replica that answers is behind: it looks as if nothing had been stored."""

    async def story() -> None:
        async with bench("net1") as made:
            await settle(made)
            fill(made, NETWORKS[:2])
            await asyncio.sleep(1)
            made.broker.lose("mesh.state.endpoints.>", receiver="agent-n1", first=1)
            made.write(answering("net1", "t1"))
            due = made.last("endpoints.net1.web")
            made.broker.faults.read_lag = 1
            for _ in range(20):
                made.following.told(due, "endpoints.net1.web")
                await asyncio.sleep(0.1)
            assert made.following.level < due
            made.broker.faults.read_lag = 0
            await asyncio.sleep(2)
            assert made.following.level == due
            assert made.tasks("net1") == {"t1"}

    run(story())


def test_what_a_process_before_has_left_on_disk_is_gone_by_until_it_is_known_better() -> None:
    async def story() -> None:
        async with bench("net1") as made:
            fill(made)
            await settle(made)
            await asyncio.sleep(1)
            files = made.files
        later = Bench(MemoryBroker(random.Random(1)), files, {"net1"})
        later.broker.partition("agent-n1")
        await later.following.load()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(later.following.run())
            await asyncio.sleep(5)
            assert later.following.loaded
            assert later.tasks("net1") == {"t0"}
            assert (later.following.whole, later.following.level) == (False, 0)
            task.cancel()

    run(story())


@pytest.mark.parametrize("networks", [1, 10])
@pytest.mark.parametrize("seconds", [2, 5, 10, 20])
def test_after_a_cut_at_rest_nothing_is_missing_again(seconds: int, networks: int) -> None:
    """A read that was due meanwhile has failed, and the one that is wanted once it is back is made all the same."""

    async def story() -> None:
        async with bench(*NETWORKS[:networks]) as made:
            fill(made, NETWORKS[:networks])
            await settle(made)
            await asyncio.sleep(35)
            made.broker.disconnect("agent-n1")
            await asyncio.sleep(seconds)
            made.write(answering("net0", "t1"))
            made.broker.reconnect("agent-n1")
            await asyncio.sleep(5)
            assert made.following.whole
            assert made.tasks("net0") == {"t1"}
            made.write(answering("net0", "t2"))
            await asyncio.sleep(1)
            assert made.following.level == made.last("endpoints.net0.web")

    run(story())


def test_a_store_that_was_made_anew_with_lower_sequences_is_read_again_and_what_stood_stands_until_then() -> None:
    """The node was off while it was made from an old backup."""

    async def story() -> None:
        async with bench("net0") as made:
            assert not made.following.begin(1)
            fill(made, ["net0"])
            await settle(made)
            for number in range(50):
                made.write(answering("net0", f"t{number}"))
            await asyncio.sleep(1)
            old = made.following.level
            made.broker.state.replace(MemoryStream())
            fill(made, ["net0"])
            made.write(answering("net0", "new"))
            await asyncio.sleep(40)
            assert made.tasks("net0") == {"t49"}, "for all it knows a replica is behind"
            assert made.following.begin(2)
            assert made.tasks("net0") == {"t49"}
            assert made.following.level == 0
            await settle(made)
            assert made.tasks("net0") == {"new"}
            made.write(answering("net0", "newer"))
            await asyncio.sleep(1)
            assert made.following.level == made.last("endpoints.net0.web") < old
            assert not made.following.begin(2)

    run(story())
