"""Matching, feeds, batches and permissions."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.batches import check_batch, fence_first
from bus.commits import Delete, Put
from bus.feed import Feed
from bus.matching import matches
from bus.permissions import agent_publishes, agent_subscribes, check_publish, check_subscribe, inbox_prefix, node_of
from schemas.errors import Refused

TOKENS = st.text("abc", min_size=1, max_size=2)
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "subject", "wanted"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.>", "a", False),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        (">", "a.b.c", True),
        ("a.*.c.>", "a.b.c.d.e", True),
        ("a.*.c.>", "a.b.c", False),
        ("a.*.c.>", "a.b.x.d", False),
    ],
)
def test_wildcards_match_as_in_nats(pattern: str, subject: str, wanted: bool) -> None:
    assert matches(pattern, subject) is wanted


@given(SUBJECTS, st.data())
def test_a_subject_matches_itself_with_any_tokens_opened(subject: str, data: st.DataObject) -> None:
    tokens = subject.split(".")
    opened = [data.draw(st.sampled_from([token, "*"])) for token in tokens]
    assert matches(".".join(opened), subject)
    cut = data.draw(st.integers(0, len(tokens) - 1))
    assert matches(".".join([*opened[:cut], ">"]), subject)
    assert not matches(".".join([*opened, "*"]), subject)


async def test_a_full_feed_drops_the_oldest() -> None:
    feed: Feed[int] = Feed(2)
    assert feed.push(1)
    assert feed.push(2)
    assert not feed.push(3)
    assert [await feed.next(), await feed.next()] == [2, 3]
    assert feed.dropped == 1


async def test_a_feed_wakes_its_reader() -> None:
    feed: Feed[int] = Feed(2)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(feed.next())
        await asyncio.sleep(0)
        feed.push(7)
    assert reading.result() == 7


async def test_a_feed_can_be_emptied_for_one_message() -> None:
    feed: Feed[int] = Feed(3)
    for number in range(3):
        feed.push(number)
    feed.replace_all(9)
    assert await feed.next() == 9
    assert (len(feed), feed.dropped) == (0, 3)


def test_the_fence_rides_on_a_write_that_checks_nothing() -> None:
    compared, free, other = Put("a", b"", 3), Delete("b"), Put("c", b"")
    assert fence_first([compared, free, other]) == (free, compared, other)
    assert fence_first([compared]) == (compared,)


@pytest.mark.parametrize("key", ["", "a..b", ".a", "a.", "a b", "*", "a.>", "a\nb", "ä"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        check_batch([Put(key, b"")])


def test_an_agents_name_is_in_its_user() -> None:
    assert node_of("agent-n1") == "n1"
    assert node_of("controller-1") is None
    assert node_of("agent-") is None
    assert inbox_prefix("agent-n1") == "_INBOX.agent-n1"


@pytest.mark.parametrize(
    "subject",
    [
        "mesh.heartbeat.n1",
        "mesh.agentapi.n1.join",
        "mesh.event.task.started.n1.web",
        "mesh.event.batch.container.n1._",
        "$KV.mesh_observed.n1",
        "$JS.API.DIRECT.GET.KV_mesh_state.$KV.mesh_state.desired.n1",
    ],
)
def test_an_agent_may_speak_of_itself(subject: str) -> None:
    check_publish("agent-n1", subject)
    check_publish("controller-1", subject)
    with pytest.raises(Refused):
        check_publish("agent-n2", subject)


@pytest.mark.parametrize("subject", ["mesh.node.n1.>", "mesh.node.n1.logs", "mesh.state.desired.n1"])
def test_an_agent_may_hear_what_is_for_it(subject: str) -> None:
    check_subscribe("agent-n1", subject)
    with pytest.raises(Refused):
        check_subscribe("agent-n2", subject)


def test_no_pattern_of_an_agent_reaches_what_leads_or_decides() -> None:
    forbidden = [
        "$KV.mesh_state.election.epoch",
        "$KV.mesh_state.desired.n1",
        "mesh.leader",
        "mesh.api.stack.deploy",
        "mesh.controller.1",
        "$JS.API.STREAM.DELETE.KV_mesh_state",
        "mesh.node.n1.logs",
        "mesh.state.desired.n1",
    ]
    for subject in forbidden:
        assert not any(matches(pattern, subject) for pattern in agent_publishes("n1")), subject
    for subject in ("mesh.leader", "mesh.heartbeat.n1", "mesh.node.n2.logs", "_INBOX.agent-n2.x", "mesh.state.mesh"):
        assert not any(matches(pattern, subject) for pattern in agent_subscribes("n1")), subject
