"""Images reach the nodes without a registry; one name means one image."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeImage
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


def test_an_image_is_loaded_run_and_refused_once_nodes_hold_different_ones(site: Site, make_image: MakeImage) -> None:
    first, second = make_image("mine:1", "first"), make_image("mine:1", "second")
    said = site.meshctl("image", "load", "-i", str(first)).out
    assert said.split() == [word for node in site.lab.nodes for word in (f"{node}:", "mine:1")]
    site.deploy("pic", web=worker("echo $$WORD; exec sleep 100000", replicas=3, image="mine:1"))
    assert site.spread("pic_web") == {"node-1": 1, "node-2": 1, "node-3": 1}
    running = site.ids("pic_web")
    site.meshctl("image", "load", "-i", str(second), "--node", "node-2")
    refused = site.deploy("pic", web=worker("echo $$WORD; exec sleep 99999", replicas=3, image="mine:1"), code=6)
    assert "mine:1 is not the same on all nodes" in refused.err
    for node in site.lab.nodes:
        assert f"{node} has" in refused.err
    assert site.ids("pic_web") == running
    # What runs is pinned to the image that it was deployed with, whatever the name means by now.
    site.meshctl("service", "scale", "pic_web=4")
    assert set(site.meshctl("service", "logs", "--raw", "pic_web").out.split()) == {"first"}


def test_an_image_is_pushed_from_the_local_engine(site: Site, make_image: MakeImage) -> None:
    archive = make_image("pushed:1", "pushed")
    engine = site.lab.engine("node-1")
    engine.load(archive)
    done = subprocess.run(
        site.argv("image", "push", "pushed:1"),
        env={**site.environment(), "DOCKER_HOST": site.lab.engine_url("node-1")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "node-1: has it already" in done.stdout
    ids = {site.lab.engine(node).image_id("pushed:1") for node in site.lab.nodes}
    assert ids == {engine.image_id("pushed:1")}
    told = site.events(site.now() - 60, kinds=("image.loaded",))
    assert {event.node for event in told} >= {"node-2", "node-3"}


def test_an_archive_that_is_none_is_refused_by_every_node(site: Site, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.tar"
    rubbish.write_bytes(os.urandom(3 << 20))
    done = site.run("image", "load", "-i", str(rubbish))
    assert done.code in (2, 6)
    assert "Traceback" not in done.err
    assert site.ready() == set(site.lab.nodes)
