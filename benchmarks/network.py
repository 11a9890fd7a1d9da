"""How fast are the mesh's networks? Ratios, each against a peer that was measured in the same run on the same nodes.

Overlay against host to host and against Swarm's own overlay; virtual addresses and published ports against the direct
way and against haproxy; changes of the rules at size; names; and how soon a healthy task gets its first request.
Needs root: it makes a lab of its own. All nodes share this machine's CPUs: read the ratios, not the figures.

    python benchmarks/network.py [--only overlay,ways,rules,names,first] [--rounds 3] [--seconds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import network_rules as sizes
from network_nodes import CLIENT, CONNECTIONS, SERVER, STACK, THIRD, Nodes, site

from bus.logs import configure_logging
from schemas.version import VERSION

QUIET = 5.0
"""Seconds between two scalings: who has told much waits longer until it tells again (agent.allowance)."""
PAUSE = 1.5
"""Seconds between two measurements: conntrack forgets the connections of the last."""
PARTS = ("rules", "overlay", "ways", "names", "first")

Row = Mapping[str, list[float]]


def main() -> int:
    """Run and print tables."""
    options = _options()
    configure_logging(level=40)
    load = os.getloadavg()[0]
    print(f"machine: {os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}, load {load:.1f}")
    print(f"versions: dockmesh {VERSION}, {_line('nft', '--version')}, {_line('dockerd', '--version')}")
    print(f"parameters: {options.rounds} rounds of {options.seconds} s, {CONNECTIONS} connections\n")
    if "rules" in options.only:
        measure_rules(options.rounds)
    if set(options.only) - {"rules"}:
        with site() as nodes:
            bench = Bench(nodes)
            for part in PARTS[1:]:
                if part in options.only:
                    getattr(bench, f"measure_{part}")(options.rounds, options.seconds)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=list(PARTS), type=lambda text: text.split(","))
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--seconds", default=3, type=int)
    return parser.parse_args()


def _line(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]


# --- rules ------------------------------------------------------------------------------------------------------------


def measure_rules(rounds: int) -> None:
    """The agent's own code and the kernel, in a network namespace of its own, at 10 backends a service."""
    print(f"{'rules: services x 10 backends':34} {'decide ms':>10} {'nft ms':>8} {'nft CPU ms':>11}")
    for services in (1000, 5000):
        for what, text, took in sizes.changes(services):
            walls, cpus = zip(*sizes.apply(sizes.before(services, what), text, rounds), strict=True)
            row = f"{took * 1e3:>10.1f} {statistics.median(walls) * 1e3:>8.1f} {statistics.median(cpus) * 1e3:>11.1f}"
            print(f"{services:>5} {what:28} {row}", flush=True)
    print()


# --- on nodes ---------------------------------------------------------------------------------------------------------


class Bench:
    """What is measured on nodes. All calls block."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes

    def measure_overlay(self, rounds: int, seconds: int) -> None:
        """Throughput of one stream, and how long one answer takes; against the host's network and Swarm's overlay."""
        swarm = self.nodes.swarm()
        host, ours = self.nodes.addresses[SERVER], self.nodes.address("server", SERVER)
        streams: dict[str, Callable[[], float]] = {
            "host to host": lambda: self.nodes.stream(CLIENT, "out", host, 9082, seconds),
            "overlay": lambda: self.nodes.stream(CLIENT, self.nodes.container("client"), ours, 5201, seconds),
            "Swarm's overlay": lambda: self.nodes.stream(CLIENT, "swarm", swarm, 5201, seconds),
        }
        _table("one stream, Gbit/s", _rounds(streams, rounds), ("host to host", "Swarm's overlay"))
        answers: dict[str, Callable[[], tuple[float, ...]]] = {
            "host to host": lambda: self.nodes.asked(CLIENT, "out", f"{host}:9081", seconds, alone=True),
            "overlay": lambda: self.nodes.asked(CLIENT, self.nodes.container("client"), ours, seconds, alone=True),
            "Swarm's overlay": lambda: self.nodes.asked(CLIENT, "swarm", swarm, seconds, alone=True),
        }
        self._requests("one connection kept open", answers, rounds, ("host to host", "Swarm's overlay"))
        for node in (CLIENT, SERVER):
            self.nodes.docker(node, "swarm", "leave", "--force")

    def measure_ways(self, rounds: int, seconds: int) -> None:
        """Short connections: a connection for each request."""
        ours, client = self.nodes.address("server", SERVER), self.nodes.container("client")
        by_hand = self.nodes.sent_on_by_hand(ours)
        inside: dict[str, Callable[[], tuple[float, ...]]] = {
            "direct": lambda: self.nodes.asked(CLIENT, client, ours, seconds),
            "virtual address": lambda: self.nodes.asked(CLIENT, client, "server", seconds),
            "one rule by hand": lambda: self.nodes.asked(CLIENT, client, by_hand, seconds),
            "haproxy": lambda: self.nodes.asked(CLIENT, client, f"{self.nodes.address('proxy', CLIENT)}:8090", seconds),
        }
        self._requests("from a container", inside, rounds, ("direct", "one rule by hand", "haproxy"))
        server, other = self.nodes.addresses[SERVER], self.nodes.addresses[CLIENT]
        outside: dict[str, Callable[[], tuple[float, ...]]] = {
            "direct": lambda: self.nodes.asked(THIRD, "out", f"{server}:9081", seconds),
            "engine's own -p": lambda: self.nodes.asked(THIRD, "out", f"{server}:9080", seconds),
            "published, task there": lambda: self.nodes.asked(THIRD, "out", f"{server}:8080", seconds),
            "published, task elsewhere": lambda: self.nodes.asked(THIRD, "out", f"{other}:8080", seconds),
            "haproxy, task elsewhere": lambda: self.nodes.asked(THIRD, "out", f"{other}:9083", seconds),
        }
        self._requests("from outside", outside, rounds, ("direct", "engine's own -p", "haproxy, task elsewhere"))

    def measure_names(self, rounds: int, seconds: int) -> None:
        """Questions per second of the agent, and how long one takes: asked directly, and by the engine's resolver."""
        print(f"{'names':34} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8} {'alone p99':>10}")
        gateway = self.nodes.address("asker", CLIENT).rsplit(".", 1)[0] + ".1"
        for what, server in (("agent", gateway), ("agent by the engine's resolver", "127.0.0.11")):
            said = [self.nodes.python("asker", f"{ASK_NAMES}\nrun({server!r}, {seconds})") for _ in range(rounds)]
            columns = [statistics.median(each) for each in zip(*map(json.loads, said), strict=True)]
            print(
                f"{what:34} {columns[0]:>10.0f} {columns[1]:>8.2f} {columns[2]:>8.2f} {columns[3]:>10.2f}", flush=True
            )
        print()

    def measure_first(self, rounds: int, _seconds: int) -> None:
        """From a task's first good health check to the first request that another node's container gets answered."""
        took = []
        for _ in range(max(5, rounds)):
            asking = self.nodes.asking("asker", f"{ASK_FIRST}\nrun('late')")
            self.nodes.meshctl("service", "scale", f"{STACK}_late=1")
            answered = float(asking.communicate(timeout=60)[0])
            log = self.nodes.lab.engine(SERVER).inspect(self.nodes.container("late"))["State"]["Health"]["Log"]
            healthy = next(each["End"] for each in log if each["ExitCode"] == 0)
            took.append((answered - datetime.fromisoformat(healthy[:26].rstrip("Z") + "+00:00").timestamp()) * 1000)
            self.nodes.meshctl("service", "scale", f"{STACK}_late=0")
            time.sleep(QUIET)
        median = statistics.median(took)
        print(f"{'healthy to first request, ms':34} N {len(took)}, median {median:.0f}, most {max(took):.0f}\n")

    def _requests(
        self, what: str, ways: Mapping[str, Callable[[], tuple[float, ...]]], rounds: int, peers: tuple[str, ...]
    ) -> None:
        found = _rounds(ways, rounds)
        ratios = "".join(f" {f'/ {peer}':>24}" for peer in peers)
        print(f"{what:34} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8} {'errors':>7}{ratios}")
        for name, rows in found.items():
            rate, p50, p99, errors = (statistics.median(column) for column in zip(*rows, strict=True))
            against = [statistics.median(row[0] for row in found[peer]) for peer in peers]
            text = "".join(f" {rate / each:>22.2f} x" for each in against)
            print(f"{name:34} {rate:>10.0f} {p50:>8.2f} {p99:>8.2f} {errors:>7.0f}{text}", flush=True)
        print()


ASK_NAMES = """
import socket, time
def question(number):
    return number.to_bytes(2, 'big') + bytes.fromhex('01000001000000000000') + b'\\x06server\\0\\0\\1\\0\\1'
def spread(times):
    times = sorted(times)
    return times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000
def run(server, seconds, window=16):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((server, 53)); s.settimeout(2)
    alone = []
    for number in range(500):
        began = time.perf_counter(); s.send(question(number)); s.recv(600); alone.append(time.perf_counter() - began)
    sent, took, number = {}, [], 1000
    end = time.perf_counter() + seconds
    while (now := time.perf_counter()) < end:
        while len(sent) < window:
            number = 1000 + (number + 1) % 60000
            sent[number] = time.perf_counter(); s.send(question(number))
        answer = s.recv(600)
        if (began := sent.pop(int.from_bytes(answer[:2], 'big'), None)) is not None:
            took.append(time.perf_counter() - began)
    print([len(took) / seconds, *spread(took), spread(alone)[1]])
"""
ASK_FIRST = """
import socket, time
def run(name):
    end = time.time() + 50
    while time.time() < end:
        try:
            s = socket.create_connection((name, 80), timeout=0.5); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
            if s.recv(100):
                print(time.time())
                return
        except OSError:
            time.sleep(0.003)
"""


def _rounds(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Each once a round, forwards and backwards in turn."""
    found: dict[str, list[Any]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways) if number % 2 == 0 else list(ways)[::-1]:
            found[name].append(ways[name]())
            time.sleep(PAUSE)
    return found


def _table(what: str, found: Row, peers: tuple[str, ...]) -> None:
    print(f"{what:34} {'median':>10} {'min':>8} {'max':>8}" + "".join(f" {f'/ {peer}':>24}" for peer in peers))
    for name, values in found.items():
        median = statistics.median(values)
        text = "".join(f" {median / statistics.median(found[peer]):>22.2f} x" for peer in peers)
        print(f"{name:34} {median:>10.2f} {min(values):>8.2f} {max(values):>8.2f}{text}", flush=True)
    print()


if __name__ == "__main__":
    sys.exit(main())
