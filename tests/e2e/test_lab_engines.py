"""Engines in namespaces: what happens to them, and that the host does not notice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.engine_api import EngineApi
from lab.lab import Lab
from schemas.errors import EngineError, NotFound, Refused, Unreachable, UsageError

pytestmark = pytest.mark.docker

BUSYBOX = "dockmesh/busybox:1"


def reaches(lab: Lab, source: str, target: str) -> bool:
    """Whether a connection attempt gets any answer (refused is one)."""
    address = lab.plan.machine(target).address
    code = f"import socket; s = socket.socket(); s.settimeout(1); print(s.connect_ex(('{address}', 9)))"
    return lab.exec(source, [sys.executable, "-I", "-c", code]).stdout.strip() == "111"


def test_every_node_has_an_engine_of_its_own(engines: Lab) -> None:
    made = engines.engine("node-1").run(BUSYBOX, "sleep", "1000")
    assert [each["Id"] for each in engines.engine("node-1").containers()] == [made]
    assert engines.engine("node-2").containers() == []
    assert engines.exec("node-1", ["hostname"]).stdout.strip() == "node-1"


def test_a_node_without_power_loses_what_ran_and_keeps_its_disk(engines: Lab) -> None:
    engine = engines.engine("node-1")
    made = engine.run(BUSYBOX, "sleep", "1234567")
    engines.kill("node-1")
    assert not engine.ping()
    assert not [each for each in Path("/proc").glob("[0-9]*/cmdline") if b"1234567" in read(each)]
    assert engines.status()[0].state == "off"
    engines.start("node-1")
    state = engine.inspect(made)["State"]
    assert not state["Running"]


def read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def test_with_only_the_engine_killed_containers_run_on(engines: Lab) -> None:
    engine = engines.engine("node-1")
    engine.run(BUSYBOX, "sleep", "7654321")
    engines.kill("node-1", only="engine")
    assert not engine.ping()
    assert "sleep 7654321" in engines.exec("node-1", ["ps", "-e", "-o", "args"]).stdout
    assert engines.status()[0].state == "off"
    engines.start("node-1", only="engine")
    assert engine.ping()


def test_a_stopped_node_ends_its_containers_in_good_order(engines: Lab) -> None:
    engine = engines.engine("node-1")
    script = "trap 'exit 42' TERM; while :; do busybox sleep 0.1; done"
    made = engine.run(BUSYBOX, "sh", "-c", script, host={"Init": False})
    time.sleep(0.3)
    engines.stop("node-1")
    engines.start("node-1")
    assert engine.inspect(made)["State"]["ExitCode"] == 42


def test_a_cut_node_runs_on_and_nobody_hears_it(engines: Lab) -> None:
    assert reaches(engines, "node-1", "node-2")
    made = engines.engine("node-2").run(BUSYBOX, "sleep", "1000")
    engines.cut("node-2")
    assert not reaches(engines, "node-1", "node-2")
    assert engines.status()[1].cut
    assert engines.engine("node-2").inspect(made)["State"]["Running"]
    engines.heal("node-2")
    assert reaches(engines, "node-1", "node-2")


def test_a_pull_fails_at_once(engine_node: EngineApi) -> None:
    began = time.monotonic()
    with pytest.raises((EngineError, NotFound)):
        engine_node._ask("POST", "/images/create?fromImage=registry.example/none&tag=1")
    assert time.monotonic() - began < 3


def test_a_look_up_in_a_container_is_refused_at_once(engine_node: EngineApi) -> None:
    began = time.monotonic()
    made = engine_node.run(BUSYBOX, "nslookup", "registry.example")
    while engine_node.inspect(made)["State"]["Running"]:
        time.sleep(0.05)
    assert time.monotonic() - began < 5


def test_images_have_the_same_id_on_every_engine(engines: Lab) -> None:
    assert len({engines.engine(node).image_id(BUSYBOX) for node in engines.nodes}) == 1


def test_what_can_not_be_meant_is_told_plainly(engines: Lab) -> None:
    with pytest.raises(NotFound, match="node-9"):
        engines.kill("node-9")
    with pytest.raises(Refused):
        engines.kill("switch")
    engines.kill("node-2")
    with pytest.raises(Refused, match="off"):
        engines.heal("node-2")
    with pytest.raises(Unreachable, match="off"):
        engines.exec("node-2", ["true"])
    with pytest.raises(UsageError):
        engines.engine("switch")


def test_start_is_idempotent(engines: Lab) -> None:
    made = engines.engine("node-1").run(BUSYBOX, "sleep", "1000")
    engines.start("node-1")
    engines.start("node-1")
    assert engines.engine("node-1").inspect(made)["State"]["Running"]


def test_an_engine_can_have_a_small_disk_that_fills_up(make_lab: Callable[..., Lab], archives: dict[str, Path]) -> None:
    lab = make_lab(nodes=1, controllers=0, nats=0, disk_mib=24)
    engine = lab.engine("node-1")
    engine.load(archives[BUSYBOX])
    script = "dd if=/dev/zero of=/full bs=1M count=100"
    made = engine.run(BUSYBOX, "sh", "-c", script, host={"Init": False})
    while engine.inspect(made)["State"]["Running"]:
        time.sleep(0.05)
    assert engine.inspect(made)["State"]["ExitCode"] == 1
    with pytest.raises(EngineError, match="no space left"):
        engine.load(archives["dockmesh/redis:1"])
    lab.down()
