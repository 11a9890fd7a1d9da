"""The pure parts of the benchmark of chaos: what happens, and what may not be found afterwards."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks.turmoil import audit, plan, stack
from benchmarks.turmoil.audit import Life, Sample
from benchmarks.turmoil.orders import Order, Wanted, after, orders
from benchmarks.turmoil.remains import Found, more, superfluous

TURNS = 400


def first_turns(seed: int = 7, only: tuple[str, ...] = ()) -> list[plan.Turn]:
    return list(islice(plan.turns(seed, only=only), TURNS))


# the plan


def test_a_seed_gives_the_same_turns_and_another_seed_others() -> None:
    assert first_turns() == first_turns()
    assert first_turns(7) != first_turns(8)


def test_every_kind_of_fault_comes_and_lasts_as_long_as_it_may() -> None:
    faults = [fault for turn in first_turns() for fault in turn.faults]
    kinds = {kind.name: kind for kind in plan.KINDS}
    assert {fault.kind for fault in faults} == set(kinds)
    assert all(kinds[fault.kind].least <= fault.seconds <= kinds[fault.kind].most for fault in faults)


def test_two_faults_at_once_never_hit_one_machine_nor_two_servers_nor_two_leaders() -> None:
    groups = {kind.name: kind.group for kind in plan.KINDS}
    for turn in first_turns():
        assert len({fault.machine for fault in turn.faults}) == len(turn.faults) <= 2
        others = [groups[fault.kind] for fault in turn.faults if groups[fault.kind] != "node"]
        assert len(set(others)) == len(others)


def test_calms_come_every_few_turns() -> None:
    assert [turn.calm for turn in first_turns()[: 2 * plan.CALM_EVERY]] == (
        [False] * (plan.CALM_EVERY - 1) + [True]
    ) * 2


def test_only_the_kinds_that_were_asked_for_come() -> None:
    found = {fault.kind for turn in first_turns(only=("nats-all", "node-cut")) for fault in turn.faults}
    assert found == {"nats-all", "node-cut"}


def test_no_agent_is_frozen_for_longer_than_a_lease_outlives() -> None:
    longest = max(kind.most for kind in plan.KINDS if kind.name in ("agent-stall", "agent-kill"))
    assert longest < stack.LEASE + 10


# the orders


def test_orders_are_the_same_for_a_seed_and_of_every_kind() -> None:
    first = list(islice(orders(3), TURNS))
    assert first == list(islice(orders(3), TURNS))
    assert {order.verb for order in first} == {"deploy", "scale", "rollback", "drain", "activate"}
    assert all(order.describe() for order in first)


def test_every_order_but_an_activation_changes_what_is_wanted_and_a_deploy_is_always_new() -> None:
    wanted, marks = Wanted(), [Wanted().mark]
    for order in islice(orders(4), TURNS):
        then = after(wanted, order)
        assert then != wanted
        if order.verb == "deploy":
            assert order.mark > max(marks)
        elif order.verb == "rollback":
            assert order.mark in marks[-9:], "only some revisions are kept"
        if order.verb == "deploy":
            marks.append(order.mark)
        wanted = then


def test_one_node_at_most_is_drained() -> None:
    wanted = Wanted()
    for order in islice(orders(5), TURNS):
        assert order.verb != "drain" or not wanted.drained
        wanted = after(wanted, order)


def test_what_is_ordered_says_nothing_of_the_rest() -> None:
    wanted = Wanted(mark=4, replicas=5, drained="node-1")
    assert after(wanted, Order("scale", replicas=2)) == Wanted(mark=4, replicas=2, drained="node-1")
    assert after(wanted, Order("rollback", mark=3)) == Wanted(mark=3, replicas=5, drained="node-1")
    assert after(wanted, Order("activate")) == Wanted(mark=4, replicas=5)


# the stack


def test_the_stack_is_a_compose_file_that_the_mesh_takes(tmp_path: Path) -> None:
    request = stack.deploy_request(Wanted(mark=9, replicas=4), 3, tmp_path)
    specs = {each.spec.name: each for each in request.services}
    assert set(stack.running(Wanted(), 3)) | {"chaos_crash"} == set(specs)
    assert specs["chaos_web"].replicas == 4
    assert specs["chaos_web"].spec.task.container.environment["MARK"] == "9"
    assert specs["chaos_lease"].spec.task.stop_after == stack.LEASE


@pytest.mark.parametrize("program", [stack.WEB, stack.WITNESS, stack.CALLER])
def test_the_programs_of_the_stack_are_python(program: str) -> None:
    compile(program, "program", "exec")


def test_lives_are_read_from_what_the_witnesses_wrote(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("5.00\n5.10\n")
    (tmp_path / "a").write_text("1.00\n2.00\n3.0")
    (tmp_path / "c").write_text("")
    assert stack.lives(tmp_path) == [Life("a", 1.0, 2.0), Life("b", 5.0, 5.1)]


# the audit


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
    found = audit.slope(low + high, "agent")
    assert found.rise == pytest.approx(1.0)
    assert found.minutes == pytest.approx(8.0)
    assert audit.flat("agent", low + high).holds, "8 minutes show a fast leak only"
    longer = [sample for n in range(3) for sample in samples(f"{n}", {4: 90, 8: 94, 12: 98})]
    assert not audit.flat("agent", longer).holds
    faster = samples("fast", {4: 50, 8: 60, 12: 70})
    assert not audit.flat("agent", faster).holds


def test_flat_memory_holds_and_what_was_watched_too_briefly_is_not_judged() -> None:
    flat = samples("flat", {minute: 50 + minute % 2 for minute in range(3, 13)})
    assert audit.flat("agent", flat).holds
    brief = samples("brief", {3: 50, 4: 90})
    assert audit.flat("agent", brief).holds
    assert audit.slope(brief, "agent").limit is None
    assert audit.slope([], "agent").rise == 0.0


def test_counts_above_their_limit_are_told_by_name() -> None:
    assert audit.at_most("threads", {"node-1": 5, "node-2": 5}, {"node-1": 5, "node-2": 5}).holds
    found = audit.at_most("threads", {"node-1": 5, "node-2": 9}, {"node-1": 5, "node-2": 5})
    assert not found.holds
    assert found.details == ("node-2 has 9, at most 5",)


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
