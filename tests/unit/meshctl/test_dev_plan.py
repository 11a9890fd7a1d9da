"""What `meshctl dev` would run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from meshctl.dev.plan import DevPlan, Passwords, engine_address, node_name
from meshctl.dev.running import make_plan, only_one, write_files
from schemas.errors import Unreachable, UsageError


def plan(directory: Path) -> DevPlan:
    return DevPlan(
        directory=directory, node="box", port=4222, engine="unix:///e.sock", passwords=Passwords("one", "two", "three")
    )


def test_children_are_given_their_own_credentials_and_data(tmp_path: Path) -> None:
    controller, agent = plan(tmp_path).children()
    assert controller.command[3:] == (
        *("--name", "controller-1"),
        *("--credentials", str(tmp_path / "controller.json"), "--data", str(tmp_path / "controller")),
    )
    assert agent.command[3:8] == ("--node", "box", "--engine", "unix:///e.sock", "--controller-here")
    assert plan(tmp_path).server().command[-1] == str(tmp_path / "nats.conf")


def test_files_with_passwords_are_the_users_alone(tmp_path: Path) -> None:
    write_files(plan(tmp_path))
    for name in ("operator.json", "controller.json", "agent.json", "nats.conf"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert "agent-box" in (tmp_path / "nats.conf").read_text()


def test_the_nodes_name_is_the_short_host_name() -> None:
    assert node_name("Box.example.org") == "box"
    assert node_name("...") == "dev"


def test_an_engine_elsewhere_is_refused() -> None:
    assert engine_address({}) == "unix:///var/run/docker.sock"
    assert engine_address({"DOCKER_HOST": "unix:///x"}) == "unix:///x"
    with pytest.raises(UsageError, match="which is no socket here"):
        engine_address({"DOCKER_HOST": "tcp://1.2.3.4:2375"})


def test_an_engine_that_does_not_answer_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no Docker engine answers"):
        make_plan(tmp_path, "box", 0, f"unix://{tmp_path}/none.sock")


def test_a_taken_port_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "e.sock"
    with socket.socket(socket.AF_UNIX) as engine, socket.socket() as taken:
        engine.bind(str(path))
        engine.listen()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made = make_plan(tmp_path, "box", 0, f"unix://{path}")
        assert made.port > 0
        assert len({made.passwords.operator, made.passwords.controller, made.passwords.agent}) == 3


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(UsageError, match="runs already"), only_one(tmp_path):
        pass
