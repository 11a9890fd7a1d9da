"""Three of five nodes vanish at once: nothing is replaced until they return or a person says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab import images
from tests.e2e.conftest import MakeLab
from tests.e2e.site import Site, worker

pytestmark = [pytest.mark.docker, pytest.mark.soak, pytest.mark.timeout(400)]

VANISHED = ("node-3", "node-4", "node-5")


def braked(site: Site) -> bool:
    return "brake: replacements are held back" in site.meshctl("status").out


def test_three_of_five_vanish_and_the_brake_holds_until_it_is_released(make_lab: MakeLab, tmp_path: Path) -> None:
    lab = make_lab(nodes=5, controllers=1, nats=1)
    lab.load_images([images.build("busybox")])
    with lab.eye() as eye:
        site = Site(lab, eye, tmp_path)
        site.all_ready()
        site.deploy("five", web=worker(replicas=10))
        before = site.ids("five_web")
        for node in VANISHED:
            lab.cut(node)
        site.wait("the brake holds", lambda: braked(site))
        time.sleep(5)
        assert site.ids("five_web") == before
        site.deploy("new", web=worker(replicas=2))
        assert set(site.spread("new_web")) <= {"node-1", "node-2"}
        for node in VANISHED:
            lab.heal(node)
        site.all_ready()
        site.wait("it is let go", lambda: not braked(site))
        site.settle("five_web", 10)
        for node in VANISHED:
            lab.kill(node)
        site.wait("the brake holds again", lambda: braked(site))
        site.meshctl("brake", "release")
        site.settle("five_web", 10)
        assert set(site.spread("five_web")) == {"node-1", "node-2"}
