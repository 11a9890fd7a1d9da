"""For benchmarks/network.py: rules of many services, what changes them, and the kernel in a network namespace."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from agent.network import rules
from agent.network.entries import digest
from agent.network.machine import LinuxMachine
from agent.network.model import Shares, View, Wanted, wanted
from agent.network.names import names_of
from agent.network.presence import present
from agent.network.rules import gone
from schemas.network import AllocationRecord, Backend, EndpointsRecord, NodeRange

NETWORK, NODE = "big", "n1"
BACKENDS = 10
SETTLE = 0.1
ROUNDS = 15
"""Changes of one backend, one after the other: the median counts."""


@cache
def view(services: int) -> View:
    """So many services with a task on each of ten nodes."""
    vips = {f"s{n}": f"10.206.{n // 250}.{n % 250 + 1}" for n in range(services)}
    allocation = AllocationRecord(
        network=NETWORK,
        vni=1000,
        subnet="10.192.0.0/12",
        vips="10.206.0.0/15",
        nodes={
            f"n{k}": NodeRange(range=f"10.{192 + k}.0.0/16", gateway=f"10.{192 + k}.0.1", tunnel=f"10.77.1.{k}")
            for k in range(1, BACKENDS + 1)
        },
        services=vips,
    )
    found = {}
    for number, (name, vip) in enumerate(vips.items()):
        place = f"{number // 250}.{number % 250 + 1}"
        tasks = tuple(
            Backend(task=f"{name}-{k}", node=f"n{k}", address=f"10.{192 + k}.{place}") for k in range(1, BACKENDS + 1)
        )
        names = (name, f"shop_{name}", f"{name}.shop")
        found[f"{NETWORK}.{name}"] = EndpointsRecord(
            network=NETWORK, service=name, vip=vip, names=names, backends=tasks
        )
    sequences = {f"endpoints.{key}": number for number, key in enumerate(found, 1000)}
    return View(allocations={NETWORK: allocation}, endpoints=found, sequences=sequences)


def decide(seen: View, shares: Shares | None = None) -> Wanted:
    """What the agent makes of the records in each round; one backend does not answer."""
    digest(seen)
    seen = present(seen, NODE, {}, frozenset({"s1-2"}))
    names_of(seen, ())
    return wanted(seen, NODE, [NETWORK], 1500, frozenset(), shares)


def changes(services: int) -> Iterator[tuple[str, str, float]]:
    """What happens, nft's text for it, and the seconds that deciding took."""
    seen, shares = view(services), Shares(NODE)
    began = time.perf_counter()
    text = rules.whole(decide(seen).rules)
    yield "all at once", text, time.perf_counter() - began
    old, took, texts = decide(seen, shares).rules, list[float](), list[str]()
    for number in range(7, 7 + ROUNDS):
        key = f"{NETWORK}.s{number}"
        record = seen.endpoints[key]
        fewer = msgspec.structs.replace(record, backends=record.backends[1:])
        seen = msgspec.structs.replace(seen, endpoints={**seen.endpoints, key: fewer})
        began = time.perf_counter()
        new = decide(seen, shares).rules
        texts.append(rules.change(old, new))
        rules.left(old, new)
        took.append(time.perf_counter() - began)
        old = new
    yield "one backend leaves", texts[0], statistics.median(took)


def before(services: int, what: str) -> str:
    """What stands before."""
    return "" if what == "all at once" else rules.whole(decide(view(services)).rules)


def apply(standing: str, text: str, rounds: int) -> list[tuple[float, float]]:
    """Seconds that the change takes as the agent makes it, and its seconds of CPU; that often."""
    argv = ["unshare", "-n", sys.executable, __file__, str(rounds)]
    told = json.dumps([standing, text])
    done = subprocess.run(argv, input=told, stdout=subprocess.PIPE, text=True, check=True, env=environment())
    return [(wall, cpu) for wall, cpu in json.loads(done.stdout)]


def environment() -> dict[str, str]:
    """With the project's own modules."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}


async def _apply_here(standing: str, text: str, rounds: int) -> list[tuple[float, float]]:
    machine, took = LinuxMachine(random.Random(1)), list[tuple[float, float]]()
    for _ in range(rounds):
        await machine.rules(standing or gone())
        await asyncio.sleep(SETTLE)
        began, used = time.perf_counter(), time.process_time()
        await machine.rules(text)
        took.append((time.perf_counter() - began, time.process_time() - used))
    return took


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_apply_here(*json.load(sys.stdin), rounds=int(sys.argv[1])))))
