"""A node is cut off and healed: its containers run on, and afterwards exactly the wanted set runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.site import Compose, Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

CUT = "node-3"


@dataclass(frozen=True)
class Case:
    """A service: what it wants to keep, and whether its replacements get up."""

    name: str
    on_reconnect: str
    up: bool
    stays: str


CASES = (
    Case("plain", "keep-replacement", True, "replacement"),
    Case("slow", "keep-replacement", False, "original"),
    Case("back", "keep-original", True, "original"),
    Case("slow_back", "keep-original", False, "original"),
)


def service(case: Case, folder: Path) -> Compose:
    """One that starts where it finds its gate open, and is healthy from then on."""
    script = "until [ -e /gate/open ]; do sleep 0.1; done; touch /tmp/up; exec sleep 100000"
    gate = folder / case.name
    gate.mkdir()
    (gate / "open").touch()
    return worker(
        script,
        replicas=3,
        volumes=[{"type": "bind", "source": str(gate), "target": "/gate"}],
        healthcheck={"test": ["CMD-SHELL", "[ -e /tmp/up ]"], "interval": "1s", "start_period": "300s"},
        **{"x-mesh": {"on_reconnect": case.on_reconnect}},
    )


def starts(site: Site) -> dict[str, str]:
    """Each container on the node that is cut off -> when it was started."""
    engine = site.lab.engine(CUT)
    return {found.id: engine.inspect(found.id)["State"]["StartedAt"] for found in site.containers(node=CUT)}


def healthy(site: Site) -> set[str]:
    """The containers that the mesh takes for healthy."""
    return {task.container for task in site.eye.tasks() if task.health == "healthy"}


def test_what_a_cut_off_node_runs_is_left_alone_and_afterwards_just_what_each_service_wants_runs(
    site: Site, tmp_path: Path
) -> None:
    site.deploy("cut", **{case.name: service(case, tmp_path) for case in CASES})
    names = {case: f"cut_{case.name}" for case in CASES}
    began = starts(site)
    originals = {case: {found.id for found in site.containers(name, node=CUT)} for case, name in names.items()}
    others = {case: site.ids(name) - originals[case] for case, name in names.items()}
    assert {len(ids) for ids in originals.values()} == {1}
    for case in CASES:
        if not case.up:
            (tmp_path / case.name / "open").unlink()
    site.lab.cut(CUT)
    site.wait("replacements are begun", lambda: all(len(site.ids(name)) == 4 for name in names.values()))
    new = {case: site.ids(name) - others[case] - originals[case] for case, name in names.items()}
    due = {id_ for case in CASES if case.up for id_ in new[case]}
    site.wait("replacements that can are healthy", lambda: due <= healthy(site))
    time.sleep(2)
    assert starts(site) == began, "they run on, as they were"
    assert all(site.ids(name) == others[case] | originals[case] | new[case] for case, name in names.items())
    site.lab.heal(CUT)
    site.all_ready()
    site.wait("each slot runs once", lambda: all(len(site.ids(name)) == 3 for name in names.values()))
    for case in CASES:
        (tmp_path / case.name / "open").touch()
    time.sleep(2)
    for case, name in names.items():
        stays = new[case] if case.stays == "replacement" else originals[case]
        assert site.ids(name) == others[case] | stays, case
        site.settle(name, 3)
    assert starts(site).items() <= began.items(), "nothing was started anew there"
