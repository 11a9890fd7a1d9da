"""How tasks ended is told by `meshctl task inspect ID` when neither service nor container is left."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import pytest

from schemas.errors import NotFound
from tests.e2e.site import BUSYBOX, Compose, Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

ENDED = ("oom", "sick", "many", "well")


def once(script: str, *, limits: dict[str, str] | None = None, **more: Any) -> Compose:
    """A service whose task is not replaced when it has ended."""
    deploy = {"restart_policy": {"condition": "none"}, "resources": {"limits": limits or {}}}
    return worker(script, init=False, deploy=deploy, **more)


def inspected(site: Site, task: str) -> dict[str, Any]:
    """What the command tells of a task."""
    (told,) = json.loads(site.meshctl("task", "inspect", task, "--format", "json").out)
    return dict(told)


def gone(site: Site, node: str, container: str) -> bool:
    try:
        site.lab.engine(node).inspect(container)
    except NotFound:
        return True
    return False


def test_all_that_tells_why_a_task_ended_outlives_its_container(site: Site) -> None:
    began = time.time()
    check = {"test": ["CMD-SHELL", "echo it can not serve; exit 4"], "interval": "1s", "retries": 2}
    site.deploy(
        "why",
        "-d",
        oom=once("echo it grows; exec tail /dev/zero", limits={"memory": "16M"}),
        sick=once("echo it serves; exec sleep 100000", healthcheck=check),
        many=once("seq 60 | sed 's/^/line /'; exit 3"),
        well=once("echo done; exit 0"),
    )
    names = {f"why_{name}" for name in ENDED}

    def ended() -> set[str]:
        return {event.service for event in site.events(began, kinds=("task.postmortem",))}

    site.wait("all have ended, and that is kept", lambda: ended() >= names)
    found = {each.service: each for name in names for each in site.containers(name, every=True)}
    image = {each.service: site.lab.engine(each.engine).inspect(each.id)["Image"] for each in found.values()}
    site.meshctl("stack", "rm", "why")
    for each in found.values():
        site.lab.engine(each.engine).remove(each.id)
    assert all(gone(site, each.engine, each.id) for each in found.values())
    site.wait("no task of it is known", lambda: not [task for task in site.eye.tasks(ended=True) if task.stack])
    told = {name: inspected(site, found[f"why_{name}"].task) for name in ENDED}
    for name, known in told.items():
        each, kept = found[f"why_{name}"], known["post_mortem"]
        assert known.keys() == {"id", "post_mortem"}, "only its node's event still knows it"
        assert (kept["service"], kept["node"], kept["container"]) == (each.service, each.engine, each.id)
        assert (kept["image"], kept["image_id"]) == (BUSYBOX, image[each.service])
        for moment in ("started_at", "finished_at"):
            assert began - 5 < seconds(kept[moment]) < time.time() + 5

    def all_of(field: str) -> dict[str, Any]:
        return {name: known["post_mortem"][field] for name, known in told.items()}

    def lines(name: str) -> list[str]:
        return [line["text"] for line in told[name]["post_mortem"]["log"]]

    assert all_of("state") == {"oom": "failed", "sick": "failed", "many": "failed", "well": "exited"}
    assert all_of("oom_killed") == {"oom": True, "sick": False, "many": False, "well": False}
    assert all_of("exit_code") | {"sick": None} == {"oom": 137, "sick": None, "many": 3, "well": 0}
    assert "out of memory" in told["oom"]["post_mortem"]["error"]
    assert lines("many") == [f"line {number}" for number in range(11, 61)]
    assert (lines("oom"), lines("sick"), lines("well")) == (["it grows"], ["it serves"], ["done"])
    probes = [(probe["exit_code"], probe["output"].strip()) for probe in told["sick"]["post_mortem"]["health"]]
    assert probes[-2:] == [(4, "it can not serve")] * 2
    assert not told["many"]["post_mortem"]["health"]


def seconds(moment: str) -> float:
    """Since 1970."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
