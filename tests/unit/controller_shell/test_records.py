"""The mirror's content: what entries and snapshots make of it, and what becomes dirty."""

from __future__ import annotations

from bus.port import Entry
from controller.dirtying import Marks, dirty_by, dirty_by_observation
from controller.records import Garbage, Records, Seen, observed_of
from controller.world import Dirty
from schemas.assignment import AssignedTask, Assignment
from schemas.observation import NodeFacts, Observation, ObservedTask
from schemas.records import EpochRecord, MeshRecord, NodeRecord, RevisionRecord, ServiceRecord
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.wire import Wire, encode


def entry(key: str, record: Wire | bytes | None, sequence: int) -> Entry:
    value = record if record is None or isinstance(record, bytes) else encode(record)
    return Entry(key, value, sequence, 100.0 + sequence)


def revision(number: int) -> RevisionRecord:
    spec = ServiceSpec(name="web", task=TaskSpec(container=ContainerSpec(image="app:1")))
    return RevisionRecord(number=number, spec=spec)


def test_entries_are_found_by_kind_with_their_sequences() -> None:
    records = Records()
    records.apply(entry("mesh", MeshRecord(mesh_id="m1"), 1))
    records.apply(entry("election.epoch", EpochRecord(mesh_id="m1", holder="c1", nonce="x"), 2))
    records.apply(entry("service.web", ServiceRecord(name="web"), 3))
    records.apply(entry("revision.web.2", revision(2), 4))
    records.apply(entry("revision.web.1", revision(1), 5))
    assert records.mesh == MeshRecord(mesh_id="m1")
    assert records.epoch[0] == 2
    records.apply(entry("election.epoch", EpochRecord(mesh_id="m1", holder="c1", nonce="x", since=2), 6))
    assert records.epoch[0] == 2, "it renews its fence, and leads on"
    assert records.sequence_of("election.epoch") == 6
    assert records.services["web"].sequence == 3
    assert records.revisions_of("web") == (1, 2)
    assert (records.sequence, records.at) == (6, 106.0)
    assert records.holds("revision.web.2")
    assert not records.holds("revision.web.3")


def test_a_tombstone_takes_the_record_away_and_its_sequence_stays_known() -> None:
    records = Records()
    records.apply(entry("revision.web.1", revision(1), 1))
    seen = records.apply(entry("revision.web.1", None, 2))
    assert isinstance(seen, Seen)
    assert (seen.old, seen.new) == (revision(1), None)
    assert records.revisions_of("web") == ()
    assert records.sequence_of("revision.web.1") == 2
    assert not records.holds("revision.web.1")


def test_an_older_entry_changes_nothing() -> None:
    records = Records()
    records.apply(entry("service.web", ServiceRecord(name="web", replicas=2), 7))
    assert records.apply(entry("service.web", ServiceRecord(name="web", replicas=1), 5)) is None
    assert records.services["web"].record.replicas == 2


def test_nonsense_is_told_and_what_stood_there_stands_on() -> None:
    records = Records()
    records.apply(entry("service.web", ServiceRecord(name="web"), 1))
    for key in ("service.web", "service.UPPER", "revision.web.x", "revision.web", "service.a.b"):
        told = records.apply(entry(key, b"\xff{", records.sequence + 1))
        assert isinstance(told, Garbage), key
    assert records.services["web"].record == ServiceRecord(name="web")
    assert records.apply(entry("stranger.x", b"{}", 50)) is None
    assert records.sequence == 50


def test_a_snapshot_takes_away_what_it_does_not_hold_but_nothing_newer_than_itself() -> None:
    records = Records()
    records.apply(entry("service.old", ServiceRecord(name="old"), 1))
    records.apply(entry("service.new", ServiceRecord(name="new"), 9))
    told = records.replace([entry("service.web", ServiceRecord(name="web"), 5)], 6)
    assert set(records.services) == {"web", "new"}
    assert [seen.key for seen in told if isinstance(seen, Seen)] == ["service.old", "service.web"]
    assert records.sequence == 9


def test_the_same_snapshot_again_tells_nothing() -> None:
    records = Records()
    entries = [entry("service.web", ServiceRecord(name="web"), 5)]
    assert len(records.replace(entries, 6)) == 1
    assert records.replace(entries, 6) == []


def test_what_a_change_of_the_state_makes_dirty() -> None:
    def dirty(key: str, old: Wire | None = None, new: Wire | None = None) -> Dirty:
        return dirty_by(Seen(key, old, new, 1, 0.0))

    task = AssignedTask(id="1-1", service="web", slot="1", revision=1, spec="x")
    assert dirty("service.web") == dirty("rollout.web") == dirty("revision.web.3") == Dirty(frozenset({"web"}))
    assert dirty("desired.n1", None, Assignment(node="n1", epoch=1, tasks=(task,))) == Dirty(
        frozenset({"web"}), frozenset({"n1"})
    )
    assert dirty("node.n1", NodeRecord(name="n1", instance="i")).everything
    assert dirty("brake").everything
    assert dirty("events.cursor") == dirty("stack.shop") == dirty("election.epoch") == Dirty()


def test_an_observation_of_a_task_marks_its_service_and_one_of_the_node_itself_marks_all() -> None:
    def observation(state: str = "new", **more: object) -> Observation:
        task = ObservedTask(id="1-1", service="web", slot="1", revision=1, spec="x", state=state)  # type: ignore[arg-type]
        return Observation(node="n1", instance="i", boot="b", counter=1, tasks=(task,), **more)  # type: ignore[arg-type]

    same = dirty_by_observation(observation(), observation(at=7.0))
    assert same == Dirty(nodes=frozenset({"n1"}))
    assert dirty_by_observation(observation(), observation("running")).services == {"web"}
    assert dirty_by_observation(None, observation()).everything
    assert dirty_by_observation(observation(), observation(facts=NodeFacts(cpus=2))).everything


def test_an_observation_stands_only_under_its_own_nodes_key() -> None:
    record = Observation(node="n1", instance="i", boot="b", counter=1)
    assert observed_of(entry("n1", record, 1)) == record
    assert isinstance(observed_of(entry("n2", record, 1)), Garbage)
    assert isinstance(observed_of(entry("n1", b"{}", 1)), Garbage)
    assert observed_of(entry("n1", None, 1)) is None


def test_marks_gather_until_they_are_taken() -> None:
    marks = Marks()
    marks.add(Dirty(services=frozenset({"a"})))
    marks.add(Dirty(nodes=frozenset({"n"}), everything=True))
    assert marks
    assert marks.take() == Dirty(frozenset({"a"}), frozenset({"n"}), everything=True)
    assert not marks
