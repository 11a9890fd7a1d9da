"""Nodes vanish together, containers have no memory or crash for ever: bounded, told, and mended."""

from __future__ import annotations

import signal
import time

import pytest

from schemas.taskapi import TaskView
from tests.e2e.faults import signal_all
from tests.e2e.site import Found, Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def test_a_container_without_memory_is_told_with_its_reason(site: Site) -> None:
    began = time.time()
    limits = {"resources": {"limits": {"memory": "16M"}}, "restart_policy": {"condition": "none"}}
    site.deploy("oom", "-d", web=worker("exec tail /dev/zero", init=False, deploy=limits))
    site.wait("it is told", lambda: bool(site.events(began, kinds=("task.oom",), service="oom_web")))
    site.wait("it has failed", lambda: bool(site.events(began, kinds=("task.failed",), service="oom_web")))
    (event,) = site.events(began, kinds=("task.failed",), service="oom_web")
    assert "out of memory" in event.why
    (task,) = [task for task in site.tasks("oom_web", ended=True) if task.id == event.task]
    assert (task.state, task.oom_killed) == ("failed", True)
    assert "out of memory" in site.meshctl("service", "ps", "--no-trunc", "oom_web").out


def test_a_container_that_always_fails_backs_off_and_moves_elsewhere(site: Site) -> None:
    web = worker("echo no luck; exit 3", restart="always", init=False)
    site.deploy("crash", "-d", web=web)
    site.wait("it has failed five times", lambda: len(failed(site)) >= 5, 120)
    assert "no luck" in failed(site)[0].log_tail
    first = site.containers("crash_web", every=True)
    told = site.meshctl("task", "inspect", failed(site)[-1].id, "--format", "{{.PostMortem.ExitCode}}").out
    assert told == "3\n"
    site.lab.kill("leader")
    site.wait("another leads", lambda: bool(site.eye.leader(1.0)))
    time.sleep(5)
    assert len(site.events(time.time() - 5, kinds=("task.started",), service="crash_web")) <= 2, "no back-off"
    site.wait("it is tried elsewhere", lambda: len({found.engine for found in first + tried(site)}) > 1, 120)


def test_what_must_not_run_twice_is_stopped_by_its_node_and_only_then_replaced(site: Site) -> None:
    one = worker(**{"x-mesh": {"on_disconnect": {"stop_after": "10s"}}})
    site.deploy("lease", one=one)
    (first,) = site.containers("lease_one")
    site.lab.cut(first.engine)
    cut_at, seen = time.monotonic(), []
    while time.monotonic() < cut_at + 90 and not (seen and seen[-1][1] - {first.id}):
        seen.append((time.monotonic() - cut_at, site.ids("lease_one")))
        assert len(seen[-1][1]) <= 1, f"it runs twice: {seen[-1]}"
    stopped = next(at for at, ids in seen if first.id not in ids)
    assert stopped >= 8, f"stopped {stopped:.1f} s after the cut, the lease was 10 s"
    assert seen[-1][1] - {first.id}, f"not replaced within 90 s: {seen[-1]}"
    assert seen[-1][0] >= 20, f"replaced {seen[-1][0]:.1f} s after the cut: 10 s, its grace of 2 s and 10 s must pass"
    site.lab.heal(first.engine)
    site.all_ready()
    site.settle("lease_one", 1)
    (second,) = site.containers("lease_one")
    assert second.engine != first.engine
    signal_all(site.lab, second.engine, signal.SIGKILL, "agent")  # now nobody there could stop it
    told = f"meshctl node confirm-dead {second.engine}"
    site.wait("it is told", lambda: told in site.meshctl("service", "inspect", "lease_one").out)
    assert site.ids("lease_one") == {second.id}
    site.lab.kill(second.engine)
    site.meshctl("node", "confirm-dead", "-f", second.engine)
    site.wait("it runs elsewhere", lambda: bool(site.ids("lease_one") - {second.id}), 15)


def failed(site: Site) -> list[TaskView]:
    return [task for task in site.tasks("crash_web", ended=True) if task.state == "failed"]


def tried(site: Site) -> list[Found]:
    return site.containers("crash_web", every=True)


def braked(site: Site) -> bool:
    return "brake: replacements are held back" in site.meshctl("status").out


def test_all_nodes_vanish_at_once_and_the_brake_holds_until_it_is_released_or_they_return(site: Site) -> None:
    site.deploy("brake", web=worker(replicas=3))
    before = site.ids("brake_web")
    for node in site.lab.nodes:
        site.lab.cut(node)
    site.wait("the brake holds", lambda: braked(site))
    time.sleep(3)
    assert site.ids("brake_web") == before
    for node in site.lab.nodes:  # one after the other: as soon as fewer than 3 are silent, those are replaced
        site.lab.heal(node)
    site.all_ready()
    site.settle("brake_web", 3)
    site.wait("it is let go", lambda: not braked(site))
    for node in site.lab.nodes:
        site.lab.cut(node)
    site.wait("the brake holds again", lambda: braked(site))
    site.meshctl("brake", "release")
    site.wait("it is released, though all are silent", lambda: not braked(site))
    site.lab.heal("node-1")
    site.wait("what is lost runs where a node answers", lambda: len(site.containers("brake_web", node="node-1")) == 3)
