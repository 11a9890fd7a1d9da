"""The pure parts of the benchmark of chaos: what happens, and what is done meanwhile."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks.turmoil import plan, stack
from benchmarks.turmoil.audit import Life
from benchmarks.turmoil.orders import Order, Wanted, after, orders

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


def test_shorter_faults_are_likelier_than_longer_ones() -> None:
    (longest,) = [kind for kind in plan.KINDS if kind.name == "node-flap"]
    found = [fault.seconds for turn in first_turns(only=("node-flap",)) for fault in turn.faults]
    assert max(found) > longest.least + 0.9 * (longest.most - longest.least)
    assert sum(seconds < (longest.least + longest.most) / 2 for seconds in found) > len(found) * 0.6


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


DISASTERS = [kind.name for kind in plan.KINDS if kind.group == "mesh"]


@pytest.mark.parametrize("seed", range(20))
def test_half_an_hour_of_turns_has_every_kind_and_ten_minutes_have_most(seed: int) -> None:
    """4 turns with their disaster and calms take 2 minutes or less: 60 turns, and 20."""
    turns = first_turns(seed)
    assert {fault.kind for turn in turns[:60] for fault in turn.faults} == set(plan.NAMES)
    assert len({fault.kind for turn in turns[:20] for fault in turn.faults}) >= 0.6 * len(plan.NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_a_disaster_comes_alone_and_each_kind_once_before_any_comes_again(seed: int) -> None:
    struck = [turn.faults for turn in first_turns(seed) if any(fault.kind in DISASTERS for fault in turn.faults)]
    assert all(len(faults) == 1 for faults in struck)
    kinds = [faults[0].kind for faults in struck]
    assert len(kinds) == TURNS / plan.CALM_EVERY, "rarer than the others, and never left out"
    for first in range(0, len(kinds) - len(DISASTERS), len(DISASTERS)):
        assert sorted(kinds[first : first + len(DISASTERS)]) == sorted(DISASTERS)


def test_disasters_alone_can_be_asked_for() -> None:
    found = first_turns(only=("store-lost",))
    assert [[fault.kind for fault in turn.faults] for turn in found] == [["store-lost"]] * TURNS


def test_more_than_half_of_the_nodes_vanish_and_at_least_three_but_not_all() -> None:
    for turn in first_turns(only=("nodes-return", "nodes-release")):
        nodes = turn.faults[0].machine.split(",")
        assert len(set(nodes)) == len(nodes) == 3


def test_the_node_with_a_disk_in_memory_keeps_its_power_and_is_the_one_whose_disk_gets_full() -> None:
    hit = {kind: set[str]() for kind in plan.NAMES}
    for turn in first_turns():
        for fault in turn.faults:
            hit[fault.kind].add(fault.machine)
    assert hit["engine-full"] == {plan.small(4)} == {"node-4"}
    assert hit["node-power"] | hit["node-bounce"] | hit["boot-alone"] == {"node-1", "node-2", "node-3"}
    assert plan.small(4) in hit["node-cut"] & hit["engine-stall"]


def test_no_node_is_hurt_while_a_task_of_one_is_without_memory() -> None:
    groups = {kind.name: kind.group for kind in plan.KINDS}
    with_it = [turn for turn in first_turns() if any(fault.kind == "task-memory" for fault in turn.faults)]
    assert with_it
    assert all(groups[fault.kind] != "node" for turn in with_it for fault in turn.faults)


def test_no_agent_is_frozen_for_longer_than_a_lease_outlives() -> None:
    longest = max(kind.most for kind in plan.KINDS if kind.name in ("agent-stall", "agent-kill"))
    assert longest == 30, "a stall of half a minute is one of the promised faults"
    assert longest < stack.LEASE + 10


def test_the_node_of_a_lease_is_cut_off_for_so_long_that_it_has_to_move() -> None:
    (kind,) = [kind for kind in plan.KINDS if kind.name == "lease-cut"]
    grace, margin = 2, 10
    assert kind.least > stack.LEASE + grace + margin
    assert {fault.machine for turn in first_turns(only=("lease-cut",)) for fault in turn.faults} == {plan.LEASED}


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
    assert specs["chaos_greedy"].spec.task.limits.memory == 16 * 1024 * 1024
    assert specs["chaos_store"].spec.task.placement.constraints, "its disk would be full, too"


@pytest.mark.parametrize("program", [stack.WEB, stack.WITNESS, stack.CALLER])
def test_the_programs_of_the_stack_are_python(program: str) -> None:
    compile(program, "program", "exec")


def test_lives_are_read_from_what_the_witnesses_wrote(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("5.00\n5.10\n")
    (tmp_path / "a").write_text("1.00\n2.00\n3.0")
    (tmp_path / "c").write_text("")
    assert stack.lives(tmp_path) == [Life("a", 1.0, 2.0), Life("b", 5.0, 5.1)]
