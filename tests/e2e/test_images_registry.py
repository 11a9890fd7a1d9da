"""Images out of a real registry: who may pull, what is told meanwhile, and what is pinned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.lab import Lab
from tests.e2e.conftest import MakeImage
from tests.e2e.registry import Registry, registry_of
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def registry(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a login, on the lab's switch."""
    with registry_of(session_lab, tmp_path_factory.mktemp("registry")) as running:
        yield running


def test_nodes_pull_from_a_registry_with_their_own_credentials(
    site: Site, registry: Registry, make_image: MakeImage, tmp_path: Path
) -> None:
    (tmp_path / "root" / "ballast").write_bytes(os.urandom(4 << 20))  # some seconds on the slow road
    site.lab.engine("node-1").load(make_image("pulled:1", "pulled"))
    registry.push("node-1", "pulled:1", "team/pulled:1")
    image = f"{registry.slow}/team/pulled:1"
    web = worker("echo $$WORD; exec sleep 100000", replicas=3, image=image)

    refused = site.deploy("reg", web=web, code=6)
    assert "the registry wants a login" in refused.err
    assert all(node in refused.err for node in site.lab.nodes)
    registry.log_in(password="wrong")
    refused = site.deploy("reg", web=web, code=6)
    assert "the registry refuses" in refused.err
    assert "docker login" in refused.err
    assert site.run("service", "inspect", "reg_web").code == 4

    registry.log_in()
    begun = site.now()
    site.deploy("reg", web=web)
    assert site.spread("reg_web") == {"node-1": 1, "node-2": 1, "node-3": 1}
    assert set(site.meshctl("service", "logs", "--raw", "reg_web").out.split()) == {"pulled"}
    pin = site.meshctl("service", "inspect", "--format", "{{json .}}", "reg_web").out
    assert f"{registry.slow}/team/pulled@sha256:" in pin
    told = site.events(begun, kinds=("image.pulling", "image.pulled"))
    assert {event.node for event in told if event.kind == "image.pulled"} == set(site.lab.nodes)
    steps = [event.data for event in told if event.data.get("total")]
    assert steps, told
    assert all(0 < step["current"] <= step["total"] for step in steps)

    # Nodes that have it need no registry any more: not for the next deploy either.
    registry.log_out()
    site.deploy("reg", web={**web, "environment": {"MORE": "1"}})
    assert site.settled("reg_web", 3)


def test_an_image_that_the_registry_lacks_fails_the_deploy(site: Site, registry: Registry) -> None:
    registry.log_in()
    refused = site.deploy("reg", web=worker(image=f"{registry.host}/team/nosuch:7"), code=6)
    assert "the registry has no image of that name and tag" in refused.err
