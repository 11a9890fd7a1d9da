"""The pure parts of the benchmark of chaos: what may not be found afterwards, and what may not grow."""

from __future__ import annotations

from typing import Any

import pytest

from agent.engine import docker_line
from benchmarks.turmoil import audit, growth
from benchmarks.turmoil.audit import Life
from benchmarks.turmoil.growth import Sample
from benchmarks.turmoil.remains import Found, forgotten, more, superfluous


def test_lives_one_after_the_other_are_not_doubled_and_overlapping_ones_are() -> None:
    one, two, three = Life("one", 0, 10), Life("two", 10.5, 20), Life("three", 12, 13)
    assert audit.doubled([two, one]) == []
    assert audit.doubled([two, one, three]) == ["two and three both ran for 1.0 s"]
    assert audit.doubled([Life("long", 0, 100), Life("a", 5, 6), Life("b", 50, 60)]) == [
        "long and a both ran for 1.0 s",
        "long and b both ran for 10.0 s",
    ]


def samples(program: str, memory: dict[float, float], role: str = "agent") -> list[Sample]:
    return [Sample(role, program, at * 60, at * 60, size, 5, 20) for at, size in memory.items()]


def test_a_slope_is_taken_over_warm_lives_each_with_a_level_of_its_own() -> None:
    low = samples("low", {0: 10, 2: 40, 4: 52, 6: 54, 8: 56})
    high = samples("high", {4: 90, 6: 92, 8: 94}) + samples("other", {4: 0, 6: 99}, role="controller")
    found = growth.slope(low + high, "agent")
    assert found.rise == pytest.approx(1.0)
    assert found.minutes == pytest.approx(8.0)
    assert growth.flat("agent", low + high).holds, "8 minutes show a fast leak only"
    longer = [sample for n in range(3) for sample in samples(f"{n}", {4: 90, 8: 94, 12: 98})]
    assert not growth.flat("agent", longer).holds
    faster = samples("fast", {4: 50, 8: 60, 12: 70})
    assert not growth.flat("agent", faster).holds


def test_flat_memory_holds_and_what_was_watched_too_briefly_is_not_judged() -> None:
    flat = samples("flat", {minute: 50 + minute % 2 for minute in range(3, 13)})
    assert growth.flat("agent", flat).holds
    brief = samples("brief", {3: 50, 4: 90})
    assert growth.flat("agent", brief).holds
    assert not growth.flat("agent", brief).judged
    assert growth.flat("agent", flat).judged
    assert growth.slope(brief, "agent").limit is None
    assert growth.slope([], "agent").rise == 0.0


def living(program: str, counts: list[int], since: float = 0.0) -> list[Sample]:
    """A controller with so many threads, and ten times as many descriptors, in one minute after the other."""
    return [
        Sample("controller", program, since + at, at, 30.0, count, 10 * count)
        for minute, count in enumerate(counts)
        for at in range(minute * 60, minute * 60 + 60, 5)
    ]


def test_a_life_that_has_more_at_its_end_than_when_it_was_warm_is_told_though_it_ended_long_ago() -> None:
    leaks = living("early 7", [1, 1, 1, 2, 2, 3, 7])
    well = living("late 8", [1, 1, 2, 2, 2, 2, 2, 2], since=1000.0)
    assert growth.rise("controller", "threads", well).holds
    found = growth.rise("controller", "threads", leaks + well)
    assert not found.holds
    assert found.details == ("early 7: +5 since its third minute",)
    assert found.found == "most +5 in 2 lives"
    assert not growth.rise("controller", "descriptors", leaks + well).holds


def test_what_a_life_has_for_a_moment_or_before_it_is_warm_is_no_rise() -> None:
    bursts = living("bursts", [1, 9, 2, 2, 2, 2, 2])
    bursts[-2] = Sample("controller", "bursts", 415, 415, 30.0, 99, 990)
    found = growth.rise("controller", "threads", bursts)
    assert found.holds
    assert found.judged


def test_a_life_of_under_five_minutes_is_not_judged_by_its_rise_but_by_what_its_pools_hold() -> None:
    short = living("short", [1, 1, 1, 90])
    found = growth.rise("controller", "threads", short)
    assert found.holds
    assert not found.judged
    assert growth.threads("controller", short).details == ("short has had 90",)
    assert growth.threads("controller", living("well", [growth.MOST_THREADS["controller"]])).holds
    assert not growth.threads("controller", []).judged


def test_the_pools_of_an_agent_are_as_large_as_it_is_said() -> None:
    assert growth.ENGINE_POOLS == docker_line.THREADS + docker_line.PULLS + docker_line.TRANSFERS


def test_kinds_that_did_not_come_are_told_and_count_in_a_run_that_is_long_enough() -> None:
    assert audit.all_came([], 30).holds
    assert not audit.all_came(["store-lost"], 30).holds
    brief = audit.all_came(["store-lost"], 10)
    assert brief.holds
    assert not brief.judged
    assert "store-lost" in brief.found


def test_what_was_not_judged_is_said_and_not_called_well() -> None:
    well, brief = audit.none_of("writes lost", []), growth.flat("agent", samples("brief", {3: 50, 4: 90}))
    assert audit.table([brief])[0].endswith("not judged")
    assert audit.verdict([well]) == "all of it holds"
    assert audit.verdict([well, brief]).startswith("all that was judged holds; not judged: memory of agents")
    assert audit.verdict([audit.none_of("writes lost", ["1"]), brief]) == "NOT ALL OF IT HOLDS"


def test_the_table_tells_details_only_of_what_does_not_hold() -> None:
    lines = audit.table([audit.none_of("writes lost", ["12"]), audit.none_of("orders lost", [])])
    assert len(lines) == 3
    assert lines[0].endswith("NOT SO")
    assert lines[1].strip() == "12"
    assert lines[2].endswith("ok")


def test_only_what_was_not_there_before_is_left_over() -> None:
    before = {"node-1": Found((), ("default",), ("lo", "eth0"), ())}
    now = {"node-1": Found(("web.1",), ("default", "4a"), ("lo", "eth0"), ())}
    left = {"containers": ["node-1: web.1"], "namespaces": ["node-1: 4a"], "devices": [], "processes": []}
    assert more(before, now) == left


def test_two_ended_containers_of_each_slot_are_kept_and_no_running_one() -> None:
    def listed(name: str, slot: str, state: str) -> dict[str, Any]:
        return {"Names": [f"/{name}"], "State": state, "Labels": {"mesh.service": "web", "mesh.slot": slot}}

    ended = [listed(f"web.1.{number}", "1", "exited") for number in range(3)]
    others = [listed("web.2.9", "2", "exited"), listed("web.3.9", "3", "running")]
    assert superfluous(ended + others) == ("web.1.2", "web.3.9")


def test_of_a_killed_engine_only_what_its_own_containers_had_of_late_is_excused() -> None:
    def inspected(name: str, finished: str = "", *, running: bool = False) -> dict[str, Any]:
        state = {"Running": running, "FinishedAt": finished or "0001-01-01T00:00:00Z"}
        return {"State": state, "NetworkSettings": {"SandboxKey": f"/var/run/docker/netns/{name}"}}

    runs = inspected("runs", running=True)
    late = inspected("late", "1970-01-01T00:16:00.123456789Z")
    early = inspected("early", "1970-01-01T00:10:00.123456789Z")
    never = {"State": {"Running": False, "FinishedAt": "0001-01-01T00:00:00Z"}, "NetworkSettings": {"SandboxKey": ""}}
    standing, listed = ["early", "late", "runs", "stray-1", "stray-2"], [runs, late, early, never]
    assert forgotten(listed, standing, 0, now=1000.0) == {"runs", "late"}
    assert forgotten(listed, standing, 1, now=1000.0) == {"runs", "late", "stray-1"}
    assert forgotten([], standing, 0, now=1000.0) == set()
