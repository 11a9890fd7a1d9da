"""Verdicts come from heartbeats, the clock of this leader, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from controller.liveness import judge_nodes
from controller.world import Heard, Stored, World
from schemas.observation import Observation
from schemas.records import LivenessRecord, NodeRecord

NODE = NodeRecord(name="n1", instance="a")
READY = LivenessRecord(node="n1", verdict="ready", since=10.0, why="heard", instance="a", boot="b")
DOWN = LivenessRecord(node="n1", verdict="down", since=990.0, why="no heartbeat", instance="a", boot="b", observed=5)


def world(
    heard: Heard | None,
    *,
    prior: LivenessRecord | None = READY,
    counter: int = 5,
    boot: str = "b",
    took_over: float = 900.0,
    hearing_since: float = 900.0,
) -> World:
    return World(
        epoch=1,
        generation=1,
        took_over=took_over,
        hearing_since=hearing_since,
        nodes={"n1": Stored(NODE, 1)},
        liveness={"n1": prior} if prior is not None else {},
        heard={"n1": heard} if heard is not None else {},
        observations={"n1": Observation(node="n1", instance="a", boot=boot, counter=counter)},
    )


def heard(at: float, **more: object) -> Heard:
    return Heard(**({"at": at, "instance": "a", "boot": "b"} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "seen", "status"),
    [
        ("a beat a moment ago", heard(999.5), "ready"),
        ("two beats missed", heard(998.0), "ready"),
        ("three beats missed", heard(997.5), "down"),
        ("it can't tell what runs", heard(999.5, untold="no space"), "not-ready"),
        ("the engine does not answer", heard(999.5, engine="no socket"), "not-ready"),
        ("the connection dropped just now", heard(999.4, suspect_since=999.5), "ready"),
        ("the connection dropped a pause between two beats ago", heard(999.11, suspect_since=999.12), "ready"),
        ("the connection dropped a period and a quarter ago", heard(998.9, suspect_since=998.99), "down"),
        ("the agent said that it restarts", heard(993.0, leaving=True), "ready"),
        ("the agent does not come back", heard(989.0, leaving=True), "down"),
        ("another agent uses the name", heard(999.5, instance="z"), "down"),
        ("never heard by this leader", None, "down"),
    ],
)
def test_a_node_is_judged_by_its_beats(what: str, seen: Heard | None, status: str) -> None:
    assert judge_nodes(world(seen), 1000.0)["n1"].status == status, what


@pytest.mark.parametrize(
    ("what", "started", "now", "status"),
    [
        ("right after the takeover", {"took_over": 999.0}, 1000.0, "unknown"),
        ("the grace has passed", {"took_over": 997.0}, 1000.0, "down"),
        ("the leader was deaf until now", {"hearing_since": 999.9}, 1000.0, "unknown"),
    ],
)
def test_clocks_run_only_while_the_leader_hears(what: str, started: dict[str, float], now: float, status: str) -> None:
    old_beat = heard(980.0)
    judged = judge_nodes(world(old_beat, **started), now)["n1"]  # type: ignore[arg-type]
    assert judged.status == status, what
    if status == "unknown":
        assert judged.record == READY


def test_an_unknown_node_is_looked_at_again_when_it_is_late_and_when_its_grace_ends() -> None:
    judged = judge_nodes(world(None, took_over=999.0), 999.1)["n1"]
    assert judged.recheck_at == pytest.approx(999.6)
    judged = judge_nodes(world(None, took_over=999.0), 1000.0)["n1"]
    assert (judged.silent, judged.recheck_at) == (False, pytest.approx(999.0 + 1.2))
    judged = judge_nodes(world(None, took_over=999.0), 999.0 + 1.2)["n1"]
    assert (judged.silent, judged.recheck_at) == (True, pytest.approx(999.0 + 1.7))
    judged = judge_nodes(world(None, took_over=999.0), 1001.2)["n1"]
    assert judged.recheck_at == pytest.approx(999.0 + 2.4)


def test_a_verdict_that_stands_is_not_written_anew() -> None:
    first = judge_nodes(world(heard(999.0)), 999.5)["n1"].record
    later = judge_nodes(world(heard(1099.0), prior=first), 1099.5)["n1"].record
    assert first == later == READY


def test_a_node_is_back_only_with_a_fresh_observation() -> None:
    stale = judge_nodes(world(heard(999.5), prior=DOWN, counter=5), 1000.0)["n1"]
    assert (stale.status, stale.record) == ("down", msgspec.structs.replace(DOWN, back_since=1000.0))
    fresh = judge_nodes(world(heard(999.5), prior=DOWN, counter=6), 1000.0)["n1"]
    assert fresh.status == "ready"


def test_a_rebooted_node_needs_an_observation_of_its_new_life() -> None:
    waiting = world(heard(999.5, boot="b2"), prior=DOWN, counter=9)
    assert judge_nodes(waiting, 1000.0)["n1"].status == "down"
    back = world(heard(999.5, boot="b2"), prior=DOWN, counter=1, boot="b2")
    assert judge_nodes(back, 1000.0)["n1"].status == "ready"


def test_a_node_that_has_nothing_new_to_tell_is_taken_back_in_the_end() -> None:
    prior = msgspec.structs.replace(DOWN, back_since=995.0)
    assert judge_nodes(world(heard(999.5), prior=prior, counter=5), 1000.0)["n1"].status == "ready"


def test_a_deaf_moment_does_not_revive_a_dead_node() -> None:
    judged = judge_nodes(world(heard(980.0), prior=DOWN, hearing_since=999.9), 1000.0)["n1"]
    assert judged.status == "down"


def test_a_removed_node_without_tasks_is_judged_no_more() -> None:
    gone = world(heard(999.5))
    removed = {"n1": Stored(msgspec.structs.replace(NODE, removed=True), 2)}
    assert judge_nodes(replace(gone, nodes=removed), 1000.0) == {}


def test_large_meshes_are_given_more_time() -> None:

    large = replace(world(heard(995.0)), nodes_total=10_000)
    assert judge_nodes(large, 1000.0)["n1"].status == "ready"
    assert judge_nodes(large, 1001.1)["n1"].status == "down"
