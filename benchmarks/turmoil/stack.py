"""The stack that is up while everything else fails, and who asks it: it counts its own requests and writes.

`web` answers a number on every node's port only after `store` (redis on a volume, each write on disk) has taken it.
The caller, on the lab's switch, notes each number that was answered: at the end the store must have every one. `lease`
must never run twice: each of its containers writes down when it lived, by a clock that all of them share. `greedy`
waits for SIGUSR1, and then asks for more memory than it may have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.turmoil.audit import Life
from benchmarks.turmoil.orders import Wanted
from benchmarks.turmoil.plan import small
from meshctl.compose.load import load_stack
from meshctl.compose.sources import ComposeSource
from schemas.stackapi import DeployStack

STACK = "chaos"
PORT = 8080
STORE = ["--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", "--save", ""]
STORE += ["--appendonly", "yes", "--appendfsync", "always"]
IMAGES = ("busybox", "python", "redis")
LEASE = 25
"""Seconds: `stop_after` of `lease`. An agent that is frozen for longer than this and 10 s more could not keep it."""

RESTLESS = (f"{STACK}_crash", f"{STACK}_lease")
"""What ends though nobody ends it: `lease`, too, where no leader answers."""

GREED = "trap 'exec tail /dev/zero' USR1; while :; do sleep 0.2; done"

WEB = """
import socket, threading
def keep(number):
    with socket.create_connection(('store', 6379), timeout=2) as s:
        s.sendall(b'SADD answered ' + number + b'\\r\\n')
        return s.recv(64).startswith(b':')
def talk(c):
    try:
        c.settimeout(3)
        number = c.recv(4096).split()[1][1:]
        ok = number == b'' or keep(number)
    except (OSError, IndexError):
        ok = False
    try:
        c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nkept' if ok else b'HTTP/1.0 503 No\\r\\n\\r\\nno')
    except OSError:
        pass
    c.close()
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', 80)); s.listen(512)
while True:
    threading.Thread(target=talk, args=s.accept()[:1], daemon=True).start()
"""

WITNESS = """
import socket, time
with open('/witness/' + socket.gethostname(), 'a') as f:
    while True:
        f.write('%.2f\\n' % time.monotonic())
        f.flush()
        time.sleep(0.1)
"""

CALLER = """
import itertools, json, os, socket, sys, threading, time
out, port, nodes = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
kept, numbers, lock = open(out + '/kept', 'w'), itertools.count(1), threading.Lock()
counts = {'sent': 0, 'answered': 0, 'refused': 0, 'gap': 0.0}
last = time.monotonic()
def ask(node, number):
    answer = b''
    try:
        with socket.create_connection((node, port), timeout=2) as s:
            s.settimeout(6)
            s.sendall(b'GET /%d HTTP/1.0\\r\\n\\r\\n' % number)
            while (x := s.recv(4096)):
                answer += x
    except OSError:
        pass
    return answer
def call(node):
    global last
    while True:
        number = next(numbers)
        answer = ask(node, number)
        with lock:
            counts['sent'] += 1
            if answer.endswith(b'kept'):
                now = time.monotonic()
                counts['answered'] += 1
                counts['gap'], last = max(counts['gap'], round(now - last, 1)), now
                kept.write('%d\\n' % number)
                kept.flush()
            elif answer:
                counts['refused'] += 1
            with open(out + '/counts.new', 'w') as f:
                f.write(json.dumps(counts))
            os.replace(out + '/counts.new', out + '/counts')
        time.sleep(0.2)
for node in nodes:
    threading.Thread(target=call, args=(node,)).start()
"""


def compose(wanted: Wanted, nodes: int, folder: Path) -> str:
    """The Compose file (JSON is YAML, too). `folder`: where `lease` writes down when it lived."""
    check = {"test": ["CMD", "python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 80)).close()"]}
    web = {
        "image": "dockmesh/python:1",
        "command": ["python3", "-c", WEB.replace("$", "$$")],
        "environment": {"MARK": str(wanted.mark)},
        "healthcheck": {**check, "interval": "5s", "timeout": "5s", "retries": 5, "start_period": "10s"},
        "ports": [f"{PORT}:80"],
        "init": True,
        "stop_grace_period": "3s",
        "deploy": _deploy(wanted.replicas, order="start-first"),
    }
    store = {
        "image": "dockmesh/redis:1",
        "command": STORE,
        "volumes": ["data:/data"],
        "stop_grace_period": "5s",
        "deploy": {**_deploy(1), "placement": {"constraints": [f"node.id != {small(nodes)}"]}},  # its disk gets full
    }
    lease = {
        **_sleeper(_deploy(1)),
        "image": "dockmesh/python:1",
        "command": ["python3", "-c", WITNESS],
        "volumes": [f"{folder}:/witness"],
        "x-mesh": {"on_disconnect": {"stop_after": f"{LEASE}s"}},
    }
    memory = {"resources": {"limits": {"memory": "16M"}}}
    services = {
        "store": store,
        "web": web,
        "lease": lease,
        "steady": _sleeper(_deploy(nodes)),
        "edge": _sleeper({"mode": "global"}),
        "crash": _sleeper(_deploy(1), "sleep 3; echo no luck; exit 3"),
        "greedy": {**_sleeper({**_deploy(1), **memory}, GREED), "init": False},
    }
    return json.dumps({"services": services, "volumes": {"data": {}}})


def deploy_request(wanted: Wanted, nodes: int, folder: Path) -> DeployStack:
    """The stack as `meshctl stack deploy` would send it."""
    loaded = load_stack([ComposeSource("chaos.json", compose(wanted, nodes, folder))], stack=STACK)
    return DeployStack(stack=loaded.name, services=loaded.services, networks=loaded.networks)


def running(wanted: Wanted, nodes: int) -> dict[str, int]:
    """How many tasks of each service run once all is as it is wanted. `crash` is missing: nobody can tell."""
    names = {"store": 1, "web": wanted.replicas, "lease": 1, "steady": nodes, "edge": nodes, "greedy": 1}
    return {f"{STACK}_{name}": count for name, count in names.items()}


def _sleeper(deploy: dict[str, Any], script: str = "exec sleep 1000000") -> dict[str, Any]:
    return {
        "image": "dockmesh/busybox:1",
        "command": ["sh", "-c", script],
        "init": True,
        "stop_grace_period": "2s",
        "deploy": deploy,
    }


def _deploy(replicas: int, **update: str) -> dict[str, Any]:
    update_config = {"monitor": "1s", "failure_action": "continue", "parallelism": 2, **update}
    return {"replicas": replicas, "update_config": update_config}


def answered(folder: Path) -> set[str]:
    """The numbers that the caller had answered."""
    return set((folder / "kept").read_text().split())


def counts(folder: Path) -> dict[str, float]:
    """What the caller has counted: sent, answered, refused, and the longest gap between two answers (seconds)."""
    try:
        found: dict[str, float] = json.loads((folder / "counts").read_text())
    except (OSError, ValueError):
        return {"sent": 0, "answered": 0, "refused": 0, "gap": 0.0}
    return found


def lives(folder: Path) -> list[Life]:
    """When each container of `lease` lived."""
    found = []
    for file in sorted(folder.iterdir()):
        whole, _, _ = file.read_text().rpartition("\n")
        if words := [float(word) for word in whole.split()]:
            found.append(Life(file.name, words[0], words[-1]))
    return found
