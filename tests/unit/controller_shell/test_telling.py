"""Records as events: each change is told once, with the same id by whoever derives it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from agent.event_kinds import AGENT_EVENTS
from bus.port import Entry
from controller.event_kinds import DECISION_EVENTS
from controller.records import Records, Seen
from controller.telling import events_of, subject_of
from schemas import subjects
from schemas.assignment import AssignedTask, Assignment
from schemas.events import Event
from schemas.records import (
    BrakeRecord,
    EpochRecord,
    LivenessRecord,
    NodeRecord,
    OrderRecord,
    RolloutRecord,
    ServiceRecord,
    StackRecord,
)
from schemas.wire import Wire, encode

ROOT = Path(__file__).resolve().parents[3]


class Stream:
    """Records as they are written, and what each write is told as."""

    def __init__(self) -> None:
        self.records = Records()
        self.last = 100

    def put(self, key: str, record: Wire | None) -> list[Event]:
        """One write."""
        self.last += 1
        value = None if record is None else encode(record)
        seen = self.records.apply(Entry(key, value, self.last, 1_790_000_000.0))
        assert isinstance(seen, Seen)
        return list(events_of(seen, self.records))

    def kinds(self, key: str, record: Wire | None) -> list[str]:
        """The kinds of events of one write."""
        return [event.kind for event in self.put(key, record)]


def task(id_: str, **more: object) -> AssignedTask:
    return AssignedTask(id=id_, service="web", slot="1", revision=1, spec="x", why="fits", cause="cmd", **more)  # type: ignore[arg-type]


def test_a_service_is_told_from_its_record_alone() -> None:
    stream = Stream()
    record = ServiceRecord(name="web", target=1, change="created", cause="cmd")
    (event,) = stream.put("service.web", record)
    assert (event.kind, event.id, event.service, event.cause) == ("service.created", "service.web@101", "web", "cmd")
    assert subject_of(event) == "mesh.event.service.created._.web"
    assert stream.kinds("service.web", ServiceRecord(name="web", target=1, replicas=3, change="scaled")) == [
        "service.scaled"
    ]
    assert stream.kinds("service.web", None) == ["service.gone"]


def test_a_service_record_that_does_not_say_its_change_is_compared() -> None:
    stream = Stream()
    assert stream.kinds("service.web", ServiceRecord(name="web")) == ["service.created"]
    assert stream.kinds("service.web", ServiceRecord(name="web", replicas=2)) == ["service.scaled"]
    assert stream.kinds("service.web", ServiceRecord(name="web", replicas=2, deploy=2)) == ["service.updated"]
    assert stream.kinds("service.web", ServiceRecord(name="web", removed=True)) == ["service.removed"]


def test_an_assignment_tells_each_task_that_came_was_retired_or_was_dropped() -> None:
    stream = Stream()
    hold = 1_790_000_000.0
    first = Assignment(node="n1", epoch=7, tasks=(task("a", hold=hold), task("b", hold=hold)))
    events = stream.put("desired.n1", first)
    assert [(event.kind, event.task, event.id) for event in events] == [
        ("task.assigned", "a", "desired.n1@101/a"),
        ("task.assigned", "b", "desired.n1@101/b"),
    ]
    assert (events[0].node, events[0].epoch, events[0].why, events[0].cause) == ("n1", 7, "fits", "cmd")
    assert stream.kinds("desired.n1", Assignment(node="n1", epoch=7, tasks=(task("a", desired="shutdown"),))) == [
        "task.retired",
        "task.dropped",
    ]
    assert stream.kinds("desired.n1", Assignment(node="n1", epoch=7)) == []


def test_of_an_assignment_seen_for_the_first_time_only_fresh_tasks_are_news() -> None:
    stream = Stream()
    old = task("a", hold=1_789_999_000.0)
    fresh = task("b", hold=1_790_000_000.0)
    events = stream.put("desired.n1", Assignment(node="n1", epoch=7, tasks=(old, fresh)))
    assert [event.task for event in events] == ["b"]


def test_a_node_is_drained_once_by_whatever_came_last() -> None:
    stream = Stream()
    node = NodeRecord(name="n1", instance="i", change="joined")
    draining = NodeRecord(name="n1", instance="i", availability="drain", change="draining")
    stream.put("node.n1", node)
    stream.put("desired.n1", Assignment(node="n1", epoch=7, tasks=(task("a"),)))
    assert stream.kinds("node.n1", draining) == ["node.draining"]
    assert stream.kinds("desired.n1", Assignment(node="n1", epoch=7)) == ["task.dropped", "node.drained"]
    assert stream.kinds("desired.n1", Assignment(node="n1", epoch=8)) == []
    stream.put("node.n1", node)
    assert stream.kinds("node.n1", draining) == ["node.draining", "node.drained"]


@pytest.mark.parametrize(
    ("key", "writes", "kinds"),
    [
        (
            "liveness.n1",
            [
                LivenessRecord(node="n1", verdict="ready"),
                LivenessRecord(node="n1", verdict="ready", observed=3),
                LivenessRecord(node="n1", verdict="not-ready", why="the engine hangs"),
                LivenessRecord(node="n1", verdict="down"),
                LivenessRecord(node="n1", verdict="down", ended=True),
            ],
            [["node.ready"], [], ["node.not_ready"], ["node.down"], ["node.confirmed_dead"]],
        ),
        (
            "brake",
            [BrakeRecord(engaged=True), BrakeRecord(engaged=True, silent=("n1",)), BrakeRecord(), None],
            [["brake.engaged"], [], ["brake.released"], []],
        ),
        (
            "election.epoch",
            [
                EpochRecord(mesh_id="m", holder="c1", nonce="1"),
                EpochRecord(mesh_id="m", holder="c1", nonce="1", since=1),
                EpochRecord(mesh_id="m", holder="c1", nonce="1", since=1),
                EpochRecord(mesh_id="m", holder="", nonce=""),
            ],
            [["leadership.taken"], [], [], ["leadership.handed_over"]],
        ),
        (
            "rollout.web",
            [
                RolloutRecord(service="web", deploy=1),
                RolloutRecord(service="web", deploy=1, running=1),
                RolloutRecord(service="web", deploy=1, phase="done"),
                RolloutRecord(service="web", deploy=2),
                RolloutRecord(service="web", deploy=2, phase="failed"),
                None,
            ],
            [["rollout.started"], [], ["rollout.done"], ["rollout.started"], ["rollout.failed"], []],
        ),
        (
            "stack.shop",
            [StackRecord(name="shop", change="deployed"), StackRecord(name="shop", removed=True), None],
            [["stack.deployed"], ["stack.removed"], ["stack.gone"]],
        ),
        ("order.a", [OrderRecord(id="a", kind="brake.release"), None], [["order.given"], ["order.answered"]]),
    ],
)
def test_a_row_of_writes_is_told_as(key: str, writes: list[Wire | None], kinds: list[list[str]]) -> None:
    stream = Stream()
    assert [stream.kinds(key, record) for record in writes] == kinds


def test_who_has_seen_only_the_renewal_of_a_fence_tells_the_takeover_as_it_was_told() -> None:
    first, later = Stream(), Stream()
    (told,) = first.put("election.epoch", EpochRecord(mesh_id="m", holder="c1", nonce="1"))
    later.last += 7
    epoch = int(told.id.partition("@")[2])
    (again,) = later.put("election.epoch", EpochRecord(mesh_id="m", holder="c1", nonce="1", since=epoch))
    assert (again.id, again.epoch, again.kind, again.data) == (told.id, epoch, told.kind, told.data)


def test_every_kind_that_the_code_can_tell_is_in_the_table() -> None:
    written = set()
    for module in ("telling.py", "leader.py"):
        for node in ast.walk(ast.parse((ROOT / "controller" / module).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(".") == 1:
                written.add(node.value)
    told = {text for text in written if re.fullmatch(r"(service|stack|node|task|rollout|order)\.[a-z_]+", text)}
    assert told - set(DECISION_EVENTS) == set()


def test_the_public_table_names_every_kind_with_its_example() -> None:
    text = (ROOT / "docs" / "EVENTS.md").read_text()
    for kind, row in {**AGENT_EVENTS, **DECISION_EVENTS}.items():
        line = next((line for line in text.splitlines() if line.startswith(f"| `{kind}` |")), "")
        assert row.meaning in line, f"docs/EVENTS.md does not tell {kind}: {row.meaning}"
        if row.example:
            assert json.dumps(dict(row.example), ensure_ascii=False) in line, f"docs/EVENTS.md: the example of {kind}"


def test_an_event_stands_where_its_kind_says() -> None:
    for kind in DECISION_EVENTS:
        subject = subject_of(Event(id="x", kind=kind, at="", node="n1", service="web"))
        assert subject == subjects.event(kind, "n1", "web")
        assert len(subject.split(".")) == 6
