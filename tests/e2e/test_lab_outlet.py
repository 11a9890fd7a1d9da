"""The way out of a lab: nodes and containers reach what the host reaches, and not the host's own loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import outlet
from lab.bringup import bring_up
from lab.lab import Lab
from lab.plan import make_plan
from tests.conftest import free_port
from tests.e2e.conftest import BUSYBOX, fresh_name
from tests.e2e.programs import program
from tests.e2e.registry import NOT_NEEDED, write_config

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).status)"


@dataclass(frozen=True)
class Outside:
    """A registry that listens on the host, on its address and on its loopback."""

    address: str
    port: int

    @property
    def registry(self) -> str:
        """What images in it are named after."""
        return f"{self.address}:{self.port}"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """A registry on the host."""
    listed = json.loads(subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, check=True).stdout)
    own = [each["local"] for link in listed for each in link["addr_info"] if each["scope"] == "global"]
    assert own, "this machine has no address but its loopback's"
    there = Outside(own[0], free_port())
    config = write_config(tmp_path_factory.mktemp("registry"), f":{there.port}", login=False)
    binary = program("docker-registry", without=NOT_NEEDED) / "docker-registry"
    with subprocess.Popen([binary, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((there.address, there.port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the registry does not listen"
                time.sleep(0.02)
        yield there
        process.terminate()


@pytest.fixture(scope="module")
def open_lab(outside: Outside, archives: dict[str, Path]) -> Iterator[Lab]:
    """One engine in a lab with a way out, which may speak plain HTTP with the registry."""
    carrier = program(outlet.PROGRAM, without=("libc6",))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outlet, "SEARCH", f"{carrier}:{outlet.SEARCH}")
        settings = json.dumps({"insecure-registries": [outside.registry]})
        patched.setattr("lab.configs.engine_config", lambda outlet: settings)
        assert outlet.find() is not None
        lab = bring_up(make_plan(fresh_name(), mesh_id="m", nodes=1, controllers=0, nats=0, outlet=True))
        try:
            lab.load_images([archives[BUSYBOX]])
            yield lab
        finally:
            lab.down()


def test_a_node_reaches_what_the_host_reaches_but_not_its_loopback(open_lab: Lab, outside: Outside) -> None:
    there = open_lab.exec("node-1", [sys.executable, "-c", GET, f"http://{outside.registry}/v2/"])
    assert there.stdout.strip() == "200", there.stderr[-500:]
    loopback = open_lab.exec("node-1", [sys.executable, "-c", GET, f"http://10.0.2.2:{outside.port}/v2/"])
    assert loopback.returncode != 0


def test_a_container_reaches_it_through_its_node(open_lab: Lab, outside: Outside) -> None:
    engine = open_lab.engine("node-1")
    ask = f"printf 'GET /v2/ HTTP/1.0\\r\\n\\r\\n' | nc -w 10 {outside.address} {outside.port} | grep -q '200 OK'"
    made = engine.run(BUSYBOX, "sh", "-c", ask)
    try:
        deadline = time.monotonic() + 30
        while engine.inspect(made)["State"]["Running"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert engine.inspect(made)["State"]["ExitCode"] == 0
    finally:
        engine.remove(made)


def test_an_engine_pulls_through_it(open_lab: Lab, outside: Outside) -> None:
    engine = open_lab.engine("node-1")
    name = f"{outside.registry}/busybox"
    engine.post(f"/images/{BUSYBOX}/tag?repo={name}&tag=1")
    word = {"X-Registry-Auth": "e30="}
    assert b'"error"' not in engine.post(f"/images/{name}/push?tag=1", word)
    engine.remove_image(f"{name}:1")
    assert b'"error"' not in engine.post(f"/images/create?fromImage={name}&tag=1")
    assert engine.image_id(f"{name}:1") == engine.image_id(BUSYBOX)
