"""Stores that are lost or rolled back, as tests bring them about and look at them."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from meshctl.client import Mesh
from schemas.statusapi import GetStatus, Status
from tests.e2e.site import Site

SERVERS = ("nats-1", "nats-2", "nats-3")


def reasons(site: Site) -> str:
    """What `status` tells to be wrong."""

    async def ask(mesh: Mesh) -> Status:
        answer = await mesh.ask("status.get", GetStatus())
        assert isinstance(answer, Status)
        return answer

    return " ".join(reason.text for reason in site.ask(ask).reasons)


def untouched(site: Site, before: set[str], seconds: float) -> None:
    """Nothing but these containers runs, for so long."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        assert {found.id for found in site.containers()} == before
        time.sleep(0.5)


def generation(site: Site) -> int:
    """The store's that is led."""
    return site.eye.leader(10).generation


def copy_files(site: Site, folder: Path) -> None:
    """Keep what the servers have on their disks now."""
    time.sleep(2)  # the agents have obeyed, the controllers have remembered
    for server in SERVERS:
        site.lab.stop(server)
    for server in SERVERS:
        shutil.copytree(site.lab.paths.data(server), folder / server)
    for server in SERVERS:
        site.lab.start(server)
    site.all_ready()


def put_files_back(site: Site, folder: Path) -> None:
    """Have the servers start with the disks of before."""
    time.sleep(2)
    for server in SERVERS:
        site.lab.kill(server)
    for server in SERVERS:
        data = site.lab.paths.data(server)
        shutil.rmtree(data)
        shutil.copytree(folder / server, data)
    for server in SERVERS:
        site.lab.start(server)
