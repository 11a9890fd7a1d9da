"""`meshctl dev` on a real engine: Ctrl-C ends its processes, containers run on, and the next start adopts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import images
from tests.conftest import free_port
from tests.contract.engine.dockerd import Dockerd

COMPOSE = """
services:
  tick:
    image: dockmesh/busybox:1
    init: true
    command: sh -c 'echo started; exec sleep 1000'
    deploy: {replicas: 2, update_config: {monitor: 1s}}
"""

pytestmark = pytest.mark.docker

MESHCTL = (sys.executable, "-m", "meshctl.main")


@dataclass
class Dev:
    """`meshctl dev` as a process, and commands on its mesh."""

    home: Path
    engine: str

    @property
    def environ(self) -> dict[str, str]:
        """What all of it is started with."""
        kept = {name: value for name, value in os.environ.items() if name not in ("NATS_URL", "MESH_CONTEXT")}
        places = {"XDG_CONFIG_HOME": str(self.home / "config"), "XDG_STATE_HOME": str(self.home / "state")}
        return {**kept, **places, "DOCKER_HOST": self.engine}

    def start(self) -> subprocess.Popen[str]:
        """Start it, and wait until it says that it is ready."""
        command = [*MESHCTL, "dev", "--node", "box", "--port", str(free_port())]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environ)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Mesh dev is ready: node box on unix://"), line + process.communicate(timeout=30)[1]
        return process

    def end(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Send a signal, and wait; exit code and stderr."""
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    def run(self, *arguments: str, stdin: str = "") -> str:
        """A command that has to succeed; what it printed."""
        ran = subprocess.run(
            [*MESHCTL, *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            env=self.environ,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, f"{arguments}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def children(self) -> list[str]:
        """Processes that work in its directory."""
        wanted = str(self.home / "state").encode()
        lines = [entry / "cmdline" for entry in Path("/proc").glob("[0-9]*")]
        return [str(line) for line in lines if line.exists() and wanted in line.read_bytes()]


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    engine = Dockerd()
    engine.start()
    yield Dev(tmp_path, engine.address)
    engine.remove()


def test_dev_runs_a_mesh_and_its_containers_outlive_it(dev: Dev) -> None:
    process = dev.start()
    try:
        assert dev.run("context", "ls", "-q") == "dev\n"
        out = dev.run("image", "load", "-i", str(images.build("busybox")))
        assert out == "box: dockmesh/busybox:1\n"
        dev.run("stack", "deploy", "-c", "-", "s", stdin=COMPOSE)
        rows = "{{.Name}} {{.Node}} {{.Word}} {{.Container}}"
        before = dev.run("service", "ps", "s_tick", "--format", rows)
        assert before.count("box Running") == 2
        assert dev.run("service", "logs", "--raw", "s_tick") == "started\nstarted\n"
        second = subprocess.run([*MESHCTL, "dev"], capture_output=True, text=True, env=dev.environ, check=False)
        assert (second.returncode, "runs already" in second.stderr) == (2, True)
    finally:
        ended = dev.end(process)
    assert ended == (0, "")
    assert dev.children() == []

    process = dev.start()
    try:
        deadline = time.monotonic() + 30
        while dev.run("service", "ps", "s_tick", "--format", rows) != before:
            assert time.monotonic() < deadline, "the containers were not adopted"
        dev.run("stack", "rm", "s")
    finally:
        dev.end(process, signal.SIGTERM)


def test_the_children_die_with_their_parent(dev: Dev) -> None:
    process = dev.start()
    assert len(dev.children()) == 3
    dev.end(process, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while dev.children():
        assert time.monotonic() < deadline
        time.sleep(0.1)
