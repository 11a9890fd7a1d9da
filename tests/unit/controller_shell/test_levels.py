"""How far nodes have come with the records of networks that they follow, and which of them are waited for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.network.entries import digest, with_entry
from agent.network.model import View
from bus.port import Entry
from controller.levels import Levels
from controller.network_news import REMEMBERED
from controller.records import Records
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.liveness import DIGESTS, NOT_KNOWN, Heartbeat, digest_of
from schemas.network import AllocationRecord, Attachment, EndpointsRecord, Publication, PublishRecord
from schemas.spec import ContainerSpec, TaskSpec
from schemas.wire import Wire
from tests.unit.controller_shell.test_records import entry


class Store:
    """A mirror that is written to."""

    def __init__(self) -> None:
        self.records = Records()
        self.levels = Levels(lambda: self.records)
        self._now = 0.0

    def put(self, key: str, record: Wire | None) -> int:
        self.records.apply(entry(key, record, self.records.sequence + 1))
        return self.records.sequence

    def endpoints(self, network: str) -> int:
        return self.put(subjects.endpoints_key(network, "web"), EndpointsRecord(network=network, service="web"))

    def database(self, network: str) -> int:
        return self.put(subjects.endpoints_key(network, "db"), EndpointsRecord(network=network, service="db"))

    def assign(self, node: str, *networks: str) -> int:
        spec = TaskSpec(container=ContainerSpec(image="app:1", networks=tuple(Attachment(network=n) for n in networks)))
        task = AssignedTask(id="1-1", service="web", slot="1", revision=1, spec=spec.hash)
        return self.put(
            subjects.desired_key(node), Assignment(node=node, epoch=1, tasks=(task,), specs={spec.hash: spec})
        )

    def everywhere(self, *heartbeats: Heartbeat) -> int:
        self._now += 1
        return self.levels.everywhere(lambda: self._now, heartbeats, len(heartbeats))


def beat(node: str, level: int, *networks: str, digest: int | None = None) -> Heartbeat:
    return Heartbeat(
        node=node, instance="i", boot="b", count=1, endpoints=level, endpoints_digest=digest, networks=networks
    )


def test_a_node_holds_nobody_up_with_networks_that_it_does_not_use() -> None:
    store = Store()
    store.assign("n1", "front")
    store.assign("n2", "back")
    back = store.endpoints("back")
    front = store.endpoints("front")
    assert store.levels.due(beat("n2", back)) == (back, "endpoints.back.web")
    assert store.everywhere(beat("n1", front), beat("n2", back)) == front
    assert store.everywhere(beat("n1", back), beat("n2", back)) == back, "n1 lacks the last record of its own"
    store.put("service.web", None)
    assert store.everywhere(beat("n1", front), beat("n2", back)) == store.records.sequence


def test_a_node_is_waited_for_from_the_moment_that_its_assignment_is_stored() -> None:
    store = Store()
    store.put("service.web", None)
    back = store.endpoints("back")
    store.assign("n1", "back")
    front = store.endpoints("front")
    assert store.everywhere(beat("n1", back)) == store.records.sequence
    store.assign("n1", "back", "front")
    assert store.everywhere(beat("n1", back)) == back
    assert store.everywhere(beat("n1", front)) == store.records.sequence


def test_a_node_is_waited_for_as_long_as_it_says_that_links_of_a_network_stand() -> None:
    store = Store()
    store.assign("n1", "back")
    back = store.endpoints("back")
    store.endpoints("front")
    assert store.everywhere(beat("n1", back, "front")) == back
    assert store.everywhere(beat("n1", back)) == store.records.sequence


def test_networks_that_every_node_has_are_every_nodes_business() -> None:
    store = Store()
    store.put("service.web", None)
    back = store.endpoints("back")
    ports = (Publication(published=80, target=80, service="web", network="front"),)
    published = store.put(subjects.PUBLISH, PublishRecord(ports=ports, attachable=("open",)))
    assert store.everywhere(beat("n1", back)) == back, "which networks these are is, too"
    assert store.everywhere(beat("n1", published)) == published
    front = store.endpoints("front")
    assert store.everywhere(beat("n1", published)) == published
    opened = store.put(subjects.allocation_key("open"), AllocationRecord(network="open"))
    assert store.everywhere(beat("n1", front)) == front
    assert store.everywhere(beat("n1", opened)) == opened


def test_what_went_unheard_counts_as_gone_when_the_snapshot_was_taken() -> None:
    store = Store()
    store.assign("n1", "front")
    front = store.endpoints("front")
    store.records.replace([], front + 5)
    assert store.levels.due(beat("n1", 0, "front")) == (front + 5, "")


def test_a_node_that_does_not_know_yet_is_waited_for_though_nothing_is_its_business() -> None:
    """Its kernel may send by what an agent before has left there."""
    store = Store()
    for _ in range(3):
        store.endpoints("front")
    assert store.everywhere(beat("n1", 1)) == 1
    assert store.everywhere(beat("n1", 2)) == store.records.sequence


def test_without_nodes_that_follow_any_nothing_is_everywhere() -> None:
    assert Store().everywhere() == 0


def test_a_reckoning_over_many_nodes_is_not_made_for_every_heartbeat() -> None:
    store = Store()
    front = store.endpoints("front")
    store.levels.everywhere(lambda: 10.0, [beat("n1", 1, "front")], 10_000)
    assert store.levels.everywhere(lambda: 10.05, [beat("n1", front, "front")], 10_000) == 1
    assert store.levels.everywhere(lambda: 10.11, [beat("n1", front, "front")], 10_000) == front


def test_a_snapshot_that_tells_nothing_new_is_no_news_of_what_went_long_ago() -> None:
    records = Records()
    key = subjects.endpoints_key("front", "web")
    records.apply(entry(key, EndpointsRecord(network="front", service="web"), 1))
    records.apply(Entry(key, None, 2, 0.0))
    news = dict(records.news.last)
    for sequence in (1000, 2000):
        records.replace([], sequence)
    assert records.news.last == news == {"front": (2, key)}


def test_a_node_that_an_entry_has_not_reached_is_waited_for_though_the_next_one_has() -> None:
    store = Store()
    store.assign("n1", "front")
    first, second = store.endpoints("front"), store.database("front")
    held = digest_of((first, second))
    assert store.everywhere(beat("n1", second, "front", digest=held)) == second
    lost, heard = store.endpoints("front"), store.database("front")
    passed = beat("n1", heard, "front", digest=digest_of((first, heard)))
    assert store.everywhere(passed) == second
    assert store.levels.missing(passed)
    found = beat("n1", heard, "front", digest=digest_of((lost, heard)))
    assert store.everywhere(found) == heard
    assert not store.levels.missing(found)


def test_a_node_that_has_not_told_what_stands_yet_is_not_known_to_a_new_leader() -> None:
    store = Store()
    front = store.endpoints("front")
    assert store.everywhere(beat("n1", front, "front", digest=1)) == NOT_KNOWN
    assert store.everywhere(beat("n1", NOT_KNOWN, "front", digest=digest_of((front,)))) == NOT_KNOWN


def test_a_node_that_is_behind_lacks_nothing_that_it_should_read() -> None:
    store = Store()
    store.endpoints("front")
    last = store.endpoints("front")
    assert not store.levels.missing(beat("n1", last - 1, "front", digest=0))


def test_a_record_that_is_gone_counts_no_more_and_one_heard_of_twice_once() -> None:
    store = Store()
    front, db = store.endpoints("front"), store.database("front")
    key = subjects.endpoints_key("front", "db")
    store.records.apply(entry(key, EndpointsRecord(network="front", service="db"), db))
    gone = store.put(key, None)
    assert store.everywhere(beat("n1", gone, "front", digest=digest_of((front,)))) == gone
    store.records.replace([], 20)
    assert store.everywhere(beat("n1", 20, "front", digest=0)) == 20


def test_a_node_that_is_always_one_change_behind_counts_for_what_it_holds() -> None:
    store = Store()
    held = store.endpoints("front")
    for _ in range(2 * REMEMBERED):
        store.endpoints("back")
        new = store.endpoints("front")
        assert store.everywhere(beat("n1", held, "front", digest=digest_of((held,)))) == held
        held = new
    lost = beat("n1", held, "front", digest=digest_of((held - 2,)))
    store.endpoints("front")
    assert store.everywhere(lost) < held


def test_a_node_that_is_further_behind_than_is_remembered_counts_for_what_it_held_then() -> None:
    store = Store()
    old = store.endpoints("front")
    told = beat("n1", old, "front", digest=digest_of((old,)))
    assert store.everywhere(told) == old
    held = store.endpoints("front")
    for _ in range(2 * REMEMBERED):
        store.endpoints("front")
    assert store.everywhere(beat("n1", held, "front", digest=digest_of((held,)))) == old


def test_what_came_of_a_snapshot_is_not_held_against_what_stood_before() -> None:
    store = Store()
    held = store.endpoints("front")
    told = beat("n1", held, "front", digest=digest_of((held,)))
    key = subjects.endpoints_key("front", "web")
    store.records.replace([entry(key, EndpointsRecord(network="front", service="web"), held + 7)], held + 9)
    assert store.everywhere(told) == NOT_KNOWN, "how it came to that is not known"
    assert store.everywhere(beat("n1", held + 7, "front", digest=digest_of((held + 7,)))) == held + 9


def test_what_a_node_held_is_forgotten_with_its_process() -> None:
    """The next one may know less: from its disk, and a replica that is behind."""
    store = Store()
    store.assign("n1", "front")
    web, gone = store.endpoints("front"), store.endpoints("front")
    assert store.everywhere(beat("n1", gone, "front", digest=digest_of((gone,)))) == gone
    store.levels.hear(beat("n1", NOT_KNOWN, "front", digest=digest_of((web,))))
    db = store.database("front")
    assert store.everywhere(beat("n1", db, "front", digest=digest_of((web, db)))) == NOT_KNOWN


def test_agreement_proves_nothing_above_the_mirror() -> None:
    store = Store()
    web = store.endpoints("front")
    told = beat("n1", web + 2, "front", digest=digest_of((web,)))
    assert store.everywhere(told) == web
    assert not store.levels.missing(told), "the mirror may be behind"
    lost = store.endpoints("front")
    store.put(subjects.endpoints_key("front", "old"), None)
    assert store.levels.missing(told)
    assert store.everywhere(told) < lost


def test_that_there_are_no_published_ports_any_more_is_the_same_on_both_sides() -> None:
    store = Store()
    store.put(subjects.PUBLISH, PublishRecord(attachable=("open",)))
    gone = store.put(subjects.PUBLISH, None)
    view = with_entry(View(), Entry(subjects.PUBLISH, None, gone, 0.0))
    assert store.everywhere(beat("n1", gone, digest=digest(view))) == gone


def test_no_record_is_worth_nothing() -> None:
    assert digest_of((5, 1 << 18)) != digest_of((5,)) != digest_of((5, 1 << 53)) != digest_of((5, 1 << 18))


@given(st.lists(st.integers(0, 10**9), max_size=8), st.lists(st.integers(0, 10**9), max_size=8))
def test_digests_of_parts_add_up(one: list[int], other: list[int]) -> None:
    assert digest_of(one, digest_of(other)) == digest_of((*one, *other)) == digest_of((*other, *one))
    assert 0 <= digest_of(one, -digest_of(other)) < DIGESTS < 2**53
