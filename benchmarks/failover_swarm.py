"""How long until Docker Swarm runs all replicas again after a node died? The peer of `benchmarks/failover.py`.

One manager on the first node, which is never killed; the others lose power in turn, everything as Swarm has it by
itself (a node is looked for every 5 s). Needs root: alone it makes a lab of its own.

    python benchmarks/failover_swarm.py [--rounds 10] [--replicas 6]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable

from lab import images
from lab.bringup import bring_up
from lab.lab import Lab
from lab.plan import make_plan

IMAGE = "dockmesh/busybox:1"
SERVICE = "bench-swarm"
LABEL = f"com.docker.swarm.service.name={SERVICE}"
PATIENCE = 120.0
LOOK_EVERY = 0.02
DOCKER = shutil.which("docker") or "docker"


class Swarm:
    """Swarm mode on the engines of a lab."""

    def __init__(self, lab: Lab, replicas: int) -> None:
        self._lab = lab
        self._replicas = replicas
        self._manager = lab.nodes[0]

    def stand(self) -> None:
        """Make it, with the service running."""
        address = self._address(self._manager)
        self._docker(self._manager, "swarm", "init", "--advertise-addr", address)
        token = self._docker(self._manager, "swarm", "join-token", "-q", "worker").strip()
        for node in self._lab.nodes[1:]:
            join = ("swarm", "join", "--advertise-addr", self._address(node), "--token", token, f"{address}:2377")
            self._docker(node, *join)
        shape = ("--replicas", str(self._replicas), "--init", "--endpoint-mode", "dnsrr", "--stop-grace-period", "1s")
        what = (IMAGE, "sleep", "100000")
        self._docker(self._manager, "service", "create", "-d", "--name", SERVICE, "--no-resolve-image", *shape, *what)
        self._until(lambda: self._running(self._lab.nodes) == self._replicas)

    def node_power(self, number: int) -> dict[str, float]:
        """Power off -> the node is told as down -> all replicas run again."""
        node = self._lab.nodes[1 + number % (len(self._lab.nodes) - 1)]
        others = tuple(name for name in self._lab.nodes if name != node)
        began = time.monotonic()
        self._lab.kill(node)
        self._until(lambda: self._status(node) == "Down")
        seen = time.monotonic() - began
        self._until(lambda: self._running(others) >= self._replicas)
        replaced = time.monotonic() - began
        self._lab.start(node)
        self._until(lambda: self._status(node) == "Ready")
        return {"swarm-seen": seen, "swarm-running": replaced}

    def leave(self) -> None:
        """Nothing of it is left."""
        self._docker(self._manager, "service", "rm", SERVICE)
        for node in reversed(self._lab.nodes):
            self._docker(node, "swarm", "leave", "--force")

    def _status(self, node: str) -> str:
        listed = self._docker(self._manager, "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
        return dict(line.split()[:2] for line in listed.splitlines()).get(node, "")

    def _running(self, nodes: tuple[str, ...]) -> int:
        return sum(len(self._lab.engine(name).containers(LABEL)) for name in nodes)

    def _address(self, node: str) -> str:
        return self._lab.plan.machine(node).address

    def _until(self, holds: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError("Swarm mode did not get there")
            time.sleep(LOOK_EVERY)

    def _docker(self, node: str, *words: str) -> str:
        environment = {**os.environ, "DOCKER_HOST": self._lab.engine_url(node)}
        done = subprocess.run([DOCKER, *words], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(words[:3])} on {node}: {done.stderr}")
        return done.stdout


def measure(lab: Lab, replicas: int, rounds: int) -> dict[str, list[float]]:
    """What each round has taken."""
    swarm = Swarm(lab, replicas)
    swarm.stand()
    rows: dict[str, list[float]] = {}
    for number in range(rounds):
        for name, seconds in swarm.node_power(number).items():
            rows.setdefault(name, []).append(seconds)
    swarm.leave()
    return rows


def main() -> None:
    """Run alone and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", default=10, type=int)
    parser.add_argument("--replicas", default=6, type=int)
    options = parser.parse_args()
    lab = bring_up(make_plan(f"bench-{os.getpid()}", mesh_id="bench", controllers=0, nats=0))
    try:
        lab.load_images([images.build("busybox")])
        for name, took in measure(lab, options.replicas, options.rounds).items():
            print(f"{name:14} {statistics.median(took):>9.2f} {max(took):>8.2f}")
    finally:
        lab.down()


if __name__ == "__main__":
    main()
