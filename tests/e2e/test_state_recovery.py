"""The state stream is deleted, or is an older one again, on real servers: nothing stops, and it can be made anew."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.faults import delete_state_stream
from tests.e2e.recovering import copy_files, generation, put_files_back, reasons, untouched
from tests.e2e.site import PATIENCE, Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


def test_a_deleted_stream_stops_nothing_and_is_rebuilt_from_what_agents_obey(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what was there is kept in a file beside
    site.deploy("keep", web=worker(replicas=4), edge=worker(deploy={"mode": "global"}))
    before, was = {found.id for found in site.containers()}, generation(site)
    delete_state_stream(site)
    site.wait("the mesh says so", lambda: "store.missing" in reasons(site))
    site.lab.stop("node-1", only="agent")
    site.lab.start("node-1", only="agent")
    untouched(site, before, 4)
    shown = site.meshctl("state", "recover").out
    assert "service.keep_web" in shown
    assert "nothing was done" in shown
    print(shown, site.meshctl("state", "recover", "--apply", "--replicas", "3"))
    site.wait("somebody leads it", lambda: generation(site) == was + 1)
    site.all_ready()
    site.settle("keep_web", 4)
    assert {found.id for found in site.containers()} == before
    site.meshctl("service", "scale", "keep_web=5")
    site.settle("keep_web", 5)
    assert before < {found.id for found in site.containers()}
    kinds = {event.kind for event in site.events(time.time() - 120)}
    assert "store.restored" in kinds


def test_a_backup_is_verified_and_restored_and_only_what_it_wants_changes(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "mesh.backup"
    site.deploy("back", web=worker(replicas=2))
    site.meshctl("backup", str(file))
    assert "whole and unchanged" in site.meshctl("backup", "verify", str(file)).out
    damaged = tmp_path / "damaged.backup"
    damaged.write_bytes(file.read_bytes().replace(b'"replicas":2', b'"replicas":9'))
    assert "was changed" in site.meshctl("backup", "verify", str(damaged), code=2).err
    site.meshctl("service", "scale", "back_web=4")
    before = site.ids("back_web")
    shown = site.meshctl("restore", str(file), stdin="n\n", code=130).out
    assert "has 4 slots, the backup wants 2" in shown
    assert site.ids("back_web") == before
    site.meshctl("restore", str(file), "--yes")
    assert list(tmp_path.glob("mesh.backup.replaced-*")), "what was there is kept"
    site.settle("back_web", 2)
    assert site.ids("back_web") < before


def test_older_files_under_the_servers_are_noticed_and_what_is_newer_is_kept(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what was there is kept in a file beside
    site.deploy("old", web=worker(replicas=3))
    copy_files(site, tmp_path)
    site.meshctl("service", "scale", "old_web=5")
    site.deploy("new", web=worker(replicas=2))
    before = {found.id for found in site.containers()}
    put_files_back(site, tmp_path)
    site.wait("the mesh says so", lambda: "store.rolled_back" in reasons(site), PATIENCE)
    site.lab.stop("controller-1")
    site.lab.start("controller-1")
    untouched(site, before, 5)
    site.meshctl("state", "recover", "--apply")
    site.all_ready()
    site.settle("old_web", 5)
    site.settle("new_web", 2)
    assert {found.id for found in site.containers()} == before
