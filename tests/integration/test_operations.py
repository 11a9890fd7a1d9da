"""docs/operations.md and deploy/, done: servers from the example's file, a mesh, controllers and agents by their units.

The agents' engine is away all the time: what is shown is that they join, are told apart, and wait.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import free_port, nats_server_path

pytestmark = pytest.mark.timeout(180)

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PATIENCE = 60.0


class Site:
    """Three machines on one: 10.0.0.11 to 13 are ports of the loopback here, /etc and /var/lib are folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clients = [free_port() for _ in range(3)]
        self.routes = [free_port() for _ in range(3)]
        self.monitors = [free_port() for _ in range(3)]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def configure(self, change: Callable[[str], str] = str) -> None:
        """Write the three servers' files as deploy/nats/README.md says."""
        text = change((DEPLOY / "nats" / "nats-1.conf").read_text().replace("CHANGE-ME", "word"))
        for number in range(3):
            mine = text.replace('server_name: "nats-1"', f'server_name: "nats-{number + 1}"')
            mine = mine.replace('listen: "10.0.0.11:', f'listen: "10.0.0.1{number + 1}:')
            mine = mine.replace("/var/lib/dockmesh/nats", str(self.root / f"nats-{number + 1}"))
            mine = re.sub(r'http: ".*"', f'http: "127.0.0.1:{self.monitors[number]}"', mine)
            for other in range(3):
                mine = mine.replace(f"10.0.0.1{other + 1}:4222", f"127.0.0.1:{self.clients[other]}")
                mine = mine.replace(f"10.0.0.1{other + 1}:6222", f"127.0.0.1:{self.routes[other]}")
            (self.root / f"nats-{number + 1}.conf").write_text(mine)

    def start(self, name: str, *argv: str) -> None:
        """A process of the site."""
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(argv, stdout=log, stderr=log, env=self.environment())

    def credentials(self, user: str, file: str) -> Path:
        """A credentials file as docs/operations.md has it."""
        path = self.root / "etc" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        servers = [f"nats://127.0.0.1:{port}" for port in self.clients]
        path.write_text(json.dumps({"servers": servers, "user": user, "password": "word"}))
        path.chmod(0o600)
        return path

    def start_unit(self, name: str, unit: str, values: dict[str, str]) -> None:
        """Run a unit's ExecStart as systemd would, with other folders."""
        line = re.search(r"^ExecStart=(.+)$", (DEPLOY / "systemd" / unit).read_text(), re.M)
        assert line is not None
        text = line[1].replace("/etc/dockmesh", str(self.root / "etc")).replace("/opt/dockmesh/bin", str(BIN))
        text = text.replace("/var/lib/dockmesh", str(self.root / "var" / name))
        for key, value in values.items():
            text = text.replace(f"${{{key}}}", value).replace(f"${key}", value)
        assert "$" not in text, text
        self.start(name, *shlex.split(text))

    def meshctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of the operator."""
        argv = [str(BIN / "meshctl"), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, env=self.environment(), timeout=60)

    def environment(self) -> dict[str, str]:
        """Without what would name another mesh."""
        kept = {name: value for name, value in os.environ.items() if name not in ("NATS_URL", "MESH_CONTEXT")}
        return {**kept, "XDG_CONFIG_HOME": str(self.root / "config")}

    def until(self, what: str, *arguments: str, says: Callable[[str], bool]) -> None:
        """Wait until a command says it."""
        began = time.monotonic()
        while not says((done := self.meshctl(*arguments)).stdout):
            assert time.monotonic() - began < PATIENCE, f"{what}: {done.stdout}{done.stderr}"
            time.sleep(0.2)


BIN = Path(sys.executable).parent


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.configure()
    for name in ("nats-1", "nats-2", "nats-3"):
        made.start(name, nats_server_path(), "-c", str(tmp_path / f"{name}.conf"))
    yield made
    for process in made.processes.values():
        process.kill()
        process.wait()


def test_the_example_and_the_units_make_a_mesh_that_a_node_is_added_to(site: Site) -> None:
    operator = site.credentials("operator", "operator.json")
    began = time.monotonic()
    init = ("init", "--credentials", str(operator), "--context", "prod", "--mesh-id", "prod")
    while (made := site.meshctl(*init)).returncode != 0:  # the servers are still choosing their leader
        assert time.monotonic() - began < PATIENCE, made.stderr
        time.sleep(0.5)
    assert site.meshctl(*init).returncode == 0, "the same again changes nothing"
    assert site.meshctl(*init[:-1], "other").returncode == 5, "over another mesh it refuses"

    for number in (1, 2, 3):
        name = f"controller-{number}"
        # The unit's LoadCredential: systemd brings the file there.
        site.credentials(f"controller-{name}", f"{name}/controller.json")
        values = {"NAME": name, "CREDENTIALS_DIRECTORY": str(site.root / "etc" / name)}
        site.start_unit(name, "mesh-controller.service", values)
    agent(site, "node-1")
    site.until("node-1 joins", "node", "ls", "--format", "{{.Hostname}}", says=lambda text: text.split() == ["node-1"])
    site.until("all are heard", "status", says=lambda text: all(f"controller-{number}" in text for number in (1, 2, 3)))

    # A user for a new node: its block is a copy with the other name; then the servers read their files again.
    agent(site, "node-4")
    site.configure(with_another_node)
    for name in ("nats-1", "nats-2", "nats-3"):
        site.processes[name].send_signal(signal.SIGHUP)
    site.until("node-4 joins", "node", "ls", "-q", says=lambda text: text.split() == ["node-1", "node-4"])

    for name, process in site.processes.items():
        if not name.startswith("nats"):
            process.terminate()
            assert process.wait(15) == 0, f"{name} does not end well"


def agent(site: Site, node: str) -> None:
    """The unit on a node without an engine, as its env file says."""
    defaults = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "systemd" / "agent.env").read_text(), re.M))
    file = site.credentials(f"agent-{node}", f"{node}.json")
    (site.root / "etc" / "agent.json").unlink(missing_ok=True)
    (site.root / "etc" / "agent.json").hardlink_to(file)
    values = {**defaults, "NODE": node, "ENGINE": f"unix://{site.root}/none.sock", "EXTRA": "--label zone=eu"}
    site.start_unit(node, "mesh-agent.service", values)
    time.sleep(1)  # it has read the file: the next agent's goes to the same place


def with_another_node(text: str) -> str:
    """The block of node-3 once more, for node-4."""
    block = re.search(r'^      \{\n        user: "agent-node-3".*?^      \}\n', text, re.M | re.S)
    assert block is not None
    return text.replace(block[0], block[0] + block[0].replace("node-3", "node-4"))
