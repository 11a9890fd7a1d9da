"""Networks on three real engines: names, virtual addresses, published ports, isolation; no request is lost."""

from __future__ import annotations

import ast
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.site import Site

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PYTHON = "dockmesh/python:1"
SERVER = """
import socket, threading
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', 80)); s.listen(512)
def talk(c, a):
    c.recv(4096)
    b = (socket.gethostname() + ' ' + a[0]).encode()
    c.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(b) + b); c.close()
while True:
    threading.Thread(target=talk, args=s.accept(), daemon=True).start()
"""
CLIENT = """
import socket, sys, time
def get(host, port):
    try:
        s = socket.create_connection((host, port), timeout=3); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); d = b''
        while (x := s.recv(4096)):
            d += x
        s.close()
        return d.split(b'\\r\\n\\r\\n')[1].decode()
    except OSError as error:
        return type(error).__name__
def names(name):
    try:
        return sorted({a[4][0] for a in socket.getaddrinfo(name, 80, socket.AF_INET)})
    except OSError as error:
        return [str(error)]
"""
CHECK = {"test": ["CMD", "python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 80)).close()"]}
CHECK |= {"interval": "500ms", "start_period": "5s"}


def server(*networks: str, replicas: int = 2, **more: Any) -> dict[str, Any]:
    """A service that answers with its name and the caller's address."""
    deploy = {"replicas": replicas, "update_config": {"monitor": "1s"}}
    return {
        "image": PYTHON,
        "init": True,
        "command": ["python3", "-c", SERVER.replace("$", "$$")],
        "healthcheck": CHECK,
        "stop_grace_period": "3s",
        "networks": list(networks),
        "deploy": deploy,
        **more,
    }


def client(*networks: str) -> dict[str, Any]:
    """A task on every node to ask from."""
    asker = {"image": PYTHON, "init": True, "command": ["sleep", "100000"], "stop_grace_period": "1s"}
    return {**asker, "networks": list(networks), "deploy": {"mode": "global", "update_config": {"monitor": "1s"}}}


def deploy(site: Site, stack: str, networks: dict[str, Any], **services: Any) -> None:
    """Deploy it, and wait until it runs."""
    text = json.dumps({"services": services, "networks": networks})
    site.meshctl("stack", "deploy", "-c", "-", stack, stdin=text)


def ask(site: Site, node: str, service: str, what: str) -> Any:
    """What an expression of CLIENT gives inside a task."""
    (task,) = [each for each in site.containers(service) if each.engine == node]
    argv = ["docker", "-H", "unix:///run/docker.sock", "exec", "-i", task.id, "python3", "-"]
    done = site.lab.exec(node, argv, text=f"{CLIENT}\nprint(repr({what}))")
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


def ask_machine(site: Site, machine: str, what: str) -> Any:
    """The same on a machine itself."""
    done = site.lab.exec(machine, [sys.executable, "-c", f"{CLIENT}\nprint(repr({what}))"])
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


@pytest.fixture(scope="module")
def shop(operated: Site) -> Iterator[Site]:
    """web on front and published, db on the internal back, clients on front, on back and on both."""
    deploy(
        operated,
        "shop",
        {"front": None, "back": {"internal": True}},
        web=server("front", ports=["8080:80"]),
        db=server("back"),
        both=client("front", "back"),
        outside=client("front"),
    )
    yield operated
    operated.clear()


@pytest.mark.parametrize("node", ["node-1", "node-2", "node-3"])
def test_names_lead_to_all_tasks_from_every_node(shop: Site, node: str) -> None:
    (vip,) = ask(shop, node, "shop_both", "names('web')")
    assert len(ask(shop, node, "shop_both", "names('tasks.web')")) == 2
    assert ask(shop, node, "shop_both", "[names('web.shop'), names('shop_web')]") == [[vip], [vip]]
    for name in ("web", "db"):
        answers = ask(shop, node, "shop_both", f"[get('{name}', 80) for _ in range(24)]")
        assert len({answer.split()[0] for answer in answers}) == 2, answers
        assert all(len(answer.split()) == 2 for answer in answers), answers


def test_the_callers_address_is_kept_between_containers(shop: Site) -> None:
    own = ask(shop, "node-1", "shop_outside", "socket.gethostbyname(socket.gethostname())")
    answers = ask(shop, "node-1", "shop_outside", "[get('web', 80) for _ in range(12)]")
    assert {answer.split()[1] for answer in answers} == {own}


def test_a_task_reaches_itself_by_the_name_of_its_service(shop: Site) -> None:
    node = next(iter(shop.spread("shop_web")))
    answers = ask(shop, node, "shop_web", "[get('web', 80) for _ in range(16)]")
    own = ask(shop, node, "shop_web", "socket.gethostname()")
    assert own in {answer.split()[0] for answer in answers}
    assert len({answer.split()[0] for answer in answers}) == 2, answers


def test_networks_are_apart(shop: Site) -> None:
    addresses = ask(shop, "node-1", "shop_both", "names('db') + names('tasks.db')")
    assert "not known" in ask(shop, "node-1", "shop_outside", "names('db')")[0]
    for address in addresses:
        assert ask(shop, "node-1", "shop_outside", f"get('{address}', 80)") in (
            "TimeoutError",
            "ConnectionRefusedError",
            "OSError",
        )


def test_a_published_port_answers_on_every_node_and_local_tasks_see_the_client(shop: Site) -> None:
    for node in shop.lab.plan.of("node"):
        answers = ask_machine(shop, "controller-1", f"[get('{node.address}', 8080) for _ in range(16)]")
        assert len({answer.split()[0] for answer in answers}) == 2, answers
        if node.name in shop.spread("shop_web"):
            assert "10.77.2.1" in {answer.split()[1] for answer in answers}
        here = ask_machine(shop, node.name, "[get('127.0.0.1', 8080) for _ in range(16)]")
        assert len({answer.split()[0] for answer in here}) == 2, here


def test_what_is_published_is_refused_to_others_with_the_owners_name(shop: Site) -> None:
    text = json.dumps({"services": {"web": server(ports=["8080:80"], replicas=1) | {"networks": ["default"]}}})
    said = shop.meshctl("stack", "deploy", "-c", "-", "other", stdin=text, code=5)
    assert "port 8080/tcp is published by shop_web" in said.err


def test_a_used_network_is_not_removed_and_names_its_users(shop: Site) -> None:
    said = shop.meshctl("network", "rm", "shop_front", code=6)
    assert "shop_web" in said.err
    assert "shop_front" in shop.meshctl("network", "ls").out


def test_killing_an_agent_interrupts_nothing(shop: Site) -> None:
    with Load(shop, 8.0) as counted:
        shop.lab.kill("node-1", only="agent")
        shop.lab.start("node-1", only="agent")
    assert not counted["bad"], counted
    shop.all_ready()


def test_no_request_is_lost_in_updates_and_scalings(shop: Site) -> None:
    with Load(shop, 45.0) as counted:
        shop.meshctl("service", "update", "--force", "shop_web")
        shop.meshctl("service", "scale", "shop_web=4")
        shop.meshctl("service", "scale", "shop_web=2")
    assert counted["requests"] > 100
    assert not counted["bad"], counted


class Load:
    """Short connections to every node's published port from another machine, for at most that long."""

    def __init__(self, site: Site, seconds: float) -> None:
        self._site = site
        self._counted: dict[str, Any] = {}
        hosts = [node.address for node in site.lab.plan.of("node")]
        self._script = f"""{CLIENT}
end, count, bad, hosts = time.time() + {seconds}, 0, [], {hosts}
while time.time() < end:
    answer = get(hosts[count % 3], 8080); count += 1
    if ' ' not in answer: bad.append(answer)
print({{'requests': count, 'bad': bad}})"""
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        done = self._site.lab.exec("controller-2", [sys.executable, "-c", self._script])
        self._counted |= ast.literal_eval(done.stdout)

    def __enter__(self) -> dict[str, Any]:
        self._thread.start()
        return self._counted

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def test_nothing_is_left_on_any_node_once_the_stack_is_gone(shop: Site) -> None:
    shop.meshctl("stack", "rm", "shop")
    look = "ip -br link | grep -c '[bv][rx]-m'; nft list tables | grep -c dockmesh; iptables -S | grep -c DOCKMESH"
    for node in shop.lab.nodes:
        shop.wait(
            f"nothing is left on {node}",
            lambda node=node: shop.lab.exec(node, ["sh", "-c", look]).stdout.split() == ["0", "0", "0"],
        )
