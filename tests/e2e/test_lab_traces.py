"""What a lab leaves behind: nothing, however it ended. And what it does to the host: nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cgroups, folders
from lab.bringup import bring_up
from lab.machine import strays
from lab.paths import labs_root
from lab.plan import LAB_GROUP, LabPlan, make_plan
from schemas.errors import Conflict, NotFound

pytestmark = [pytest.mark.docker, pytest.mark.alone]

BUSYBOX = "dockmesh/busybox:1"


def engines_plan(name: str, nodes: int = 1) -> LabPlan:
    return make_plan(name, mesh_id="m", nodes=nodes, controllers=0, nats=0)


def host_state() -> dict[str, object]:
    """What of the host a lab could have changed."""
    rules = [
        subprocess.run(argv, capture_output=True, text=True).stdout
        for argv in (["nft", "list", "ruleset"], ["iptables-save"])
        if shutil.which(argv[0])
    ]
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True).stdout)
    settings = [Path("/proc/sys/net/ipv4", each).read_text() for each in ("ip_forward", "conf/all/route_localnet")]
    return {
        "rules": ["\n".join(line for line in text.splitlines() if not line.startswith("#")) for text in rules],
        "links": sorted(link["ifname"] for link in links),
        "settings": settings,
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "netns": sorted(Path("/run/netns").iterdir()) if Path("/run/netns").exists() else [],
    }


def assert_nothing_left(name: str) -> None:
    root = labs_root() / name
    assert not root.exists()
    assert strays(root) == ()
    assert not [path for group in cgroups.left(LAB_GROUP) for path in group.glob(name)]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        assert f"{root}/".encode() not in words, words


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"test-{os.getpid()}-trace"
    yield chosen
    with folders.changing(chosen):
        folders.remove(chosen)


def test_a_lab_changes_nothing_of_the_host_and_leaves_nothing(name: str, archives: dict[str, Path]) -> None:
    before = host_state()
    lab = bring_up(engines_plan(name, nodes=2))
    lab.load_images([archives[BUSYBOX]])
    lab.engine("node-1").run(BUSYBOX, "sleep", "1000", host={"PortBindings": {"80/tcp": [{"HostPort": "22"}]}})
    assert host_state() == before
    lab.down()
    assert host_state() == before
    assert_nothing_left(name)


def test_what_a_crash_of_lab_up_left_is_removed(name: str) -> None:
    code = (
        "import sys, time, lab.bringup, lab.plan\n"
        "def crash(line):\n    print('now', flush=True)\n    time.sleep(60)\n"
        f"lab.bringup.bring_up(lab.plan.make_plan('{name}', mesh_id='m', nodes=2, controllers=0, nats=0), crash)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert strays(labs_root() / name)
    with folders.changing(name):
        assert folders.remove(name)
    assert_nothing_left(name)


def test_machines_of_which_no_file_tells_are_removed(name: str) -> None:
    lab = bring_up(engines_plan(name))
    shutil.rmtree(labs_root() / name, ignore_errors=True)
    assert name in folders.names()  # its control groups still tell
    with folders.changing(name):
        assert folders.remove(name)
    assert_nothing_left(lab.name)


def test_a_failed_start_takes_back_what_it_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.configs.engine_config", lambda outlet: "no json")  # the engine will not start
    monkeypatch.setattr("lab.bringup.ENGINE_PATIENCE", 1.0)
    with pytest.raises(Exception, match=r"engine|unable to configure"):
        bring_up(engines_plan(name))
    assert_nothing_left(name)


def test_a_second_lab_of_that_name_is_refused_and_the_first_runs_on(name: str) -> None:
    lab = bring_up(engines_plan(name))
    with pytest.raises(Conflict, match=name):
        bring_up(engines_plan(name))
    assert lab.engine("node-1").ping()


def test_two_labs_stand_side_by_side(name: str) -> None:
    first = bring_up(engines_plan(name))
    second = bring_up(engines_plan(f"{name}2"))
    try:
        assert first.plan.machine("node-1").address == second.plan.machine("node-1").address
        first.down()
        assert second.engine("node-1").ping()
    finally:
        second.down()


def test_down_of_a_lab_that_is_not_there_says_so(name: str) -> None:
    with folders.changing(name):
        assert not folders.remove(name)
    with pytest.raises(NotFound, match=name):
        folders.read_plan(name)


def test_a_system_containerd_is_neither_joined_nor_touched(
    name: str, archives: dict[str, Path], tmp_path: Path
) -> None:
    address = Path("/run/containerd/containerd.sock")
    if address.exists():
        pytest.fail("there is a containerd at the system's address already; this test needs a decoy there")
    argv = [
        "containerd",
        "--root",
        str(tmp_path / "root"),
        "--state",
        str(tmp_path / "state"),
        "--address",
        str(address),
    ]
    with (tmp_path / "log").open("wb") as log:
        decoy = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        while not address.exists():
            assert decoy.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        lab = bring_up(engines_plan(name))
        lab.load_images([archives[BUSYBOX]])
        lab.engine("node-1").run(BUSYBOX, "sleep", "1000")
        listed = subprocess.run(
            ["ctr", "--address", str(address), "namespaces", "ls", "-q"], capture_output=True, text=True, check=True
        )
        assert listed.stdout.split() == []
        lab.down()
        assert decoy.poll() is None
        assert address.exists()
    finally:
        decoy.send_signal(signal.SIGTERM)
        decoy.wait(10)
        for left in ("containerd.sock", "containerd.sock.ttrpc"):
            (address.parent / left).unlink(missing_ok=True)
