"""Events one by one out of the log, and the lines that tell them."""

from __future__ import annotations

import asyncio

import pytest

from bus.memory import MemoryBroker
from bus.port import StoreInfo
from meshctl import asking
from meshctl.client import Mesh
from meshctl.eventstream import Told
from meshctl.pulls import telling_pulls
from meshctl.views.events import event_admitted, event_line
from schemas import subjects
from schemas.errors import Unreachable, UsageError
from schemas.events import Event, EventBatch
from schemas.wire import encode

AT = "2026-11-23T06:30:00.123Z"


def event(number: int, kind: str = "task.started", **fields: object) -> Event:
    return Event(**{"id": f"e{number}", "kind": kind, "at": AT, "node": "n1", "service": "web", **fields})  # type: ignore[arg-type]


@pytest.fixture
async def broker() -> MemoryBroker:
    broker = MemoryBroker()
    log = broker.connect("controller-1").events
    single = (event(1, "service.created", node=""), event(2, "node.down", node="n2", service=""))
    for told in single:
        await log.append(subjects.event(told.kind, told.node, told.service), encode(told), told.id)
    batch = EventBatch(node="n1", events=(event(3), event(4, "task.failed"), event(3)))
    await log.append(subjects.event_batch("n1"), encode(batch), "b1")
    await log.append(subjects.event_batch("n1"), b"garbage", "b2")
    await log.append(subjects.event("task.started", "n1", "web"), encode(event(3)), "again")
    await log.append(subjects.event("task.started", "n1", "web"), encode(event(5)), "e5")
    return broker


async def ids(mesh: Mesh, **wanted: object) -> list[str]:
    until = mesh.clock.wall()
    return [told.id async for told in mesh.events(since=0.0, until=until, **wanted)]  # type: ignore[arg-type]


async def test_batches_are_unpacked_and_each_event_is_told_once(broker: MemoryBroker) -> None:
    mesh = Mesh(broker.connect("operator"), clock=broker.clock)
    assert await ids(mesh) == ["e1", "e2", "e3", "e4", "e5"]


async def test_a_log_without_a_leader_is_asked_again(broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen for seconds after a nats-server woke up that had led the stream."""
    bus = broker.connect("operator")
    info, asked = bus.events.info, list[int]()

    async def without_a_leader_at_first() -> StoreInfo:
        asked.append(1)
        if len(asked) < 3:
            raise Unreachable("the server that answers for the stream has not heard from most of the other 3")
        return await info()

    monkeypatch.setattr(bus.events, "info", without_a_leader_at_first)
    monkeypatch.setattr(asking, "REPEAT_AFTER", 0.01)
    assert await ids(Mesh(bus, clock=broker.clock)) == ["e1", "e2", "e3", "e4", "e5"]
    assert len(asked) == 3


async def test_kinds_services_and_nodes_are_chosen(broker: MemoryBroker) -> None:
    mesh = Mesh(broker.connect("operator"), clock=broker.clock)
    assert await ids(mesh, kinds=("task.failed",)) == ["e4"]
    assert await ids(mesh, kinds=("task",)) == ["e3", "e4", "e5"]
    assert await ids(mesh, service="web", kinds=("service",)) == ["e1"]
    assert await ids(mesh, node="n2") == ["e2"]


async def test_a_cursor_goes_on_after_what_was_dealt_with(broker: MemoryBroker) -> None:
    mesh = Mesh(broker.connect("operator"), clock=broker.clock)
    seen = []
    stream = mesh.events(since=0.0, cursor="monitor")
    async for told in stream:
        seen.append(told.id)
        if told.id == "e2":
            break
    await stream.aclose()
    again = mesh.events(since=0.0, cursor="monitor")
    async for told in again:
        seen.append(told.id)
        if told.id == "e5":
            break
    await again.aclose()
    assert seen == ["e1", "e2", "e2", "e3", "e4", "e5"]  # e2 was not confirmed: its loop had not come back


async def test_an_empty_log_up_to_now_is_over_at_once() -> None:
    broker = MemoryBroker()
    assert await ids(Mesh(broker.connect("operator"), clock=broker.clock)) == []


def test_ids_are_forgotten_in_the_order_in_which_they_came() -> None:
    told = Told(limit=2)
    assert [told.first_time(each) for each in ("a", "b", "a", "c", "a")] == [True, True, False, True, True]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            event(1, "task.failed", task="a-1", why="exit code 3", data={"slot": "2"}),
            f"{AT}  task.failed          web.2 a-1 on n1: exit code 3",
        ),
        (
            event(1, "task.started", task="a-1", why="3 of 3 fit", data={"slot": "2"}),
            f"{AT}  task.started         web.2 a-1 on n1",
        ),
        (event(1, "node.down", service="", why="no heartbeat"), f"{AT}  node.down            n1: no heartbeat"),
        (
            event(1, "rollout.done", node="", data={"wanted": 3, "running": 3}),
            f"{AT}  rollout.done         web 3/3 running",
        ),
        (
            event(1, "service.scaled", node="", revision=2, data={"replicas": 6}),
            f"{AT}  service.scaled       web revision 2, 6 replicas",
        ),
        (event(1, "image.pulling", service="", data={"image": "nope:1"}), f"{AT}  image.pulling        n1 nope:1"),
        (
            event(1, "image.pulling", service="", data={"image": "nope:1", "current": 30, "total": 120}),
            f"{AT}  image.pulling        n1 nope:1 25%",
        ),
        (
            event(1, "image.loaded", service="", data={"images": ["a:1", "b:2"]}),
            f"{AT}  image.loaded         n1 a:1, b:2",
        ),
    ],
)
def test_an_event_is_one_line(told: Event, line: str) -> None:
    assert event_line(told) == line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "--since: 'yesterday' is no time"),
        (("-f", "servce=web"), "did you mean 'service'?"),
        (("-f", "web"), "'web' is not KEY=VALUE"),
        (("--since", "1m", "--until", "2m"), "--until lies before --since"),
        (("--format", "{{.Nope"), "unbalanced braces"),
    ],
)
def test_events_refuses_what_can_not_be_meant(scripted, arguments, said) -> None:  # type: ignore[no-untyped-def]
    ran = scripted.run("events", *arguments)
    assert (ran.code, said in ran.err) == (2, True)
    assert UsageError.exit_code == 2


def test_events_until_now_prints_and_ends(scripted) -> None:  # type: ignore[no-untyped-def]
    async def fill(bus) -> None:  # type: ignore[no-untyped-def]
        await bus.events.append(
            "mesh.event.node.down.n1._", encode(event(1, "node.down", service="", why="silent")), "e1"
        )

    scripted.prepare.append(fill)
    ran = scripted.run(
        "events", "--since", "1000000000", "--until", "now", "--format", "{{.Type}} {{.Action}} {{.Node}} {{.Why}}"
    )
    assert ran.out == "node down n1 silent\n"


async def test_what_nodes_pull_is_told_while_a_deploy_is_asked_for_each_image_once() -> None:
    broker = MemoryBroker()
    log = broker.connect("controller-1").events
    told: list[str] = []

    async def work() -> str:
        for number in range(3):
            await asyncio.sleep(0.01)
            pulling = event(number, "image.pulling", service="", data={"image": "hello:1"})
            await log.append(subjects.event(pulling.kind, "n1"), encode(pulling), pulling.id)
        await asyncio.sleep(0.01)
        return "answer"

    mesh = Mesh(broker.connect("operator"), clock=broker.clock)
    assert await telling_pulls(mesh, work(), told.append) == "answer"
    assert told == ["n1: pulling hello:1"]


async def test_an_error_of_the_work_comes_out_as_it_is() -> None:
    async def work() -> None:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        await telling_pulls(Mesh(MemoryBroker().connect("operator")), work(), print)


def test_post_mortems_are_shown_only_by_name() -> None:
    told = event(1, "task.postmortem")
    assert not event_admitted(told, {})
    assert not event_admitted(told, {"type": ("task",)})
    assert event_admitted(told, {"kind": ("task.postmortem",)})
    assert event_admitted(told, {"event": ("postmortem",)})
