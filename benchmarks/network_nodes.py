"""For benchmarks/network.py: a lab with a server on one node, clients on the next, nothing on the third, and tools."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab import images
from lab.bringup import bring_up
from lab.lab import Lab
from lab.plan import make_plan

BENCH, PYTHON = "dockmesh/bench:1", "dockmesh/python:1"
STACK = "bench"
SERVER, CLIENT, THIRD = "node-1", "node-2", "node-3"
HAPROXY = ["haproxy", "-f"]
CONNECTIONS = 16


@contextmanager
def site() -> Iterator[Nodes]:
    """A lab with a server on one node, clients on the next, nothing on the third."""
    archives = [images.build(name) for name in ("bench", "python")]
    lab = bring_up(make_plan(f"bench-{os.getpid()}", mesh_id="bench", controllers=1, nats=1))
    try:
        lab.load_images(archives)
        with tempfile.TemporaryDirectory(prefix="dockmesh-bench-") as settings:
            bench = Nodes(lab, settings)
            bench.set_up()
            yield bench
    finally:
        lab.down()


class Nodes:
    """The lab and what runs on it. All calls block."""

    def __init__(self, lab: Lab, settings: str) -> None:
        self.lab = lab
        self.environment = {**os.environ, "XDG_CONFIG_HOME": settings}
        self.addresses = {node: lab.plan.machine(node).address for node in lab.nodes}

    def set_up(self) -> None:
        """The stack, and the peers beside it."""
        self.meshctl("context", "create", "bench", "--credentials", str(self.lab.credentials_file()), "--use")
        self.meshctl("stack", "deploy", "-c", "-", STACK, stdin=json.dumps(_stack()))
        for node in self.lab.nodes:
            # Short connections from one address: what waits is not what is asked for here.
            self._sysctl(
                node, "1", "net.ipv4.tcp_max_tw_buckets=0", "net.netfilter.nf_conntrack_tcp_timeout_time_wait=1"
            )
        # The server's, too: what it has closed itself would refuse the same port of a client that comes another way.
        for node, service in ((CLIENT, "client"), (CLIENT, "proxy"), (SERVER, "server")):
            self._sysctl(node, str(self._pid(node, service)), "net.ipv4.tcp_max_tw_buckets=0")
        engine = self.lab.engine(SERVER)
        engine.run(
            BENCH,
            *HAPROXY,
            "/etc/bench/server.cfg",
            name="peer",
            host={"PortBindings": {"80/tcp": [{"HostPort": "9080"}]}},
        )
        self.run_on(SERVER, "PORT=9081 exec haproxy -f /etc/bench/server.cfg")
        self.run_on(SERVER, "exec iperf3 -s -p 9082")
        target = f"{self.addresses[SERVER]}:9080"
        self.run_on(CLIENT, f"PORT=9083 TARGET={target} exec haproxy -f /etc/bench/proxy.cfg")
        self.run_on(CLIENT, "exec sleep 100000", name="out")
        self.run_on(THIRD, "exec sleep 100000", name="out")

    def meshctl(self, *arguments: str, stdin: str = "") -> None:
        """Run meshctl; it must succeed."""
        argv = [sys.executable, "-m", "meshctl.main", *arguments]
        done = subprocess.run(argv, env=self.environment, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def docker(self, node: str, *arguments: str) -> str:
        """Run the engine's own command on a node."""
        done = self.lab.exec(node, ["docker", "-H", "unix:///run/docker.sock", *arguments])
        assert done.returncode == 0, f"docker {arguments}: {done.stdout[-800:]}{done.stderr[-800:]}"
        return done.stdout.strip()

    def run_on(self, node: str, script: str, name: str = "") -> None:
        """A container in the node's own network."""
        self.lab.engine(node).run(BENCH, "sh", "-c", script, name=name, host={"NetworkMode": "host"})

    def container(self, service: str) -> str:
        """The container of a service."""
        for node in self.lab.nodes:
            for each in self.lab.engine(node).containers(f"mesh.service={STACK}_{service}"):
                return str(each["Id"])
        raise AssertionError(f"no {service} runs")

    def address(self, service: str, node: str) -> str:
        """The address of a service's container on the mesh's network."""
        networks = self.lab.engine(node).inspect(self.container(service))["NetworkSettings"]["Networks"]
        return str(networks[f"mesh.{STACK}_front"]["IPAddress"])

    def sent_on_by_hand(self, address: str) -> str:
        """An address that nothing of the mesh uses, sent on by one rule of nftables: the least that the kernel's
        address translation can cost."""
        free = str(ipaddress.ip_network(f"{address}/16", strict=False).broadcast_address - 1)
        rule = f'iifname "br-m*" ip daddr {free} dnat to {address}'
        text = f"table ip by_hand {{ chain prerouting {{ type nat hook prerouting priority -109; {rule}; }}; }}"
        done = self.lab.exec(CLIENT, ["nft", text])
        assert done.returncode == 0, done.stderr
        return free

    def swarm(self) -> str:
        """Swarm's overlay between the same engines: a server's address; the client's container is `swarm`."""
        self.docker(SERVER, "swarm", "init", "--advertise-addr", self.addresses[SERVER])
        token = self.docker(SERVER, "swarm", "join-token", "-q", "worker")
        self.docker(CLIENT, "swarm", "join", "--token", token, f"{self.addresses[SERVER]}:2377")
        self.docker(SERVER, "network", "create", "-d", "overlay", "--attachable", "peer")
        both = "iperf3 -s & exec haproxy -f /etc/bench/server.cfg"
        self.docker(SERVER, "run", "-d", "--init", "--network", "peer", "--name", "swarm", BENCH, "sh", "-c", both)
        self.docker(CLIENT, "run", "-d", "--init", "--network", "peer", "--name", "swarm", BENCH, "sleep", "100000")
        return self.docker(SERVER, "inspect", "-f", "{{.NetworkSettings.Networks.peer.IPAddress}}", "swarm")

    def _sysctl(self, node: str, pid: str, *settings: str) -> None:
        script = "; ".join(
            f"echo {value} > /proc/sys/{key.replace('.', '/')}"
            for key, _, value in (s.partition("=") for s in settings)
        )
        done = self.lab.exec(node, ["nsenter", "-t", pid, "-n", "--", "sh", "-c", script])
        assert done.returncode == 0, done.stderr

    def _pid(self, node: str, service: str) -> int:
        return int(self.lab.engine(node).inspect(self.container(service))["State"]["Pid"])

    def stream(self, node: str, container: str, address: str, port: int, seconds: int) -> float:
        """Gbit/s of one stream."""
        said = self.docker(node, "exec", container, "iperf3", "-c", address, "-p", str(port), "-t", str(seconds), "-J")
        return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e9

    def asked(self, node: str, container: str, to: str, seconds: int, *, alone: bool = False) -> tuple[float, ...]:
        """Requests per second, their median and p99 in milliseconds, and errors."""
        to = to if ":" in to else f"{to}:80"
        how = ["-c", "1"] if alone else ["-c", str(CONNECTIONS), "-H", "Connection: close"]
        said = self.docker(
            node, "exec", container, "wrk", "-t", "1", *how, "-d", str(seconds), "--latency", f"http://{to}/"
        )
        rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
        errors = [int(each) for each in re.findall(r"(?:connect|read|write|timeout) (\d+)", said)]
        assert rate, said
        return float(rate[1]), _milliseconds(said, "50%"), _milliseconds(said, "99%"), float(sum(errors))

    def asking(self, service: str, code: str) -> subprocess.Popen[str]:
        argv = ["docker", "-H", "unix:///run/docker.sock", "exec", "-i", self.container(service), "python3", "-c", code]
        command = self.lab.rack.host(CLIENT).command(argv)
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def python(self, service: str, code: str) -> str:
        return self.asking(service, code).communicate(timeout=120)[0]


def _stack() -> dict[str, Any]:
    """What runs on the mesh."""

    def service(image: str, node: str, *command: str, **more: Any) -> dict[str, Any]:
        deploy = {"replicas": more.pop("replicas", 1), "placement": {"constraints": [f"node.hostname=={node}"]}}
        deploy["update_config"] = {"monitor": "1s"}
        return {"image": image, "init": True, "command": list(command), "networks": ["front"], "deploy": deploy, **more}

    both = "iperf3 -s & exec haproxy -f /etc/bench/server.cfg"
    check = {"test": ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], "interval": "500ms"}
    services = {
        "server": service(BENCH, SERVER, "sh", "-c", both, ports=["8080:80"]),
        "proxy": service(
            BENCH, CLIENT, *HAPROXY, "/etc/bench/proxy.cfg", environment={"PORT": "8090", "TARGET": "tasks.server:80"}
        ),
        "client": service(BENCH, CLIENT, "sleep", "100000"),
        "asker": service(PYTHON, CLIENT, "sleep", "100000"),
        "late": service(
            BENCH, SERVER, *HAPROXY, "/etc/bench/server.cfg", replicas=0, healthcheck=check, stop_grace_period="1s"
        ),
    }
    return {"services": services, "networks": {"front": None}}


def _milliseconds(said: str, share: str) -> float:
    match = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", said)
    assert match, said
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]]
