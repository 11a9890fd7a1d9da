"""Labs for tests on real engines: one whole mesh and one lone engine for the session, made when first asked for.

`Lab`'s calls block: from a coroutine use `await asyncio.to_thread(lab.kill, "node-1")`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import platform
import tarfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from lab import folders, images
from lab.archive import write_archive
from lab.bringup import bring_up
from lab.engine_api import EngineApi
from lab.lab import Lab
from lab.plan import make_plan
from tests.conftest import why_no_docker
from tests.e2e.site import Site

BUSYBOX = "dockmesh/busybox:1"
SMALL = ("busybox", "hello", "python", "redis")
PREFIX = "test"
LAST_LINES = 40
NUMBERS = itertools.count(1)

MakeLab = Callable[..., Lab]
MakeImage = Callable[[str, str], Path]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `soak` are left out unless they are asked for."""
    if "soak" in (config.getoption("markexpr") or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("soak")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What failed shows the last that each controller and agent of its labs wrote."""
    report = yield
    if report.failed:
        for name in folders.names():
            if name.startswith(f"{PREFIX}-{os.getpid()}-"):
                report.sections.extend(last_words(Lab.open(name)))
    return report


def last_words(lab: Lab) -> list[tuple[str, str]]:
    """The title and the last lines of each log of the lab's controllers and agents."""
    logs = [(name, lab.log(name, "controller")) for name in lab.controllers]
    logs += [(name, lab.log(name, "agent")) for name in lab.nodes]
    return [
        (f"{lab.name} {name}", "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:]))
        for name, log in logs
        if log.exists()
    ]


def fresh_name() -> str:
    """A name that no other lab has; it tells which process made the lab."""
    return f"{PREFIX}-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture(scope="session")
def make_lab() -> Iterator[MakeLab]:
    """Makes a lab of its own for a test that hurts more than `mend` can heal (`disk_mib=64`, other counts)."""
    if why := why_no_docker():
        pytest.skip(why)
    folders.remove_orphans(PREFIX)
    made: list[Lab] = []

    def make(**counts: int) -> Lab:
        lab = bring_up(make_plan(fresh_name(), mesh_id="test", **counts))  # type: ignore[arg-type]
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.down()


@pytest.fixture(scope="session")
def archives() -> dict[str, Path]:
    """The archives of the small example images, by tag."""
    if why := why_no_docker():
        pytest.skip(why)
    return {f"dockmesh/{name}:1": images.build(name) for name in SMALL}


@pytest.fixture(scope="session")
def engines_only(make_lab: MakeLab, archives: dict[str, Path]) -> Lab:
    """A lab of two nodes that are engines and no more, with the busybox image."""
    lab = make_lab(nodes=2, controllers=0, nats=0)
    lab.load_images([archives[BUSYBOX]])
    return lab


@pytest.fixture
def engines(engines_only: Lab) -> Iterator[Lab]:
    """The same, mended and without containers after the test."""
    yield engines_only
    engines_only.mend()
    for node in engines_only.nodes:
        for container in engines_only.engine(node).containers(every=True):
            with contextlib.suppress(Exception):
                engines_only.engine(node).remove(container["Id"])


@pytest.fixture
def engine_node(engines: Lab) -> EngineApi:
    """One engine with the busybox image; `.path` is its socket."""
    return engines.engine("node-1")


@pytest.fixture(scope="session")
def session_lab(make_lab: MakeLab, archives: dict[str, Path]) -> Lab:
    """A mesh of 3 nodes, 3 controllers and 3 nats-servers, with the small example images."""
    lab = make_lab(nodes=3, controllers=3, nats=3)
    lab.load_images(archives.values())
    return lab


@pytest.fixture
def mesh_lab(session_lab: Lab) -> Iterator[Lab]:
    """The same; after the test everything runs and is plugged in again."""
    yield session_lab
    session_lab.mend()


@pytest.fixture(scope="module")
def operated(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The mesh with somebody who operates it."""
    with session_lab.eye() as eye:
        yield Site(session_lab, eye, tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(operated: Site) -> Iterator[Site]:
    """The same; after the test everything works again, and no service is left."""
    operated.all_ready()
    yield operated
    operated.clear()


@pytest.fixture
def make_image(archives: dict[str, Path], tmp_path: Path) -> MakeImage:
    """An archive of busybox under another name, with a word in its environment."""
    root = tmp_path / "root"
    with tarfile.open(archives[BUSYBOX]) as archive:
        layer = next(name for name in archive.getnames() if name.endswith("layer.tar"))
        content = archive.extractfile(layer)
        assert content is not None
        with tarfile.open(fileobj=io.BytesIO(content.read())) as files:
            files.extractall(root, filter="fully_trusted")

    def make(tag: str, word: str) -> Path:
        target = tmp_path / f"{word}.tar"
        config = {"Env": ["PATH=/bin", f"WORD={word}"], "Cmd": ["/bin/sh"]}
        write_archive(target, {tag: config}, root, images.ARCHITECTURES[platform.machine()])
        return target

    return make
