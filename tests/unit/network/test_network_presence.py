"""Who is really there, by what a node knows better than the leader's records."""

from __future__ import annotations

import pytest

from agent.local import LocalTask
from agent.network.conntrack import CLOSE_WAIT, ESTABLISHED, quiet_for
from agent.network.model import View
from agent.network.presence import others, present
from schemas.network import Publication
from schemas.observation import Health, TaskState
from tests.unit.network.network_cases import answering, view

NOBODY = frozenset[str]()


def task(id_: str = "t1", state: TaskState = "running", health: Health = "", predecessor: str = "") -> LocalTask:
    addresses = {"front": "10.192.1.9" if predecessor else "10.192.1.2"}
    return LocalTask(
        id=id_, service="web", slot="1", state=state, health=health, addresses=addresses, predecessor=predecessor
    )


def addresses(found: View) -> list[str]:
    return [each.address for each in found.endpoints["front.web"].backends]


@pytest.mark.parametrize(
    ("state", "health", "there"),
    [
        ("running", "", True),
        ("running", "healthy", True),
        ("running", "unhealthy", False),
        ("exited", "", False),
        ("failed", "", False),
        ("stopping", "", True),
    ],
)
def test_a_task_of_the_node_counts_while_it_is_up_or_about_to_leave(
    state: TaskState, health: Health, there: bool
) -> None:
    found = present(view(answering("web", 1, 2)), "n1", {"t1": task("t1", state, health)}, NOBODY)
    assert ("10.192.1.2" in addresses(found)) == there


def test_other_nodes_go_by_the_record() -> None:
    known = view(answering("web", 1, 2))
    assert present(known, "n2", {"t1": task("t1", "failed")}, NOBODY) is known
    assert present(known, "n1", {}, NOBODY) is known


def test_what_the_agent_started_in_a_dead_ones_place_answers_for_it() -> None:
    local = {"t1": task("t1", "failed"), "t1.r1": task("t1.r1", predecessor="t1")}
    assert addresses(present(view(answering("web", 1, 2)), "n1", local, NOBODY)) == ["10.192.2.2", "10.192.1.9"]


def test_who_does_not_answer_is_left_out_but_never_everybody() -> None:
    known = view(answering("web", 1, 2, 3))
    assert addresses(present(known, "n1", {}, frozenset({"t2"}))) == ["10.192.1.2", "10.192.3.2"]
    assert addresses(present(known, "n9", {}, frozenset({"t1", "t2", "t3"}))) == [
        "10.192.1.2",
        "10.192.2.2",
        "10.192.3.2",
    ]


def test_others_are_tried_on_the_ports_that_are_known_to_lead_to_them() -> None:
    port = Publication(published=8080, target=80, service="web", network="front")
    flow = Publication(published=53, target=53, protocol="udp", service="web", network="front")
    tried = {each.task: ports for each, ports in others(view(answering("web", 1, 2), ports=(port, flow)), "n1")}
    assert tried == {"t2": {80}}
    assert [ports for _, ports in others(view(answering("db", 2)), "n1")] == [frozenset()]


@pytest.mark.parametrize(
    ("state", "left", "quiet"),
    [
        (ESTABLISHED, 432_000.0, 0.0),
        (ESTABLISHED, 431_990.0, 10.0),
        (ESTABLISHED, 298.0, 2.0),
        (CLOSE_WAIT, 58.0, 2.0),
        (7, 100.0, float("inf")),
    ],
)
def test_how_long_a_connection_has_been_quiet_is_read_from_what_is_left_of_its_entry(
    state: int, left: float, quiet: float
) -> None:
    assert quiet_for(state, left) == quiet
