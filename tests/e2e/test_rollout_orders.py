"""Updates on three real engines: every order with every failure action, by a failing health check, and back again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.site import Site, worker

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
