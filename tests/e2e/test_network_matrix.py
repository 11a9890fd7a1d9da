"""Networks on three real engines, from everywhere to everywhere, while things change and break; and nothing is left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.voting import Told, Voters
from tests.e2e.site import Site, worker
from tests.e2e.test_network_stacks import ask, client, deploy, server

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

LOOK = """
ip -o link | sed 's/^[0-9]*: //; s/[@:].*//' | grep -v '^veth'; ip route; ip rule; nft list ruleset | grep -v counter
iptables-save | grep -v '^#' | sed 's/\\[.*\\]//'; ls /run/docker/netns | grep -v default
"""
MANY = 200
START_FIRST = {"replicas": 3, "update_config": {"monitor": "1s", "order": "start-first"}}


def machine_states(site: Site) -> dict[str, list[str]]:
    """Of each node all links, routes, rules, maps, chains and namespaces; not whether a link is in use."""
    told = {node: site.lab.exec(node, ["sh", "-c", LOOK]).stdout.replace(" linkdown", "") for node in site.lab.nodes}
    return {node: sorted(line.rstrip() for line in text.splitlines()) for node, text in told.items()}


@pytest.fixture(scope="module")
def before(operated: Site) -> dict[str, list[str]]:
    """How the nodes were before there was a network."""
    operated.clear()
    return machine_states(operated)


@pytest.fixture(scope="module")
def grid(operated: Site, before: dict[str, list[str]]) -> Iterator[Site]:
    """A server on every node, published; a client on every node that is on three networks; a server on each other."""
    deploy(
        operated,
        "grid",
        {"a": None, "b": None, "c": None},
        web=server("a", ports=["8080:80"]) | {"deploy": START_FIRST},
        two=server("b", replicas=1),
        three=server("c", replicas=1),
        asker=client("a", "b", "c"),
    )
    yield operated
    operated.clear()


def all_answer(site: Site, nodes: tuple[str, ...]) -> bool:
    """Whether from each of these nodes every service on every network answers by its name."""
    what = "[get(name, 80) for name in ('web', 'web', 'web', 'two', 'three')]"
    return all(" " in answer for node in nodes for answer in ask(site, node, "grid_asker", what))


def test_every_task_is_reached_from_every_node_in_both_directions(grid: Site) -> None:
    assert grid.spread("grid_web") == {"node-1": 1, "node-2": 1, "node-3": 1}
    addresses = ask(grid, "node-1", "grid_asker", "names('tasks.web')")
    found = {node: ask(grid, node, "grid_asker", f"[get(a, 80) for a in {addresses}]") for node in grid.lab.nodes}
    for node, answers in found.items():
        assert len({answer.split()[0] for answer in answers if " " in answer}) == 3, (node, answers)


def test_a_task_on_three_networks_reaches_and_is_seen_on_each(grid: Site) -> None:
    assert all_answer(grid, grid.lab.nodes)
    callers = {ask(grid, "node-1", "grid_asker", f"get('{name}', 80).split()[1]") for name in ("web", "two", "three")}
    assert len({caller.split(".")[1] for caller in callers}) == 3  # by its address on that network


def test_two_hundred_services_have_names_and_addresses_of_their_own_and_refuse_at_once(grid: Site) -> None:
    text = {"net": {"external": True, "name": "grid_a"}}
    for first in range(0, MANY, 50):
        idle: dict[str, Any] = {f"s{n}": worker(replicas=0, networks=["net"]) for n in range(first, first + 50)}
        deploy(grid, f"many{first}", text, **idle)
    names = f"[names('s%d' % n) for n in range({MANY})]"

    def told() -> bool:
        found = ask(grid, "node-2", "grid_asker", names)
        return len({tuple(each) for each in found if len(each) == 1 and each[0][0].isdigit()}) == MANY

    grid.wait(f"{MANY} names have {MANY} addresses", told)
    began = "__import__('time').time()"
    took, answers = ask(
        grid,
        "node-2",
        "grid_asker",
        f"(lambda b, x: ({began} - b, x))({began}, [get('s%d' % n, 80) for n in range({MANY})])",
    )
    assert set(answers) == {"ConnectionRefusedError"}, answers
    assert took < 10.0
    assert all_answer(grid, ("node-2",))
    grid.meshctl("stack", "rm", *(f"many{first}" for first in range(0, MANY, 50)))
    grid.wait("the names are gone", lambda: "not known" in ask(grid, "node-2", "grid_asker", "names('s7')")[0])


def test_an_agent_killed_in_the_middle_of_an_update_loses_no_request(grid: Site) -> None:
    with Voters(grid.lab, 0.01) as load:
        grid.meshctl("service", "update", "--force", "--detach", "grid_web")
        grid.wait("the update is under way", lambda: len(grid.containers("grid_web")) > 3)
        grid.lab.kill("node-2", only="agent")
        grid.lab.start("node-2", only="agent")
        grid.all_ready()
        grid.settle("grid_web", 3)
        told = load.end()
    assert told.failed == 0, told
    assert all_answer(grid, grid.lab.nodes)


def test_no_request_is_lost_in_an_update_a_drain_and_scalings(grid: Site) -> None:
    none_lost(under_change(grid, updates=1, drains=1, scalings=2), 100)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_request_is_lost_in_many_updates_drains_and_scalings(grid: Site) -> None:
    none_lost(under_change(grid, updates=5, drains=3, scalings=10), 2000)


def none_lost(told: dict[str, Told], least: int) -> None:
    """What clients have counted, each by the way that it took."""
    print(told)
    assert not any(each.failed for each in told.values()), told
    assert all(each.taken > least for each in told.values()), told


def under_change(site: Site, *, updates: int, drains: int, scalings: int) -> dict[str, Told]:
    """What becomes of a constant load of short connections: from outside to all nodes, from a container to the name."""
    with Voters(site.lab, 0.01) as outside, in_container(site, "node-3", "web") as inside:
        for _ in range(updates):
            site.meshctl("service", "update", "--force", "grid_web")
        for number in range(drains):
            node = site.lab.nodes[number % 2]  # not the one that is asked from
            site.meshctl("node", "update", "--availability", "drain", node)
            site.wait(f"{node} is empty", lambda node=node: not site.containers("grid_web", node=node))
            site.settle("grid_web", 3)
            site.meshctl("node", "update", "--availability", "active", node)
        for number in range(scalings):
            site.meshctl("service", "scale", f"grid_web={(5, 3)[number % 2]}")
        return {"published port": outside.end(), "virtual address": inside.end()}


def in_container(site: Site, node: str, service: str) -> Voters:
    """Voters within the client's network on a node, who know the service by its virtual address."""
    (address,) = ask(site, node, "grid_asker", f"names('{service}')")
    (task,) = [each for each in site.containers("grid_asker") if each.engine == node]
    machine = site.lab.rack.host(node).pid()
    pid = site.lab.engine(node).inspect(task.id)["State"]["Pid"]  # as that machine numbers it
    return Voters(site.lab, 0.01, net=Path(f"/proc/{machine}/root/proc/{pid}/ns/net"), page=f"http://{address}/")


def test_after_an_engine_has_died_and_come_back_everything_is_reached_again(grid: Site) -> None:
    grid.lab.kill("node-1", only="engine")
    grid.lab.start("node-1", only="engine")
    grid.all_ready()
    grid.settle("grid_web", 3)
    grid.wait("all is reached from all nodes", lambda: asked_well(grid))


def asked_well(site: Site) -> bool:
    """Whether every node has its client, and all answers come."""
    return len(site.spread("grid_asker")) == 3 and all_answer(site, site.lab.nodes)


def test_a_lost_node_is_out_of_the_others_rules_and_comes_back(grid: Site) -> None:
    with Voters(grid.lab, 0.01, nodes=("node-1", "node-2")) as load:
        grid.lab.kill("node-3")
        grid.wait("node-3 is down", lambda: grid.ready() == {"node-1", "node-2"})
        grid.wait("no request fails any more", lambda: served(grid, load))
        assert all_answer(grid, ("node-1", "node-2")) or grid.settle("grid_web", 3)
    grid.lab.start("node-3")
    grid.all_ready()
    grid.wait("all is reached from all nodes", lambda: asked_well(grid))


def served(site: Site, load: Voters) -> bool:
    """Whether 100 requests in a row succeed."""
    since = load.told()
    site.wait("100 more", lambda: load.told().taken >= since.taken + 100 or load.told().failed > since.failed)
    return load.told().failed == since.failed


def ours(lines: set[str]) -> set[str]:
    """Without the namespaces' files that an engine leaves behind when it is killed itself."""
    return {line for line in lines if not re.fullmatch("[0-9a-f]{12}", line)}


def test_nothing_is_left_of_links_routes_rules_maps_and_namespaces(grid: Site, before: dict[str, list[str]]) -> None:
    during = machine_states(grid)
    assert all(any(re.match("br-m", line) for line in lines) for lines in during.values())
    grid.meshctl("stack", "rm", "grid")
    grid.wait("nothing of the mesh runs", lambda: not grid.containers())
    left: dict[str, set[str]] = {}

    def clean() -> bool:
        found = machine_states(grid)
        left.update({node: ours(set(found[node]) ^ set(before[node])) for node in found})
        return not any(left.values())

    try:
        grid.wait("each node is as it was", clean, 30)
    except Exception:
        raise AssertionError(f"left or missing: {left}") from None
