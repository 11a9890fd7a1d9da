"""Stacks on three real engines: they come, grow, shrink, change, move and go, and nothing else is touched."""

from __future__ import annotations

import itertools
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import Site, compose, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


def test_a_stack_comes_grows_shrinks_and_goes(site: Site) -> None:
    site.deploy("life", web=worker(replicas=6), edge=worker(deploy={"mode": "global"}))
    assert site.spread("life_web") == {"node-1": 2, "node-2": 2, "node-3": 2}
    assert site.spread("life_edge") == {"node-1": 1, "node-2": 1, "node-3": 1}
    first, edge = site.ids("life_web"), site.ids("life_edge")
    site.meshctl("service", "scale", "life_web=9")
    grown = site.ids("life_web")
    assert grown > first
    assert site.spread("life_web") == {"node-1": 3, "node-2": 3, "node-3": 3}
    site.meshctl("service", "scale", "life_web=2")
    site.settle("life_web", 2)
    assert site.ids("life_web") < grown
    site.meshctl("service", "rm", "life_web")
    site.wait("web is gone", lambda: not site.containers("life_web"))
    assert site.ids("life_edge") == edge
    site.meshctl("stack", "rm", "life")
    site.wait("all is gone", lambda: not site.containers())
    assert "life" not in site.meshctl("stack", "ls").out


def test_deploying_the_same_again_touches_nothing(site: Site) -> None:
    site.deploy("same", web=worker(replicas=3))
    before = site.ids("same_web")
    said = site.deploy("same", web=worker(replicas=3))
    assert site.ids("same_web") == before
    assert "Stack same is unchanged: nothing was done." in said.out
    assert "nothing has moved" in site.meshctl("stack", "refresh", "same").out.lower()
    assert site.ids("same_web") == before


def test_a_stack_is_planned_deployed_as_told_taken_back_as_one_and_evened_out(site: Site, tmp_path: Path) -> None:
    fast = {"update_config": {"monitor": "0s", "parallelism": 0}}
    site.deploy("past", web=worker(replicas=3, deploy=fast), old=worker(deploy=fast))
    planned, kept = (
        {"web": worker("sleep 99999", replicas=3, deploy=fast), "new": worker(deploy=fast)},
        tmp_path / "plan",
    )
    files = compose((), planned)
    told = site.meshctl("plan", "-c", "-", "--prune", "--out", str(kept), "past", stdin=files, code=1).out
    assert "1 service to create, 1 service to update, 1 service to remove" in told
    assert len(re.findall(r"^  \+ past_web\.\d on node-\d: ", told, re.MULTILINE)) == 3
    site.meshctl("stack", "deploy", "--plan", str(kept))
    site.settle("past_new", 1)
    site.meshctl("plan", "-c", "-", "--prune", "past", stdin=files)
    assert "service past_new was created" in site.meshctl("stack", "deploy", "--plan", str(kept), code=5).err
    said = site.meshctl("stack", "rollback", "past")
    assert "service past_old is brought back" in said.out
    assert "service past_new is removed" in said.out
    site.settle("past_old", 1)
    assert not site.containers("past_new")
    site.meshctl("node", "drain", "node-3")
    site.meshctl("service", "scale", "past_web=6")
    site.meshctl("node", "activate", "node-3")
    assert site.spread("past_web") == {"node-1": 3, "node-2": 3}
    site.meshctl("rebalance", "--apply")
    assert site.spread("past_web") == {"node-1": 2, "node-2": 2, "node-3": 2}
    assert "nothing to move" in site.meshctl("rebalance").out


def test_a_drained_node_is_emptied_a_paused_one_gets_nothing_new(site: Site) -> None:
    site.deploy("move", web=worker(replicas=6))
    elsewhere = {found.id for found in site.containers("move_web") if found.engine != "node-2"}
    site.meshctl("node", "drain", "node-2")
    site.settle("move_web", 6)
    assert site.spread("move_web") == {"node-1": 3, "node-3": 3}
    assert elsewhere < site.ids("move_web")
    site.meshctl("node", "pause", "node-1")
    paused = {found.id for found in site.containers("move_web", node="node-1")}
    site.meshctl("node", "activate", "node-2")
    site.meshctl("service", "scale", "move_web=12")
    spread = site.spread("move_web")
    assert spread["node-1"] == 3
    assert spread["node-2"] + spread["node-3"] == 9
    assert {found.id for found in site.containers("move_web", node="node-1")} == paused


def test_a_node_is_removed_only_once_it_is_down_and_its_tasks_run_elsewhere(site: Site) -> None:
    site.deploy("rm", web=worker(replicas=3))
    refused = site.meshctl("node", "rm", "node-3", code=6)
    assert "drain it and stop its agent first" in refused.err
    site.lab.kill("node-3")
    site.settle("rm_web", 3)
    site.meshctl("node", "rm", "node-3")
    assert "node-3" not in site.meshctl("node", "ls", "-q").out
    site.lab.start("node-3")
    log = site.lab.log("node-3", "agent")
    site.wait("its agent says why it may not work", lambda: "was removed from the mesh" in log.read_text())
    assert "node-3" not in {node.node for node in site.eye.nodes()}
    # The remedy that it names: another identity makes it a new member.
    site.lab.stop("node-3", only="agent")
    (site.lab.paths.data("node-3") / "member.json").unlink()
    site.lab.start("node-3", only="agent")
    site.all_ready()
    site.settle("rm_web", 3)


def test_a_changed_service_is_replaced_one_slot_at_a_time_each_after_its_predecessor_has_ended(site: Site) -> None:
    site.deploy("roll", web=worker("trap 'sleep 0.5; exit 0' TERM; sleep 100000 & wait", replicas=4))
    before = site.ids("roll_web")
    began = time.time()
    site.deploy("roll", web=worker("exec sleep 99999", replicas=4))
    after = site.ids("roll_web")
    assert len(after) == 4
    assert not after & before
    lives = [life(site, found.engine, found.id) for found in site.containers("roll_web", every=True)]
    old = {slot: ended for slot, id_, _, ended in lives if id_ in before}
    new = {slot: started for slot, id_, started, _ in lives if id_ in after}
    assert old.keys() == new.keys()
    for slot in old:
        assert old[slot] <= new[slot], f"slot {slot} started before its predecessor had ended"
    gaps = sorted((old[slot], new[slot]) for slot in old)
    for (_, back), (gone, _) in itertools.pairwise(gaps):
        assert back <= gone, "two slots were without a task at the same time"
    kinds = [event.kind for event in site.events(began - 1, service="roll_web")]
    assert kinds.count("task.assigned") == 4


def life(site: Site, engine: str, container: str) -> tuple[str, str, datetime, datetime]:
    """Slot, id, when it started, when it ended (all engines of a lab have one clock)."""
    found: dict[str, Any] = site.lab.engine(engine).inspect(container)
    started, ended = (datetime.fromisoformat(found["State"][each]) for each in ("StartedAt", "FinishedAt"))
    return found["Config"]["Labels"]["mesh.slot"], container, started, ended


def test_a_failing_update_leaves_the_rest_as_it_was(site: Site) -> None:
    site.deploy("bad", web=worker(replicas=3))
    before = site.ids("bad_web")
    # One that is up for a moment would let the next slot have its turn: this one would have to be healthy for that.
    check = {"test": ["CMD", "true"], "interval": "1s"}
    failing = worker("echo no such thing as luck; exit 3", replicas=3, healthcheck=check)
    said = site.deploy("bad", web=failing, code=8)
    assert "no such thing as luck" in said.all
    assert len(site.ids("bad_web") & before) == 2


def test_logs_are_followed_over_several_nodes_and_to_tasks_that_start_later(site: Site) -> None:
    script = "while :; do echo tick of $$NAME; sleep 0.5; done"
    web = worker(script, replicas=2, environment={"NAME": "{{.Task.Slot}}"})
    site.deploy("talk", web=web)
    with site.running_meshctl("service", "logs", "-f", "--tail", "1", "talk_web") as following:
        assert following.stdout is not None
        seen = {following.stdout.readline().strip()[-9:] for _ in range(8)}
        assert seen == {"tick of 1", "tick of 2"}
        site.meshctl("service", "scale", "-d", "talk_web=3")
        began, ticks = time.monotonic(), 0
        while ticks < 3:
            ticks += "tick of 3" in following.stdout.readline()
            assert time.monotonic() - began < 60
    lines = site.meshctl("service", "logs", "talk_web", "--tail", "3").out.splitlines()
    assert len(lines) == 9


def test_a_volume_is_never_replaced_by_a_new_empty_one(site: Site) -> None:
    script = "test -e /data/word || date +%s%N > /data/word; cat /data/word; exec sleep 100000"
    store = worker(script, volumes=["keep:/data"])
    site.deploy("vol", store=store, volumes=("keep",))
    (holder,) = site.spread("vol_store")
    word = site.meshctl("service", "logs", "--raw", "vol_store").out
    stays = site.meshctl("node", "drain", holder, code=6)
    assert f"volume vol_keep is on node {holder}" in stays.err
    assert site.spread("vol_store") == {holder: 1}
    site.meshctl("node", "drain", "--force", holder)
    site.wait("it has ended", lambda: not site.containers("vol_store"))
    told = f"volume vol_keep is on node {holder}"
    site.wait("it says what it waits for", lambda: any(told in task.why for task in site.tasks("vol_store")))
    assert told in site.meshctl("service", "ps", "--no-trunc", "vol_store").out
    assert [each["node"] for each in volumes(site)] == [holder]
    site.meshctl("node", "activate", holder)
    site.settle("vol_store", 1)
    again = site.meshctl("service", "logs", "--raw", "--tail", "1", "vol_store").out
    assert again.split()[-1] == word.split()[-1]


def volumes(site: Site) -> list[dict[str, Any]]:
    """Where the volume is, as the mesh lists it."""
    found = site.ask(lambda mesh: mesh.volumes()).volumes
    return [{"node": each.node} for each in found if each.name == "vol_keep"]
