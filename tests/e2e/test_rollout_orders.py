"""Updates on three real engines: every order with every failure action, by a failing health check, and back again."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeImage
from tests.e2e.site import Site, compose, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

HEALTH = {"interval": "500ms", "timeout": "2s", "retries": 2, "start_period": "1s"}


def web(version: str, *, healthy: bool = True, **policy: Any) -> dict[str, Any]:
    check = {"test": ["CMD-SHELL", "true" if healthy else "echo not well; false"], **HEALTH}
    update = {"monitor": "2s", **policy}
    back = {"monitor": "1s", "order": update.get("order", "stop-first")}
    return worker(
        f": version {version}; exec sleep 100000",
        replicas=3,
        healthcheck=check,
        environment={"VERSION": version},
        deploy={"update_config": update, "rollback_config": back},
    )


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
@pytest.mark.parametrize("action", ["pause", "continue", "rollback"])
def test_a_failing_health_check_does_what_the_file_says(site: Site, order: str, action: str) -> None:
    name = f"h-{order[:2]}-{action}"
    site.deploy(name, web=web("1"))
    before = site.ids(f"{name}_web")
    bad = web("2", healthy=False, order=order, failure_action=action)
    if action == "continue":
        bad["x-mesh"] = {"rollout": {"progress_deadline": "15s"}}
    said = site.deploy(name, code=8, web=bad)
    runs = [found.id for found in site.containers(f"{name}_web") if found.state == "running"]
    if action == "rollback":
        assert "rolled back from revision 2 to revision 1" in said.all
        assert "unhealthy" in said.all
        assert len(runs) == 3
        if order == "start-first":
            assert set(runs) == before
    elif action == "pause":
        assert "paused: 1 of 3 replaced tasks failed" in said.all
        assert len(before & set(runs)) == (3 if order == "start-first" else 2)
    site.meshctl("stack", "rm", name)


def test_a_container_changed_by_hand_is_told_and_replaced_if_that_is_asked_for(site: Site) -> None:
    limits = {"resources": {"limits": {"memory": "64m"}}}
    site.deploy("drift", web=worker(deploy=limits))
    assert "drift_web" not in site.meshctl("drift").out
    began = site.now()
    (found,) = site.containers("drift_web")
    engine = site.lab.engine(found.engine)
    engine.post(f"/containers/{found.id}/rename?name=mine")
    engine.post(f"/containers/{found.id}/pause")
    said = site.meshctl("drift", "--no-trunc").out
    assert "state is paused, not running" in said
    assert "name is mine, not drift_web.1." in said
    assert site.ids("drift_web") == {found.id}, "it is only told"
    site.wait("it is told", lambda: bool(site.events(began - 1, kinds=("task.drifted",), service="drift_web")))
    asked = worker(deploy=limits)
    asked["x-mesh"] = {"drift": "replace"}
    site.deploy("drift", web=asked)
    (found,) = site.containers("drift_web")
    site.lab.engine(found.engine).post(f"/containers/{found.id}/rename?name=mine-too")
    site.wait("it is replaced", lambda: bool(site.ids("drift_web") - {found.id}))
    site.settle("drift_web", 1)
    site.meshctl("stack", "rm", "drift")


def test_limits_networks_stops_and_moved_tags_are_told(site: Site, make_image: MakeImage) -> None:
    site.lab.load_images([make_image("hands:1", "old")])
    limits = {"resources": {"limits": {"memory": "64m"}}}
    site.deploy("hands", web=worker(image="hands:1", replicas=2, deploy=limits))
    began = site.now()
    changed, stopped = site.containers("hands_web")
    engine = site.lab.engine(changed.engine)
    engine.change(f"/containers/{changed.id}/update", Memory=96 << 20, MemorySwap=192 << 20)
    engine.change("/networks/bridge/disconnect", Container=changed.id, Force=True)
    site.lab.engine(stopped.engine).post(f"/containers/{stopped.id}/stop")
    site.lab.load_images([make_image("hands:1", "new")])
    said = site.meshctl("drift", "--no-trunc").out
    for told in ("memory is 100663296, not 67108864", "network bridge is missing", "image tag is"):
        assert told in said

    def by_hand() -> bool:
        events = site.events(began - 1, kinds=("task.drifted",), service="hands_web")
        return any(event.why == "state is stopped by hand, not running" for event in events)

    site.wait("the stop is told", by_hand)
    site.settle("hands_web", 2)
    assert changed.id in site.ids("hands_web"), "it is only told"
    assert stopped.id not in site.ids("hands_web"), "its restart policy has replaced it"
    site.meshctl("stack", "rm", "hands")


def test_a_node_unlike_the_others_is_marked(site: Site) -> None:
    first, odd = site.lab.nodes[:2]
    path = "/proc/sys/net/core/somaxconn"
    before = site.lab.exec(odd, ["cat", path]).stdout.strip()
    assert site.lab.exec(odd, ["sh", "-c", f"echo 777 > {path}"]).returncode == 0
    try:
        site.lab.stop(odd, only="agent")
        site.lab.start(odd)  # a new agent surveys at once
        site.wait("it is marked", lambda: "net.core.somaxconn" in site.meshctl("node", "ls").out)
        marked = site.meshctl("node", "ls", "--format", "{{.Hostname}}: {{.Differs}}").out.splitlines()
        assert f"{odd}: net.core.somaxconn" in marked
        said = site.meshctl("node", "diff", first, odd).out
        assert ["net.core.somaxconn", before, "777"] in [line.split() for line in said.splitlines()]
    finally:
        site.lab.exec(odd, ["sh", "-c", f"echo {before} > {path}"])


def test_a_good_update_start_first_and_back_to_the_first_revision(site: Site) -> None:
    for version in ("1", "2", "3", "4"):
        site.deploy("back", web=web(version, order="start-first"))
    assert "revision 1" in site.meshctl("service", "rollback", "back_web", "--to", "1").out
    site.settle("back_web", 3)
    assert "VERSION" in site.meshctl("service", "diff", "back_web", "1..4").out
    shown = site.meshctl("service", "history", "back_web").out
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["4", "3", "2", "1"]


def test_a_stack_comes_up_in_order_over_nodes_each_task_prepared_and_apart(site: Site) -> None:
    """The job ends, then db is healthy after its own preparation, then web starts; and web runs beside neither."""
    check = {"test": ["CMD-SHELL", "test -e /data/ready"], **HEALTH, "start_period": "20s"}
    db = worker(
        "test -e /data/prepared && sleep 2; touch /data/ready; exec sleep 100000",
        healthcheck=check,
        volumes=["state:/data"],
        depends_on={"migrate": {"condition": "service_completed_successfully"}},
    )
    db["x-mesh"] = {"pre_start": [{"command": ["sh", "-c", "sleep 1; touch /data/prepared"]}]}
    web = worker(replicas=2, depends_on={"db": {"condition": "service_healthy"}})
    web["x-mesh"] = {"placement": {"anti_affinity": ["web", "db"]}}
    migrate = worker("sleep 2; exit 0", restart="on-failure")
    began = site.now()
    site.deploy("order", migrate=migrate, db=db, web=web, volumes=("state",))
    first: dict[tuple[str, str], int] = {}
    for event in site.events(began - 1, kinds=("task.created", "task.exited", "task.healthy")):
        first.setdefault((event.service, event.kind), len(first))
    order = [("order_migrate", "task.exited"), ("order_db", "task.created"), ("order_db", "task.healthy")]
    order.append(("order_web", "task.created"))
    assert [first[each] for each in order] == sorted(first[each] for each in order)
    nodes = [found.node for name in ("db", "web") for found in site.containers(f"order_{name}")]
    assert len(set(nodes)) == 3
    site.meshctl("stack", "rm", "order")


CLIENT = """
import http.client, pathlib, sys, time
stop, answered, failed = pathlib.Path(sys.argv[1]), 0, 0
def ask(address):
    connection = http.client.HTTPConnection(address, 18080, timeout=2)
    try:
        connection.request('GET', '/')
        return connection.getresponse().read() == b'well' + bytes([10])
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
while not stop.exists():
    good = any(ask(address) for address in sys.argv[2:])
    answered, failed = answered + good, failed + (not good)
    time.sleep(0.02)
print(answered, failed)
"""
SLOW = "mkdir /tmp/www; (sleep 1; echo well > /tmp/www/index.html) & exec httpd -f -p 8080 -h /tmp/www"
READY = {"ready": {"http": ":8080/", "interval": "1s", "timeout": "1s", "retries": 2}}


def test_a_drain_is_not_noticed_by_who_uses_the_ports(site: Site, tmp_path: Path) -> None:
    """One replica that takes a second to be ready, without a health check; every node's port is tried in turn."""
    ports = [{"target": 8080, "published": 18080, "mode": "host"}]
    site.deploy("drained", web=worker(SLOW, ports=ports, **{"x-mesh": READY}))
    (holder,) = site.spread("drained_web")
    stop = tmp_path / "stop"
    addresses = [site.lab.plan.machine(node).address for node in site.lab.nodes]
    argv = [sys.executable, "-c", CLIENT, str(stop), *addresses]
    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(site.lab.exec, site.lab.controllers[0], argv)
        try:
            said = site.meshctl("node", "drain", holder)
        finally:
            stop.touch()
        answered, failed = map(int, client.result().stdout.split())
    assert said.out == f"{holder}\n"
    assert site.spread("drained_web").keys() != {holder}
    assert (failed, answered > 10) == (0, True)
    site.meshctl("node", "activate", holder)
    site.meshctl("stack", "rm", "drained")


def test_a_canary_is_aborted_promoted_and_outlives_its_leader(site: Site) -> None:
    site.deploy("early", web=web("1"))
    before = site.ids("early_web")
    said = site.deploy("early", "--canary", "1", web=web("2", order="start-first"))
    assert "early_web: canary: 1 of 3 slots have revision 2" in said.all
    assert before < site.ids("early_web")
    assert len(site.containers("early_web")) == 4
    site.meshctl("service", "abort", "early_web")
    assert site.ids("early_web") == before
    site.deploy("early", "--canary", "1", web=web("3", order="start-first"))
    site.lab.kill("leader")
    assert "goes to all slots" in site.meshctl("service", "promote", "early_web").out
    assert before.isdisjoint(site.ids("early_web"))
    assert len(site.containers("early_web")) == 3
    assert "has no canary" in site.meshctl("service", "promote", "early_web", code=6).err
    site.lab.mend()
    site.meshctl("stack", "rm", "early")


def test_a_rollout_goes_on_though_its_leader_is_killed_at_every_step(site: Site) -> None:
    site.deploy("led", web=web("1"))
    before = site.ids("led_web")
    file = compose((), {"web": web("2")})
    with site.running_meshctl("stack", "deploy", "-c", "-", "led", stdin=file) as deploy:
        for step in (1, 2, 3):
            site.wait(f"{step} tasks are replaced", lambda step=step: len(before - site.ids("led_web")) >= step)
            site.lab.kill("leader")
            site.lab.mend()
        assert deploy.wait(120) == 0
    assert before.isdisjoint(site.ids("led_web"))
    assert len(site.containers("led_web")) == 3
    site.meshctl("stack", "rm", "led")
