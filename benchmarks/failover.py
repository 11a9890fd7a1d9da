"""How long until the mesh decides again after its leader died or stopped, and runs all replicas after a node died?

Each round is watched on the state stream as it is stored, so that nothing but the mesh itself is measured. "decides" is
the first record that the next leader stores for a change that was asked for just after the blow. What containers need
to start by themselves is measured on the same engines in the same run, and so are Docker Swarm's answer to a node's
loss (`failover_swarm.py`) and what JetStream alone takes when a stream's leader is lost (`failover_bare.py`). Needs
root: it makes a lab of its own.

    python benchmarks/failover.py [--rounds 10] [--replicas 6] [--only leader-kill,node-power,bare,swarm]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial

import failover_bare
import failover_swarm
from failover_watch import ASK_TIMEOUT, PATIENCE, SERVICE, leader, next_decision, scale, until_running, until_verdict

from benchmarks import failover_table
from bus.logs import configure_logging
from lab import images
from lab.bringup import bring_up
from lab.lab import Lab
from lab.plan import make_plan
from meshctl.client import Mesh
from schemas.serviceapi import PutService, ServiceDeploy
from schemas.spec import ContainerSpec, ServiceSpec, TaskSpec
from schemas.subjects import liveness_key
from schemas.version import VERSION

IMAGE = "dockmesh/busybox:1"
LOOK_EVERY = 0.02
WRITE_TIMEOUT = 15.0
"""Seconds for a change while a nats-server is dead (what meshctl waits): it is asked again then."""

FRESH = 4
"""Rounds after which the same number of replicas is asked for again."""

LATE = ASK_TIMEOUT + 3.2
"""Seconds after which a change that was asked for is refused as too late (`meshctl.asking`)."""

STALL = 30.0
"""Seconds that a nats-server is stopped for (SIGSTOP)."""

SERVERS = ("nats-1", "nats-2", "nats-3")


def main() -> int:
    """Run and print a table; the exit code: 0 every figure is kept, 1 one is not."""
    options = _options()
    configure_logging(level=50)
    lab = bring_up(make_plan(f"bench-{os.getpid()}", mesh_id="bench"))
    try:
        lab.load_images([images.build("busybox")])
        return 0 if asyncio.run(_measure(lab, options)) else 1
    finally:
        lab.down()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", default=10, type=int)
    parser.add_argument("--replicas", default=6, type=int)
    known = (*ROUNDS, *PEERS)
    parser.add_argument("--only", default=",".join(known), help=f"of {', '.join(known)}; default: all")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(known):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return options


async def _measure(lab: Lab, options: argparse.Namespace) -> bool:
    _print_heading(lab, options)
    async with Mesh.connect(lab.credentials()) as mesh:
        container = ContainerSpec(image=IMAGE, command=("sleep", "100000"), init=True, stop_grace=1.0)
        spec = ServiceSpec(name=SERVICE, task=TaskSpec(container=container))
        await mesh.put_service(PutService(service=ServiceDeploy(spec=spec, replicas=options.replicas)))
        await until_running(mesh, options.replicas)
        medians: dict[str, float] = {}
        missed: list[str] = []
        for only in options.only.split(","):
            rows: dict[str, list[float]] = {}
            if only in PEERS:
                rows = await PEERS[only](lab, mesh, options.replicas, options.rounds)
            for number in range(options.rounds if only in ROUNDS else 0):
                for name, seconds in (await ROUNDS[only](lab, mesh, options.replicas, number)).items():
                    rows.setdefault(name, []).append(seconds)
            for name, took in rows.items():
                print(failover_table.line(name, took), flush=True)
                missed += [] if failover_table.holds(name, took) else [name]
                medians[name] = statistics.median(took)
    _print_ratios(medians)
    print(f"missed: {', '.join(missed)}" if missed else "every figure is kept", flush=True)
    return not missed


async def leader_kill(lab: Lab, mesh: Mesh, replicas: int, number: int) -> dict[str, float]:
    """SIGKILL to the leader -> the next leader's first decision."""
    kill = partial(_signal_leader, lab, signal.SIGKILL)
    return {"leader-kill": await _leader_gone(mesh, replicas, _fresh(replicas, number), kill, lab.start)}


async def leader_cut(lab: Lab, mesh: Mesh, replicas: int, number: int) -> dict[str, float]:
    """The leader's machine is cut off: no connection is closed -> the next leader's first decision."""
    return {"leader-cut": await _leader_gone(mesh, replicas, _fresh(replicas, number), lab.cut, lab.heal)}


async def leader_stop(lab: Lab, mesh: Mesh, replicas: int, number: int) -> dict[str, float]:
    """SIGTERM to the leader -> the next leader's takeover is stored."""
    stop = partial(_signal_leader, lab, signal.SIGTERM)
    fresh = _fresh(replicas, number)
    return {"leader-stop": await _leader_gone(mesh, replicas, fresh, stop, lab.start, takeover_is_enough=True)}


def _fresh(replicas: int, number: int) -> int:
    """Replicas to scale to that no round just before has asked for: what it asked again may still come, and be done.

    A scale to what is there already would decide nothing.
    """
    return replicas + 1 + number % FRESH


def _signal_leader(lab: Lab, number: int, holder: str) -> None:
    lab.rack.host(holder).signal("controller", number)


async def _leader_gone(
    mesh: Mesh,
    replicas: int,
    fresh: int,
    blow: Callable[[str], object],
    mend: Callable[[str], object],
    *,
    takeover_is_enough: bool = False,
) -> float:
    old = await leader(mesh)
    async with mesh.bus.state.watch() as watch:
        began = time.monotonic()
        await asyncio.to_thread(blow, old.holder)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            if not takeover_is_enough:
                group.create_task(scale(mesh, fresh))
            seen = await next_decision(watch, old.holder, takeover_is_enough=takeover_is_enough)
        took = seen - began
    await asyncio.to_thread(mend, old.holder)
    await asyncio.sleep(LATE)
    await scale(mesh, replicas)
    await until_running(mesh, replicas)
    return took


async def nats_kill(lab: Lab, mesh: Mesh, replicas: int, number: int) -> dict[str, float]:
    """SIGKILL to the nats-server that leads the state stream -> the next change is accepted."""
    server = (await mesh.bus.state.info()).leader
    fresh = _fresh(replicas, number)
    return {
        "nats-kill": await _server_gone(mesh, replicas, fresh, partial(lab.kill, server), partial(lab.start, server))
    }


async def nats_stall(lab: Lab, mesh: Mesh, replicas: int, number: int) -> dict[str, float]:
    """SIGSTOP for half a minute to the nats-server that leads the state stream, and to another -> the next change."""
    rows = {}
    for name in ("nats-stall", "nats-stall-other"):
        leads = (await mesh.bus.state.info()).leader  # another one since the first was stopped
        others = [server for server in SERVERS if server != leads]
        server = leads if name == "nats-stall" else others[number % len(others)]
        stop = partial(lab.rack.host(server).signal, "nats", signal.SIGSTOP)
        wake = partial(lab.rack.host(server).signal, "nats", signal.SIGCONT)
        rows[name] = await _server_gone(mesh, replicas, _fresh(replicas, number), stop, wake, lasting=STALL)
    return rows


async def _server_gone(
    mesh: Mesh,
    replicas: int,
    fresh: int,
    blow: Callable[[], object],
    mend: Callable[[], object],
    *,
    lasting: float = 0.0,
) -> float:
    began = time.monotonic()
    try:
        await asyncio.to_thread(blow)
        async with asyncio.timeout(PATIENCE):
            await scale(mesh, fresh, timeout=WRITE_TIMEOUT)
        took = time.monotonic() - began
        await asyncio.sleep(lasting - took)
    finally:
        await asyncio.to_thread(mend)
    await asyncio.sleep(WRITE_TIMEOUT)  # what was asked twice may be done twice: before it is scaled back
    await scale(mesh, replicas, timeout=WRITE_TIMEOUT)
    await until_running(mesh, replicas)
    return took


async def leader_and_node(lab: Lab, mesh: Mesh, replicas: int, number: int) -> dict[str, float]:
    """The leader is killed and a node loses its power at the same time -> verdict -> all replicas run again."""
    holder = (await leader(mesh)).holder
    _signal_leader(lab, signal.SIGKILL, holder)
    rows = await node_power(lab, mesh, replicas, number)
    await asyncio.to_thread(lab.start, holder)
    await asyncio.sleep(2)
    return {f"both-{name.removeprefix('node-')}": seconds for name, seconds in rows.items()}


async def node_power(lab: Lab, mesh: Mesh, replicas: int, number: int) -> dict[str, float]:
    """Power off -> the verdict is stored -> all replicas run again, less what a container needs to start."""
    node = f"node-{number % len(lab.nodes) + 1}"
    others = [name for name in lab.nodes if name != node]
    lost = len(lab.engine(node).containers("mesh.task"))
    async with mesh.bus.state.watch(liveness_key(node)) as watch:
        began = time.monotonic()
        await asyncio.to_thread(lab.kill, node)
        async with asyncio.timeout(PATIENCE):
            await until_verdict(watch, "down")
        seen = time.monotonic() - began
    while sum(len(lab.engine(name).containers("mesh.task")) for name in others) < replicas:
        await asyncio.sleep(LOOK_EVERY)
    replaced = time.monotonic() - began
    start = await asyncio.to_thread(_start_time, lab, others, lost)
    await asyncio.to_thread(lab.start, node)
    while any(view.status != "ready" for view in (await mesh.nodes()).nodes):
        await asyncio.sleep(0.2)
    await mesh.scale({SERVICE: replicas + 2})
    await until_running(mesh, replicas + 2)
    await mesh.scale({SERVICE: replicas})
    await until_running(mesh, replicas)
    return {"node-seen": seen, "node-running": replaced, "node-replaced": max(0.0, replaced - seen - start)}


async def bare(lab: Lab, _mesh: Mesh, _replicas: int, rounds: int) -> dict[str, list[float]]:
    """The nats-server that leads a stream which nothing of the mesh uses is lost -> a plain client's next write."""
    return await failover_bare.measure(lab, rounds)


async def swarm(lab: Lab, mesh: Mesh, replicas: int, rounds: int) -> dict[str, list[float]]:
    """Power off of a node -> Docker Swarm, on engines that have nothing else to run."""
    await mesh.scale({SERVICE: 0})
    await until_running(mesh, 0)
    return await asyncio.to_thread(failover_swarm.measure, lab, replicas, rounds)


ROUNDS: dict[str, Callable[[Lab, Mesh, int, int], Coroutine[None, None, dict[str, float]]]] = {
    "leader-kill": leader_kill,
    "leader-cut": leader_cut,
    "leader-stop": leader_stop,
    "nats-kill": nats_kill,
    "nats-stall": nats_stall,
    "node-power": node_power,
    "leader-and-node": leader_and_node,
}

PEERS: dict[str, Callable[[Lab, Mesh, int, int], Coroutine[None, None, dict[str, list[float]]]]] = {
    "bare": bare,
    "swarm": swarm,
}


def _start_time(lab: Lab, nodes: list[str], count: int) -> float:
    """Seconds in which the engines start so many containers, one after the other on each."""
    began = time.monotonic()
    made = [(nodes[number % len(nodes)], "") for number in range(count)]
    ids = [(node, lab.engine(node).run(IMAGE, "sleep", "1000")) for node, _ in made]
    took = (time.monotonic() - began) / max(1, len(nodes))
    for node, container in ids:
        lab.engine(node).remove(container)
    return took


def _print_heading(lab: Lab, options: argparse.Namespace) -> None:
    engine = json.loads(lab.engine(lab.nodes[0])._ask("GET", "/version"))["Version"]
    load = os.getloadavg()[0]
    print(f"machine: {os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}, load {load:.1f}")
    print(f"versions: dockmesh {VERSION}, Docker {engine}, Python {platform.python_version()}")
    print(f"commit {failover_table.commit()}; {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC")
    print(f"3 controllers, 3 nats-servers, {len(lab.nodes)} nodes, {options.replicas} replicas, N {options.rounds}\n")
    print("\n".join(failover_table.HEAD), flush=True)


def _print_ratios(medians: dict[str, float]) -> None:
    for name, peer in failover_table.RATIOS:
        if {name, peer} <= medians.keys():
            print(f"\n{name} is {medians[name] / medians[peer]:.2f} x {peer}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
