"""The public example voting app from its own stack file, seen by people in a browser, while parts of the mesh die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import images, voting
from lab.voting import STACK, STACK_FILE, TASKS, Voters
from schemas.taskapi import TaskView
from tests.e2e.browser import Browser, browser_at, why_no_browser
from tests.e2e.site import Site

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PICTURE = "DOCKMESH_PICTURE"
"""Environment variable: where to save the picture of the README."""


@pytest.fixture(scope="module")
def app(operated: Site) -> Iterator[Site]:
    """The app runs, and nobody has voted."""
    if why := why_no_browser():
        pytest.skip(why)
    operated.lab.load_images([images.build(name) for name in voting.IMAGES])
    operated.meshctl("stack", "deploy", "-c", str(STACK_FILE), STACK)
    yield operated
    operated.clear()


@pytest.fixture(scope="module")
def browser(app: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser of somebody who is on none of the nodes."""
    with browser_at(app.lab.rack.switch_pid(), tmp_path_factory.mktemp("browser")) as made:
        yield made


def page(site: Site, node: str, port: int) -> str:
    """Where a page is."""
    return f"http://{site.lab.plan.machine(node).address}:{port}/"


def tasks(site: Site) -> list[TaskView]:
    """Those that run, and answer if they can be asked."""
    found = [task for service in TASKS for task in site.tasks(f"{STACK}_{service}")]
    return [task for task in found if task.state == "running" and task.health in ("", "healthy")]


def test_a_click_on_one_node_is_counted_on_the_page_of_another_and_may_be_changed(
    app: Site, browser: Browser, tmp_path: Path
) -> None:
    browser.open(page(app, "node-1", voting.VOTE))
    containers = {task.container[:12] for task in tasks(app) if task.service == f"{STACK}_vote"}
    assert browser.text("#host") in containers
    browser.click("#a")
    browser.wait("#a.chosen", "Cats".__eq__)
    browser.open_beside(page(app, "node-3", voting.RESULT))
    assert browser.wait("#count-a", "1".__eq__) == "1"
    assert browser.text("#share-a") == "100 %"
    assert browser.text("#state") == "live"
    browser.turn_to(0)
    browser.click("#b")
    browser.wait("#b.chosen", "Dogs".__eq__)
    browser.turn_to(1)
    browser.wait("#count-b", "1".__eq__)
    assert browser.text("#count-a") == "0"  # it is one voter still, who has a cookie
    if os.environ.get(PICTURE):
        take_picture(app, browser, tmp_path)


def test_everybody_else_is_somebody_else(app: Site, browser: Browser) -> None:
    browser.open(page(app, "node-2", voting.RESULT))
    browser.wait("#state", "live".__eq__)
    wanted = str(int(browser.text("#total")) + 3)
    for node in app.lab.nodes:
        voting.cast(app.lab, node, "a")
    browser.wait("#total", wanted.__eq__)
    for node in app.lab.nodes:
        browser.open(page(app, node, voting.RESULT))
        browser.wait("#total", wanted.__eq__)


@pytest.mark.parametrize("victim", ["worker", "redis", "leader", "node"])
def test_under_load_the_page_counts_on_after_the_loss_of(app: Site, browser: Browser, victim: str) -> None:
    home = next(task.node for task in tasks(app) if task.service == f"{STACK}_db")
    browser.open(page(app, home, voting.RESULT))
    with Voters(app.lab) as voters:
        browser.wait("#total", above(browser.text("#total"), 10))
        before = voters.told()
        hurt(app, victim, home)
        browser.wait("#state", "live".__eq__, 60)
        browser.wait("#total", above(browser.text("#total"), 20), 60)
        told = voters.told()
        app.wait("all tasks run", lambda: complete(app))
        browser.wait("#total", above(browser.text("#total"), 10))
    app.lab.mend()
    app.all_ready()
    if victim in ("worker", "leader"):
        assert told.failed == before.failed, told


def above(text: str, more: int) -> Callable[[str], bool]:
    """Whether a count is above this one by at least so many."""
    return lambda found: int(found) >= int(text) + more


def hurt(site: Site, victim: str, home: str) -> None:
    """Kill it. Of nodes one that the database is not on, rather that with the result's page or with redis."""
    if victim == "leader":
        site.lab.kill("leader")
    elif victim == "node":
        places = [task.node for task in tasks(site) if task.service in (f"{STACK}_result", f"{STACK}_redis")]
        site.lab.kill(next(node for node in (*places, *site.lab.nodes) if node != home))
    else:
        task = next(task for task in tasks(site) if task.service == f"{STACK}_{victim}")
        site.lab.engine(task.node).signal(task.container, signal.SIGKILL.name)
        site.wait("the mesh knows", lambda: task.id not in {each.id for each in tasks(site)})


def complete(site: Site) -> bool:
    """Whether as many run as the file wants."""
    running = [task.service for task in tasks(site)]
    return all(running.count(f"{STACK}_{service}") == count for service, count in TASKS.items())


def take_picture(site: Site, browser: Browser, folder: Path) -> None:
    """Both pages beside each other."""
    for number in range(8):
        voting.cast(site.lab, f"node-{number % 3 + 1}", "ab"[number % 3 == 0])
    browser.wait("#total", "9".__eq__)
    time.sleep(0.6)  # the bars move into their places
    seen = []
    for tab, (node, port) in enumerate((("node-1", voting.VOTE), ("node-3", voting.RESULT))):
        browser.turn_to(tab)
        browser.picture(folder / f"{node}.png")
        seen.append(f"<figure><figcaption>http://{node}:{port}/</figcaption><img src='{node}.png'></figure>")
    style = "body,figure{margin:0}body{display:flex;gap:8px;font:15px monospace}figure{flex:1}figcaption{padding:6px}"
    (folder / "both.html").write_text(
        f"<style>{style} img{{width:100%;border:1px solid silver}}</style>{''.join(seen)}"
    )
    browser.open_beside((folder / "both.html").as_uri())
    browser.picture(Path(os.environ[PICTURE]))
    browser.turn_to(1)
