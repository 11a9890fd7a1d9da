"""Names, addresses and command lines of a lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.configs import engine_config, make_users, nats_config
from lab.network import cable_in_machine, cable_in_switch
from lab.outlet import has_default_route
from lab.paths import LabPaths, Tools
from lab.plan import LabPlan, make_plan, server_urls, services_of
from schemas.errors import NotFound, UsageError
from schemas.wire import decode, encode

PATHS = LabPaths(Path("/labs/one"))
TOOLS = Tools(
    python="/venv/python",
    nats_server="/venv/nats-server",
    containerd="/bin/containerd",
    dockerd="/bin/dockerd",
    search="/bin",
)


def plan(**counts: int) -> LabPlan:
    return make_plan("one", mesh_id="m", **counts)  # type: ignore[arg-type]


def argv_of(machine: str, service: str) -> tuple[str, ...]:
    lab = plan()
    found = services_of(lab.machine(machine), lab, PATHS, TOOLS)
    return next(each.argv for each in found if each.name == service)


def test_every_machine_has_a_name_an_address_and_a_mac_of_its_own() -> None:
    machines = plan(nodes=20, controllers=5, nats=3).machines
    for field in ("name", "address", "mac"):
        assert len({getattr(machine, field) for machine in machines}) == len(machines) == 29


def test_a_cable_is_named_within_the_kernels_15_characters() -> None:
    for machine in plan(nodes=200, controllers=9, nats=9).machines:
        assert len(machine.name) <= 15


@pytest.mark.parametrize("name", ["", "Lab", "a/b", "-a", "a-", "x" * 21, "a b", ".."])
def test_a_name_that_can_be_no_folder_and_no_cluster_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        make_plan(name, mesh_id="m")


def test_impossible_counts_are_refused() -> None:
    for counts in ({"nodes": -1}, {"nodes": 201}, {"nats": 10}):
        with pytest.raises(UsageError):
            plan(**counts)


def test_an_engine_shares_no_socket_state_config_or_pid_file_with_the_hosts() -> None:
    dockerd = argv_of("node-1", "dockerd")
    containerd = argv_of("node-1", "containerd")
    address = containerd[containerd.index("--address") + 1]
    assert dockerd[dockerd.index("--containerd") + 1] == address
    for option in ("--config-file", "--data-root"):
        assert dockerd[dockerd.index(option) + 1].startswith("/labs/one/node-1/")
    for option in ("--config", "--root"):
        assert containerd[containerd.index(option) + 1].startswith("/labs/one/node-1/")


def test_containers_lie_below_their_nodes_control_group() -> None:
    dockerd = argv_of("node-2", "dockerd")
    assert dockerd[dockerd.index("--cgroup-parent") + 1] == "/dockmesh-lab/one/node-2/containers"
    assert "native.cgroupdriver=cgroupfs" in dockerd


def test_an_agent_of_a_lab_runs_as_one_of_systemd_does() -> None:
    unit = Path(__file__).parents[3] / "deploy" / "systemd" / "mesh-agent.service"
    settings = [line.removeprefix("Environment=") for line in unit.read_text().splitlines()]
    lab = plan()
    agent = services_of(lab.machine("node-1"), lab, PATHS, TOOLS)[-1]
    assert agent.environment
    assert all(f"{name}={value}" in settings for name, value in agent.environment.items())


def test_nodes_beside_which_a_controller_is_counted_say_so() -> None:
    lab = plan(nodes=3, controllers=1)
    commands = [services_of(node, lab, PATHS, TOOLS)[-1].argv for node in lab.of("node")]
    assert ["--controller-here" in argv for argv in commands] == [True, False, False]


def test_without_nats_servers_a_node_is_an_engine_and_no_more() -> None:
    lab = plan(nodes=1, controllers=0, nats=0)
    assert [each.name for each in services_of(lab.machine("node-1"), lab, PATHS, TOOLS)] == ["containerd", "dockerd"]


def test_a_plan_outlives_its_file() -> None:
    lab = plan()
    assert decode(encode(lab), LabPlan) == lab


def test_a_machine_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(NotFound) as caught:
        plan(nodes=1, controllers=1, nats=1).machine("node-7")
    assert "node-1" in caught.value.hint
    assert "switch" not in caught.value.hint


def test_servers_know_all_routes_and_advertise_none() -> None:
    lab = plan()
    passwords = dict.fromkeys(("operator", *(machine.name for machine in lab.machines)), "secret")
    text = nats_config(lab.machine("nats-2"), lab, PATHS, make_users(lab, passwords), "word")
    assert text.count("nats://route:word@") == 3
    assert "no_advertise: true" in text
    assert "10.77.3.2:4222" in text
    assert len(server_urls(lab)) == 3


def test_without_a_way_out_look_ups_in_containers_go_where_nobody_listens() -> None:
    assert "127.0.0.1" in engine_config(outlet=False)
    assert "127.0.0.1" not in engine_config(outlet=True)


def test_only_with_a_way_out_is_there_a_default_route() -> None:
    node = plan().machine("node-1")
    assert not any("default" in line for line in cable_in_machine(node, outlet=False))
    assert any("default" in line for line in cable_in_machine(node, outlet=True))
    assert any("netns 42" in line for line in cable_in_switch(node, 42))


def test_the_hosts_default_route_is_seen() -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    net = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    out = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    assert not has_default_route(head + net)
    assert has_default_route(head + net + out)
