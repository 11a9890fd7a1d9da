"""What networks do besides carrying: open connections, flows, local ports, own processes, `connect`, `doctor`."""

from __future__ import annotations

import ast
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.site import Site
from tests.e2e.test_network_stacks import CHECK, PYTHON, ask, ask_machine, client, deploy, server

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

SLOW = """
import socket, threading, time
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', 80)); s.listen(512)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('', 53))
def talk(c):
    for _ in range(20):
        c.sendall(b'.'); time.sleep(0.2)
    c.sendall(b'!'); c.close()
def flow():
    while True:
        _, a = u.recvfrom(99); u.sendto(socket.gethostname().encode(), a)
threading.Thread(target=flow, daemon=True).start()
while True:
    threading.Thread(target=talk, args=s.accept()[:1], daemon=True).start()
"""
FLOW = """
import socket, time
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(0.1); u.connect((%r, 5353))
end, heard = time.time() + %f, []
while time.time() < end:
    try:
        u.send(b'x'); heard.append(u.recv(99).decode())
    except OSError:
        heard.append('')
    time.sleep(0.05)
print(repr(heard))
"""
OTHERS = (
    "import socket, time; s = socket.socket(); s.bind(('', 8093)); s.listen(); print('up', flush=True); time.sleep(600)"
)


@pytest.fixture(scope="module")
def kit(operated: Site) -> Iterator[Site]:
    """Services for each of it; port 8093 is another program's on node-2."""
    slow = server("net", ports=["8090:80", "5353:53/udp"], replicas=3)
    with operated.program("node-2", "others", sys.executable, "-c", OTHERS) as log:
        operated.wait("the other program listens", lambda: log.exists() and "up" in log.read_text())
        deploy(
            operated,
            "kit",
            {"net": None},
            web=server("net", ports=["8092:80"]),
            near=server("net", ports=["8091:80"], replicas=1) | {"x-mesh": {"publish": "local"}},
            taken=server("net", ports=["8093:80"], replicas=1),
            slow=slow | {"command": ["python3", "-c", SLOW], "stop_grace_period": "10s", "healthcheck": CHECK},
            asker=client("net"),
        )
        yield operated
    operated.clear()


def address(site: Site, node: str) -> str:
    """Of a node on the lab's switch."""
    return next(each.address for each in site.lab.plan.of("node") if each.name == node)


def test_a_nodes_own_processes_reach_virtual_addresses(kit: Site) -> None:
    (vip,) = ask(kit, "node-1", "kit_asker", "names('web')")
    for node in kit.lab.nodes:
        answers = ask_machine(kit, node, f"[get('{vip}', 80) for _ in range(16)]")
        assert len({answer.split()[0] for answer in answers}) == 2, answers
        assert all(len(answer.split()) == 2 for answer in answers), answers


def test_a_local_port_shows_the_client_and_other_nodes_refuse(kit: Site) -> None:
    (home,) = kit.spread("kit_near")
    for node in kit.lab.nodes:
        answers = ask_machine(kit, "controller-1", f"[get('{address(kit, node)}', 8091) for _ in range(4)]")
        if node == home:
            assert {answer.split()[-1] for answer in answers} == {"10.77.2.1"}, answers
        else:
            assert set(answers) == {"ConnectionRefusedError"}, answers


def test_a_taken_port_is_told_by_status_and_ps(kit: Site) -> None:
    said = kit.meshctl("status").out
    assert "service kit_taken: port 8093/tcp is taken on this node" in said
    assert "(on node-2)" in said
    assert "port 8093/tcp is taken" in kit.meshctl("service", "ps", "kit_taken").err


def test_open_connections_end_well_and_flows_go_on_elsewhere(kit: Site) -> None:
    target, heard = address(kit, "node-1"), dict[str, Any]()
    whole = f"""
import socket, threading
got = []
def read():
    s = socket.create_connection(({target!r}, 8090), timeout=10); d = b''
    try:
        while (x := s.recv(99)):
            d += x
    except OSError as error:
        d = repr(error).encode()
    got.append(d.decode())
threads = [threading.Thread(target=read) for _ in range(12)]
[t.start() for t in threads]; [t.join() for t in threads]
print(repr(got))"""

    def run(name: str, script: str) -> None:
        heard[name] = ast.literal_eval(kit.lab.exec("controller-1", [sys.executable, "-c", script]).stdout)

    scripts = {"open": whole, "flow": FLOW % (target, 12.0)}
    threads = [threading.Thread(target=run, args=each) for each in scripts.items()]
    for thread in threads:
        thread.start()
    kit.wait("connections are open", lambda: "ESTAB" in kit.lab.exec("controller-1", ["ss", "-tn"]).stdout)
    kit.meshctl("service", "scale", "kit_slow=1")
    for thread in threads:
        thread.join()
    assert set(heard["open"]) == {"." * 20 + "!"}, heard["open"]
    (left,) = {task.id[:12] for task in kit.containers("kit_slow")}
    assert set(heard["flow"][-10:]) == {left}, heard["flow"]
    assert heard["flow"].count("") < 20, heard["flow"]


def test_a_service_is_connected_to_a_further_network_and_taken_off_it(kit: Site) -> None:
    kit.meshctl("network", "create", "extra")
    kit.meshctl("network", "connect", "--alias", "helper", "extra", "kit_web")
    kit.meshctl("service", "create", "--name", "guest", "--network", "extra", PYTHON, "sleep", "100000")
    (node,) = kit.spread("guest")
    assert len(ask(kit, node, "guest", "names('tasks.helper')")) == 2
    assert " " in ask(kit, node, "guest", "get('helper', 80)")
    assert "not known" in ask(kit, node, "guest", "names('near')")[0]
    kit.meshctl("service", "rm", "guest")
    kit.meshctl("network", "disconnect", "extra", "kit_web")
    kit.meshctl("network", "rm", "extra")


def doctor(site: Site) -> list[tuple[str, str, str]]:
    """(node, peer, what is wrong) of all that the doctor finds but the taken port."""
    said = site.run("network", "doctor", "--format", "json")
    found = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 1, "the taken port is always told"
    return [(each["Node"], each["Peer"], each["Result"]) for each in found if "8093" not in each["Result"]]


@contextmanager
def broken(site: Site, node: str, how: str, mend: str) -> Iterator[None]:
    """A node with something wrong."""
    done = site.lab.exec(node, ["sh", "-ec", how])
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        site.lab.exec(node, ["sh", "-c", mend])


FILTER = """
nft add table inet wall
nft 'add chain inet wall in {{ type filter hook input priority -300; }}'
nft add rule inet wall in {}
"""


def _is_told(found: list[tuple[str, str, str]]) -> bool:
    """The node's line to NATS suffers from its MTU, too, until it is opened anew: it may not answer the first time."""
    return any(node == "node-2" and "packets of 1300 bytes" in why for node, _, why in found)


def test_the_doctor_finds_what_is_broken_and_why(kit: Site) -> None:
    assert doctor(kit) == []
    assert "checks on 3 nodes failed" in kit.run("network", "doctor").err
    with broken(kit, "node-2", FILTER.format("udp dport 4789 drop"), "nft delete table inet wall"):
        found = doctor(kit)
        assert {(node, peer) for node, peer, _ in found} >= {("node-1", "node-2"), ("node-3", "node-2")}, found
        assert any("tunnel packets do not get through" in why for _, peer, why in found if peer == "node-2"), found
        others = {why for node, peer, why in found if "node-2" not in (node, peer)}
        assert all("published" in why for why in others), found  # what others publish, tasks on node-2 may answer
    rule = "'iifname \"br-m*\" udp dport 53 drop'"
    with broken(kit, "node-2", FILTER.format(rule), "nft delete table inet wall"):
        found = doctor(kit)
        assert {(node, peer) for node, peer, _ in found} == {("node-1", "node-2"), ("node-3", "node-2")}, found
        assert all("name server of node-2" in why for _, _, why in found), found
    (vip,) = ask(kit, "node-1", "kit_asker", "names('web')")
    inside = f"{vip.rpartition('.')[0].rpartition('.')[0]}.100.0/24"
    with broken(kit, "node-2", f"ip route add {inside} dev lo", f"ip route del {inside} dev lo"):
        found = doctor(kit)
        assert [(node, f"routes {inside}, which overlaps" in why) for node, _, why in found] == [("node-2", True)], (
            found
        )
    device = f"$(ip -o -4 addr show to {address(kit, 'node-2')} | awk '{{print $2; exit}}')"
    with broken(
        kit, "node-2", f"ip link set {device} mtu 1300", f"ip link set {device} mtu 1500; ip route flush cache"
    ):
        for _ in range(2):  # the second time its agent has noticed, too
            kit.wait("the smaller MTU is told", lambda: _is_told(doctor(kit)))
    assert doctor(kit) == []
