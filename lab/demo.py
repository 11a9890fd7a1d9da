"""The stories of `make demo`: a mesh on this machine, stacks on it, and what happens when parts die.

Every sentence that claims something is checked; the program ends with 0 only if all of them held.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from bus.logs import configure_logging
from lab import folders, images, voting
from lab.bringup import bring_up
from lab.plan import make_plan
from lab.stage import Stage
from lab.story import Story
from lab.voting_story import VotingStory
from schemas.errors import MeshError

PREFIX = "demo"
IMAGES = ("hello", "redis")


def main() -> int:
    """Tell the story; the exit code."""
    if os.geteuid() != 0:
        print("demo: it makes namespaces and engines, which needs root: sudo make demo", file=sys.stderr)  # noqa: T201
        return 6
    configure_logging(level=40)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    began = time.monotonic()
    name = f"{PREFIX}-{os.getpid()}"
    try:
        folders.remove_orphans(PREFIX)
        print("The images of the examples are made, the first time only.", flush=True)  # noqa: T201
        archives = {image: images.build(image) for image in (*IMAGES, *voting.IMAGES)}
        with tempfile.TemporaryDirectory(prefix="dockmesh-demo-") as settings:
            _tell_all(name, archives, Path(settings))
    except (MeshError, AssertionError) as error:
        print(f"\nThe story does not hold: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        with folders.changing(name):
            folders.remove(name)
        _give_back()
    print(f"\nAll of it held; nothing is left of the lab. {time.monotonic() - began:.0f} s in all.")  # noqa: T201
    return 0


def _tell_all(name: str, archives: dict[str, Path], settings: Path) -> None:
    plan = make_plan(name, mesh_id=secrets.token_hex(8))
    stage = Stage(settings)
    stage.chapter("A mesh of 3 nodes, each with a Docker engine of its own, 3 controllers and 3 nats-servers")
    lab = bring_up(plan, stage.tell)
    try:
        with lab.eye() as eye:
            Story(lab, eye, stage).tell([archives[image] for image in IMAGES])
            VotingStory(lab, eye, stage).tell([archives[image] for image in voting.IMAGES])
    except BaseException:
        stage.last_words(lab)
        raise


def _give_back() -> None:
    """Compiled files that sudo made in the checkout belong to who called it."""
    if owner := os.environ.get("SUDO_UID"):
        for folder in Path(__file__).parent.parent.glob("*/**/__pycache__"):
            for path in (folder, *folder.iterdir()):
                os.chown(path, int(owner), int(os.environ.get("SUDO_GID", owner)))


if __name__ == "__main__":
    sys.exit(main())
