"""`meshctl state recover --backup FILE`: what it knows and what was done since are back, with the same containers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.faults import delete_state_stream
from tests.e2e.recovering import copy_files, generation, put_files_back, reasons, untouched
from tests.e2e.site import Compose, Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

UPDATE = {"parallelism": 4, "monitor": "1s", "order": "start-first"}
LABELS = {"team": "blue"}


def known(**environment: str) -> Compose:
    """A service with more than its tasks show: only a record, or a backup of it, knows its labels and its policy."""
    deploy = {"update_config": UPDATE, "labels": LABELS}
    return worker(replicas=3, deploy=deploy, environment=environment)


def inspected(site: Site, service: str) -> dict[str, Any]:
    (told,) = json.loads(site.meshctl("service", "inspect", service, "--format", "json").out)
    return dict(told)


def all_ids(site: Site) -> set[str]:
    return {found.id for found in site.containers()}


def lose(site: Site, folder: Path) -> str:
    delete_state_stream(site)
    return "store.missing"


def roll_back(site: Site, folder: Path) -> str:
    put_files_back(site, folder)
    return "store.rolled_back"


def deploys_again(site: Site, before: set[str]) -> None:
    """A deploy rolls its service, and nothing else."""
    target = inspected(site, "keep_web")["record"]["target"]
    deploy = {"replicas": 4, "update_config": UPDATE, "labels": LABELS}
    site.deploy("keep", web=known(NEW="yes") | {"deploy": deploy}, edge=worker(deploy={"mode": "global"}))
    site.settle("keep_web", 4)
    assert not site.ids("keep_web") & before
    assert len(before & all_ids(site)) == len(before) - 4
    assert inspected(site, "keep_web")["record"]["target"] == target + 1


@pytest.mark.parametrize("hurt", [lose, roll_back], ids=["lost", "rolled back"])
def test_a_store_is_made_anew_from_a_backup_and_from_what_was_done_since(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hurt: Callable[[Site, Path], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    backup = tmp_path / "mesh.backup"
    if hurt is roll_back:
        site.deploy("early", web=worker(replicas=2))
        copy_files(site, tmp_path)
    site.deploy("keep", web=known(), edge=worker(deploy={"mode": "global"}))
    site.meshctl("backup", str(backup))
    site.meshctl("service", "scale", "keep_web=4")
    site.deploy("since", web=worker(replicas=2))
    site.settle("keep_web", 4)
    before, was, spec = all_ids(site), generation(site), inspected(site, "keep_web")["spec"]
    code = hurt(site, tmp_path)
    site.wait("the mesh says so", lambda: code in reasons(site))
    untouched(site, before, 3)

    shown = site.meshctl("state", "recover", "--backup", str(backup)).out
    assert "nothing was done: --apply does it" in shown
    assert "has 4 slots, the backup wants 3" in shown
    assert "service.since_web" in shown
    assert "not in the backup; rebuilt from 2 slots" in shown
    assert code in reasons(site), "a preview does nothing"
    untouched(site, before, 2)

    done = site.meshctl("state", "recover", "--backup", str(backup), "--apply").out
    assert f"the store is made anew, generation {was + 1}" in done
    assert bool(list(tmp_path.glob("mesh.backup.replaced-*"))) == (hurt is roll_back), "what was there is kept"
    site.wait("somebody leads it", lambda: generation(site) == was + 1)
    site.all_ready()
    for service, count in (("keep_web", 4), ("keep_edge", 3), ("since_web", 2)):
        site.settle(service, count)
    untouched(site, before, 3)
    back = inspected(site, "keep_web")
    assert back["spec"] == spec, "all of the spec is back, its labels and policy, too"
    assert (back["spec"]["labels"]["team"], back["spec"]["update"]["order"]) == ("blue", "start-first")
    assert back["record"]["replicas"] == 4

    if hurt is lose:
        deploys_again(site, before)
    site.meshctl("service", "scale", "since_web=1")
    site.settle("since_web", 1)
    assert site.ids("since_web") < before
