"""Small deciding parts by themselves: explanations, histories in bounds, words, cost."""

from __future__ import annotations

import time

import pytest

from controller.explain import explain
from controller.histories import HISTORY_LIMIT, bounded
from controller.reasons import grouped, nodes_text, plain
from controller.task_ids import Mint, base36
from controller.world import Dirty
from schemas.observation import EndedTask
from schemas.records import Reason, SlotHistory
from schemas.task_ids import age, lineage
from schemas.wire import encode
from tests.unit.controller.model import Mesh, service_spec, three_nodes


def test_ids_are_in_base_36_and_know_their_age() -> None:
    assert [base36(number) for number in (0, 9, 10, 35, 36, 1295)] == ["0", "9", "a", "z", "10", "zz"]
    mint = Mint(epoch=40, minted=35)
    assert (mint.next(), mint.minted) == ("14-10", 36)
    ids = ["10-10.r10", "10-10", "z-1", "10-10.r2", "10-2", "10-10.r1"]
    assert sorted(ids, key=age) == ["z-1", "10-2", "10-10", "10-10.r1", "10-10.r2", "10-10.r10"]
    assert age("made by hand") == ()
    assert lineage("10-10.r2") == "10-10"


def test_reasons_are_counted_and_ranked() -> None:
    assert grouped(["b", "a", "b"]) == (Reason(text="b", count=2), Reason(text="a", count=1))
    assert len(grouped(str(number) for number in range(100))) == 20
    assert nodes_text({plain("drained"): 1}) == "1 node: 1 drained"


def test_each_waiting_slot_is_explained() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec("db", volume="data-{{.Task.Slot}}"), replicas=2)
    mesh.settle()
    for number in (1, 2):
        mesh.agents[f"n{number}"].volumes = {f"data-{number}"}
    mesh.settle()
    mesh.kill("n1", "n2")
    mesh.run(4)
    assert explain(mesh.world(), "db", mesh.now) == {
        "1": "volume data-1 is on node n1, which is down",
        "2": "volume data-2 is on node n2, which is down",
    }
    with pytest.raises(KeyError):
        explain(mesh.world(), "absent", mesh.now)


def test_explaining_an_ordinary_service_is_silent() -> None:
    mesh = three_nodes()
    mesh.deploy(service_spec(), replicas=2)
    mesh.settle()
    assert explain(mesh.world(), "web", mesh.now) == {}


def history(slot: int, *, log: str) -> SlotHistory:
    ended = tuple(
        EndedTask(id=f"1-{slot}-{number}", node="n1", revision=1, state="failed", at=number, log_tail=(log,) * 10)
        for number in range(5, 0, -1)
    )
    return SlotHistory(ended=ended, restarts=slot, next_at=5.0)


def test_histories_lose_their_oldest_logs_first_and_never_what_decisions_need() -> None:
    slots = {str(slot): history(slot, log="x" * 200) for slot in range(40)}
    cut = bounded(slots)
    assert len(encode(cut)) < HISTORY_LIMIT * 1.3
    assert all(entry.log_tail == () for each in cut.values() for entry in each.ended if entry.at == 1)
    assert all(entry.log_tail for each in cut.values() for entry in each.ended if entry.at == 5)
    assert {slot: (each.restarts, each.next_at) for slot, each in cut.items()} == {
        slot: (each.restarts, each.next_at) for slot, each in slots.items()
    }
    many = {str(slot): history(slot, log="") for slot in range(2000)}
    assert len(encode(bounded(many))) < HISTORY_LIMIT * 3


def test_a_history_is_measured_as_it_is_stored() -> None:
    """A control character takes six bytes in JSON: a container that prints garbage is no reason for a larger record."""
    slots = {str(slot): history(slot, log="\x01" * 256) for slot in range(60)}
    assert len(encode(bounded(slots))) < HISTORY_LIMIT * 1.1


def test_small_histories_are_left_alone() -> None:
    slots = {"1": history(1, log="x")}
    assert bounded(slots) == slots


def test_ten_thousand_tasks_are_placed_and_one_service_is_decided_in_good_time() -> None:
    mesh = Mesh()
    for number in range(1000):
        mesh.add_node(f"n{number:04}")
    mesh.round()
    for number in range(100):
        mesh.deploy(service_spec(f"s{number:03}", cpus=0.01), replicas=100)
    began = time.perf_counter()
    mesh.round()
    placed = time.perf_counter() - began
    assert mesh.minted == 10_000
    mesh.work()
    mesh.step()
    mesh.change_service("s000", replicas=101)
    began = time.perf_counter()
    mesh.round(Dirty(services=frozenset({"s000"})))
    one = time.perf_counter() - began
    assert mesh.minted == 10_001
    assert placed < 20
    assert one < 2
