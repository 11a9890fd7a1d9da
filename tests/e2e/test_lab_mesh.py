"""A whole mesh in a lab: its faults hit what they name, and it is mended again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.eye import Eye
from lab.lab import Lab

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

PATIENCE = 60.0


@pytest.fixture
def eye(mesh_lab: Lab) -> Iterator[Eye]:
    with mesh_lab.eye() as opened:
        all_ready(opened)
        yield opened


def ready(eye: Eye) -> set[str]:
    return {node.node for node in eye.nodes() if node.status == "ready"}


def all_ready(eye: Eye) -> None:
    eye.wait_until("all nodes are ready", lambda: len(ready(eye)) == 3, PATIENCE)


def test_the_operator_reaches_the_mesh_from_the_host(mesh_lab: Lab, eye: Eye) -> None:
    assert ready(eye) == set(mesh_lab.nodes)
    assert eye.leader().holder in mesh_lab.controllers
    assert eye.leader().mesh_id == mesh_lab.plan.mesh_id


def test_status_tells_of_every_machine(mesh_lab: Lab, eye: Eye) -> None:
    argv = [sys.executable, "-m", "meshctl.main", "lab", "status", "--name", mesh_lab.name, "--format", "json"]
    told = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    assert len(told) == 9
    assert {machine["state"] for machine in told} == {"running"}
    assert told[-1]["services"] == {"containerd": True, "dockerd": True, "agent": True}


@pytest.mark.parametrize("fault", ["kill", "stop", "cut"])
def test_another_leads_when_the_leader_is_gone(mesh_lab: Lab, eye: Eye, fault: str) -> None:
    before = eye.leader()
    hit = getattr(mesh_lab, fault)("leader")
    assert hit == before.holder
    eye.wait_until("another leads", lambda: eye.leader(1.0).holder != hit, PATIENCE)
    assert eye.leader().epoch > before.epoch
    mesh_lab.mend()
    all_ready(eye)


@pytest.mark.parametrize("fault", ["kill", "cut"])
def test_a_node_that_is_gone_is_told_down_and_is_ready_again_when_it_is_back(
    mesh_lab: Lab, eye: Eye, fault: str
) -> None:
    getattr(mesh_lab, fault)("node-2")
    eye.wait_until("node-2 is down", lambda: ready(eye) == {"node-1", "node-3"}, PATIENCE)
    mesh_lab.mend()
    all_ready(eye)


def test_an_agent_alone_can_be_killed_and_started(mesh_lab: Lab, eye: Eye) -> None:
    mesh_lab.kill("node-3", only="agent")
    assert next(each for each in mesh_lab.status() if each.name == "node-3").state == "degraded"
    assert mesh_lab.engine("node-3").ping()
    eye.wait_until("node-3 is down", lambda: "node-3" not in ready(eye), PATIENCE)
    mesh_lab.start("node-3", only="agent")
    all_ready(eye)


@pytest.mark.parametrize("fault", ["kill", "cut"])
def test_the_mesh_outlives_each_of_its_nats_servers(mesh_lab: Lab, eye: Eye, fault: str) -> None:
    leader = eye.leader()
    for server in ("nats-1", "nats-2", "nats-3"):
        getattr(mesh_lab, fault)(server)
        eye.wait_until("all nodes are ready", lambda: len(ready(eye)) == 3, PATIENCE)
        mesh_lab.mend()
        all_ready(eye)
        if fault == "kill":  # who is cut off has to find that out first
            assert (eye.leader().holder, eye.leader().epoch) == (leader.holder, leader.epoch), f"{server} died"
