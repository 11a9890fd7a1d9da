"""How long does the mesh take to have 30 and 90 containers running on three engines, against plain `docker run`?

The peer is the same containers on the same engines in the same run: `docker run -d` with as many at a time per engine
as an agent has, the same host configuration; and, as a stricter peer, the bare create and start calls of the engine's
API without a program for each. Rounds alternate. Needs root: it makes a lab of its own.

    python benchmarks/deploy.py [--sizes 30,90] [--rounds 5] [--controllers 3] [--nats 3]
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agent.desk import AT_ONCE
from bus.logs import configure_logging
from lab import images
from lab.bringup import bring_up
from lab.lab import Lab
from lab.plan import make_plan
from meshctl.client import Mesh
from schemas.serviceapi import PutService, ServiceDeploy
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.version import VERSION

IMAGE = "dockmesh/busybox:1"
COMMAND = ("sleep", "100000")
SERVICE = "bench"
LOGS = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
COMPARED = ("Init", "LogConfig", "NetworkMode", "RestartPolicy", "Memory", "NanoCpus", "PortBindings", "Binds")
"""What of the host configuration has to be the same for the comparison to be fair."""
LOOK_EVERY = 0.05

Measure = Callable[[Lab, int], float]


def main() -> int:
    """Run and print a table."""
    options = _options()
    configure_logging(level=40)
    lab = bring_up(
        make_plan(f"bench-{os.getpid()}", mesh_id="bench", controllers=options.controllers, nats=options.nats)
    )
    try:
        lab.load_images([images.build("busybox")])
        _check_fair(lab)
        _print_heading(lab, options)
        for size in options.sizes:
            _print_row(size, _rounds(lab, size, options.rounds))
    finally:
        lab.down()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=[30, 90], type=lambda text: [int(each) for each in text.split(",")])
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--controllers", default=3, type=int)
    parser.add_argument("--nats", default=3, type=int)
    return parser.parse_args()


def _rounds(lab: Lab, size: int, rounds: int) -> dict[str, list[float]]:
    peers: dict[str, Measure] = {"mesh": by_mesh, "docker run": by_command, "bare API": by_api}
    took: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(rounds):
        order = list(peers) if number % 2 == 0 else list(reversed(peers))
        for name in order:
            took[name].append(peers[name](lab, size))
            _clean(lab)
    return took


def by_mesh(lab: Lab, size: int) -> float:
    """Seconds from the request until the mesh says that all run; the engines confirm it afterwards."""
    credentials = lab.credentials()

    async def measure() -> float:
        async with Mesh.connect(credentials) as mesh:
            began = time.monotonic()
            await mesh.put_service(PutService(service=ServiceDeploy(spec=_spec(), replicas=size)))
            while True:
                view = await mesh.service(SERVICE)
                if view.running == size:
                    return time.monotonic() - began
                await asyncio.sleep(LOOK_EVERY)

    took = asyncio.run(measure())
    running = sum(len(lab.engine(node).containers("mesh.task")) for node in lab.nodes)
    assert running == size, f"{running} of {size} run"
    return took


def by_command(lab: Lab, size: int) -> float:
    """Seconds until all `docker run -d` have returned."""
    argv = [shutil.which("docker") or "docker", "run", "-d", "--init", "--log-driver", LOGS["Type"]]
    argv += [word for key, value in LOGS["Config"].items() for word in ("--log-opt", f"{key}={value}")]

    def run(node: str) -> None:
        env = {**os.environ, "DOCKER_HOST": lab.engine_url(node)}
        subprocess.run([*argv, IMAGE, *COMMAND], env=env, check=True, stdout=subprocess.DEVNULL)

    return _in_parallel(lab, size, run)


def by_api(lab: Lab, size: int) -> float:
    """Seconds until create and start have returned for all."""
    host = {"LogConfig": LOGS, "RestartPolicy": {"Name": "no"}}
    return _in_parallel(lab, size, lambda node: lab.engine(node).run(IMAGE, *COMMAND, host=host))


def _in_parallel(lab: Lab, size: int, run: Callable[[str], object]) -> float:
    """As many at a time on each engine as an agent has."""
    shares = {node: size // len(lab.nodes) + (number < size % len(lab.nodes)) for number, node in enumerate(lab.nodes)}
    pools = {node: ThreadPoolExecutor(AT_ONCE) for node in lab.nodes}
    began = time.monotonic()
    jobs = [pools[node].submit(run, node) for node, share in shares.items() for _ in range(share)]
    for job in jobs:
        job.result()
    took = time.monotonic() - began
    for pool in pools.values():
        pool.shutdown()
    return took


def _spec() -> ServiceSpec:
    container = ContainerSpec(image=IMAGE, command=COMMAND, init=True, stop_grace=1.0)
    return ServiceSpec(name=SERVICE, task=TaskSpec(container=container))


def _clean(lab: Lab) -> None:
    """Nothing runs and nothing is left of the last measurement."""
    credentials = lab.credentials()

    async def remove() -> None:
        async with Mesh.connect(credentials) as mesh:
            if (await mesh.services()).services:
                await mesh.remove_services([SERVICE])
            while (await mesh.services()).services:
                await asyncio.sleep(LOOK_EVERY)

    asyncio.run(remove())
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        list(pool.map(lambda node: _clean_engine(lab, node), lab.nodes))
    time.sleep(1.0)


def _clean_engine(lab: Lab, node: str) -> None:
    engine = lab.engine(node)
    for container in engine.containers(every=True):
        engine.remove(container["Id"])


def _check_fair(lab: Lab) -> None:
    """All ways ask for the same. They also warm up what is slow only once."""
    by_mesh(lab, 3)
    ours = _host_config(lab)
    _clean(lab)
    for peer in (by_command, by_api):
        peer(lab, 3)
        theirs = _host_config(lab)
        _clean(lab)
        different = {key: (ours[key], theirs[key]) for key in COMPARED if (ours[key] or None) != (theirs[key] or None)}
        if different:
            print(f"not quite the same ({peer.__name__}): {json.dumps(different)}")


def _host_config(lab: Lab) -> dict[str, Any]:
    engine = lab.engine(lab.nodes[0])
    found: dict[str, Any] = engine.inspect(engine.containers()[0]["Id"])["HostConfig"]
    return found


def _print_heading(lab: Lab, options: argparse.Namespace) -> None:
    engine = json.loads(lab.engine(lab.nodes[0])._ask("GET", "/version"))["Version"]
    load = os.getloadavg()[0]
    print(f"machine: {os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}, load {load:.1f}")
    print(f"versions: dockmesh {VERSION}, Docker {engine}, Python {platform.python_version()}")
    print(
        f"parameters: 3 nodes, {options.controllers} controllers, {options.nats} nats-servers, "
        f"{AT_ONCE} at a time per engine, {options.rounds} rounds"
    )
    print(f"{'N':>4} {'':12} {'median s':>9} {'min':>7} {'max':>7} {'mesh is':>9}", flush=True)


def _print_row(size: int, took: dict[str, list[float]]) -> None:
    mesh = statistics.median(took["mesh"])
    for name, seconds in took.items():
        median = statistics.median(seconds)
        ratio = "" if name == "mesh" else f"{mesh / median:.2f} x"
        print(f"{size:>4} {name:12} {median:>9.2f} {min(seconds):>7.2f} {max(seconds):>7.2f} {ratio:>9}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
