"""How long does it take to replace 30 running tasks, ten at a time, against plain docker commands and Swarm mode?

All on the same three engines in the same run: a service of 30 replicas gets another variable; parallelism 10,
monitor 1 s, stop-first, tasks that end at once when told to. The mesh is timed from the request until its deploy is
completed: every task is up and was watched for its second. The peers: `docker stop`, `rm` and `run` of the same
containers, ten at a time, three turns, and one second of watching at the end; and Swarm mode's `docker service update`
with the same settings (endpoint mode dnsrr, no ports). Rounds alternate. Needs root: it makes a lab of its own.

    python benchmarks/rollout.py [--replicas 30] [--parallelism 10] [--rounds 3] [--no-swarm]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bus.logs import configure_logging
from lab import images
from lab.bringup import bring_up
from lab.lab import Lab
from lab.plan import make_plan
from meshctl.client import Mesh
from schemas.serviceapi import PutService, ServiceDeploy
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec, UpdatePolicy
from schemas.version import VERSION

IMAGE = "dockmesh/busybox:1"
COMMAND = ("sleep", "100000")
SERVICE = "bench"
MONITOR = 1.0
LOOK_EVERY = 0.05
PATIENCE = 180.0
DOCKER = shutil.which("docker") or "docker"
LOGS = ("--log-driver", "json-file", "--log-opt", "max-size=10m", "--log-opt", "max-file=3")
AIMS = {"docker": 1.3, "swarm": 0.6}


def main() -> int:
    """Run and print a table."""
    options = _options()
    configure_logging(level=50)
    lab = bring_up(make_plan(f"rolling-bench-{os.getpid()}", mesh_id="bench"))
    try:
        lab.load_images([images.build("busybox")])
        heading(lab, options)
        table(rounds(lab, options))
    finally:
        lab.down()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", default=30, type=int)
    parser.add_argument("--parallelism", default=10, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--no-swarm", action="store_true")
    return parser.parse_args()


def rounds(lab: Lab, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each way, in each round. They take turns, so that a machine that gets busier does so for all; none
    runs beside another."""
    ways: list[Way] = [MeshWay(lab, options), DockerWay(lab, options)]
    if not options.no_swarm:
        ways.append(SwarmWay(lab, options))
    took: dict[str, list[float]] = {way.name: [] for way in ways}
    for way in ways:
        way.stand()
    for number in range(options.rounds + 1):
        for way in ways if number % 2 else reversed(ways):
            seconds = way.change(number)
            if number:  # the first warms up
                took[way.name].append(seconds)
            print(f"  {way.name} {number}: {seconds:.2f} s", flush=True)
    for way in ways:
        way.leave()
    return took


class Way:
    """One way to run the service and to change it."""

    name = ""

    def __init__(self, lab: Lab, options: argparse.Namespace) -> None:
        self.lab = lab
        self.options = options

    def stand(self) -> None:
        """It runs."""
        raise NotImplementedError

    def change(self, number: int) -> float:
        """Replace all tasks; the seconds it took."""
        raise NotImplementedError

    def leave(self) -> None:
        """Nothing of it is left."""
        raise NotImplementedError


class MeshWay(Way):
    """Dockmesh."""

    name = "mesh"

    def stand(self) -> None:
        """The first deploy."""
        self._deploy(-1)

    def change(self, number: int) -> float:
        """From the request until the update is completed."""
        took = self._deploy(number)
        running = sum(len(self.lab.engine(node).containers("mesh.task")) for node in self.lab.nodes)
        assert running == self.options.replicas, f"{running} run"
        return took

    def leave(self) -> None:
        """Remove it."""

        async def remove() -> None:
            async with Mesh.connect(self.lab.credentials()) as mesh:
                await mesh.remove_services([SERVICE])
                while (await mesh.services()).services:
                    await asyncio.sleep(LOOK_EVERY)

        asyncio.run(remove())

    def _deploy(self, number: int) -> float:
        async def deploy() -> float:
            async with Mesh.connect(self.lab.credentials()) as mesh:
                began = time.monotonic()
                wanted = ServiceDeploy(spec=self._spec(number), replicas=self.options.replicas)
                (deployed,) = (await mesh.put_service(PutService(service=wanted))).services
                while time.monotonic() - began < PATIENCE:
                    rollout = (await mesh.service(SERVICE)).rollout
                    if rollout is not None and rollout.deploy == deployed.deploy and rollout.phase == "done":
                        return time.monotonic() - began
                    await asyncio.sleep(LOOK_EVERY)
            raise TimeoutError("the mesh did not get there")

        return asyncio.run(deploy())

    def _spec(self, number: int) -> ServiceSpec:
        container = ContainerSpec(
            image=IMAGE, command=COMMAND, init=True, stop_grace=1.0, environment={"N": str(number)}
        )
        policy = UpdatePolicy(parallelism=self.options.parallelism, monitor=MONITOR)
        return ServiceSpec(name=SERVICE, task=TaskSpec(container=container), update=policy)


class DockerWay(Way):
    """What one would do by hand: as many `docker` commands at a time as the parallelism, spread over the engines."""

    name = "docker"
    names: Sequence[tuple[str, str]] = ()

    def stand(self) -> None:
        """`docker run`, ten at a time."""
        nodes = self.lab.nodes
        self.names = [(nodes[number % len(nodes)], f"bench-{number}") for number in range(self.options.replicas)]
        with ThreadPoolExecutor(self.options.parallelism) as pool:
            list(pool.map(lambda pair: self._run(pair[0], pair[1], -1), self.names))

    def change(self, number: int) -> float:
        """In turns; then the second of watching that the others have."""
        began = time.monotonic()
        with ThreadPoolExecutor(self.options.parallelism) as pool:
            for first in range(0, len(self.names), self.options.parallelism):
                turn = self.names[first : first + self.options.parallelism]
                list(pool.map(lambda pair: self._replace(pair[0], pair[1], number), turn))
        time.sleep(MONITOR)
        return time.monotonic() - began

    def leave(self) -> None:
        """`docker rm -f`."""
        with ThreadPoolExecutor(self.options.parallelism) as pool:
            list(pool.map(lambda pair: self._docker(pair[0], "rm", "-f", pair[1]), self.names))

    def _replace(self, node: str, name: str, number: int) -> None:
        self._docker(node, "stop", "-t", "1", name)
        self._docker(node, "rm", "-f", name)
        self._run(node, name, number)

    def _run(self, node: str, name: str, number: int) -> None:
        self._docker(node, "run", "-d", "--init", *LOGS, "--name", name, "-e", f"N={number}", IMAGE, *COMMAND)

    def _docker(self, node: str, *words: str) -> None:
        docker(self.lab, node, *words)


class SwarmWay(Way):
    """Swarm mode on the same engines."""

    name = "swarm"

    def stand(self) -> None:
        """`docker swarm init` and join, then `docker service create`."""
        first, *others = self.lab.nodes
        address = self.lab.plan.machine(first).address
        docker(self.lab, first, "swarm", "init", "--advertise-addr", address)
        token = docker(self.lab, first, "swarm", "join-token", "-q", "worker").strip()
        for node in others:
            own = self.lab.plan.machine(node).address
            docker(self.lab, node, "swarm", "join", "--advertise-addr", own, "--token", token, f"{address}:2377")
        parallelism = str(self.options.parallelism)
        flags = ("--update-parallelism", parallelism, "--update-monitor", f"{MONITOR:g}s", "--update-delay", "0s")
        docker(
            self.lab,
            first,
            *("service", "create", "--name", SERVICE, "--replicas", str(self.options.replicas), "--init"),
            *("--endpoint-mode", "dnsrr", "--no-resolve-image", "--stop-grace-period", "1s", "-e", "N=-1"),
            *(*flags, *LOGS, IMAGE, *COMMAND),
        )

    def change(self, number: int) -> float:
        """From the command until Swarm says that the update is completed."""
        first = self.lab.nodes[0]
        began = time.monotonic()
        docker(self.lab, first, "service", "update", "-d", "--no-resolve-image", "--env-add", f"N={number}", SERVICE)
        while time.monotonic() - began < PATIENCE:
            state = docker(self.lab, first, "service", "inspect", "--format", "{{json .UpdateStatus}}", SERVICE)
            told = json.loads(state) or {}
            if told.get("State") == "completed" and number_of(self.lab, first) == str(number):
                return time.monotonic() - began
            time.sleep(LOOK_EVERY)
        raise TimeoutError("Swarm mode did not get there")

    def leave(self) -> None:
        """All leave."""
        docker(self.lab, self.lab.nodes[0], "service", "rm", SERVICE)
        for node in reversed(self.lab.nodes):
            docker(self.lab, node, "swarm", "leave", "--force")


def number_of(lab: Lab, node: str) -> str:
    """Which change Swarm's service has."""
    form = "{{json .Spec.TaskTemplate.ContainerSpec.Env}}"
    environment = json.loads(docker(lab, node, "service", "inspect", "--format", form, SERVICE))
    return str(environment[0].partition("=")[2])


def docker(lab: Lab, node: str, *words: str) -> str:
    """A docker command on a node's engine; what it says. Raises CalledProcessError."""
    environment = {**os.environ, "DOCKER_HOST": lab.engine_url(node)}
    done = subprocess.run([DOCKER, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(words[:3])} on {node}: {done.stderr}")
    return done.stdout


def heading(lab: Lab, options: argparse.Namespace) -> None:
    """Where and with what."""
    engine = docker(lab, lab.nodes[0], "version", "--format", "{{.Server.Version}}").strip()
    load = os.getloadavg()[0]
    print(f"machine: {os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}, load {load:.1f}")
    print(f"versions: dockmesh {VERSION}, Docker {engine}, Python {platform.python_version()}")
    print(
        f"parameters: {options.replicas} replicas on 3 nodes, parallelism {options.parallelism}, "
        f"monitor {MONITOR:g} s, stop-first, {options.rounds} rounds after one to warm up",
        flush=True,
    )


def table(took: dict[str, list[float]]) -> None:
    """A row for each way."""
    mesh = statistics.median(took["mesh"])
    print(f"{'':8} {'median s':>9} {'min':>7} {'max':>7} {'mesh is':>9} {'aim':>6}")
    for name, seconds in took.items():
        median = statistics.median(seconds)
        ratio, aim = ("", "") if name == "mesh" else (f"{mesh / median:.2f} x", f"{AIMS[name]:g} x")
        print(f"{name:8} {median:>9.2f} {min(seconds):>7.2f} {max(seconds):>7.2f} {ratio:>9} {aim:>6}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
