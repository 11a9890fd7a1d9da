"""Where a lab keeps things, and where its programs are."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import NotFound

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec/docker"
"""Where programs are looked for after the caller's own PATH."""


def labs_root() -> Path:
    """The folder of all labs."""
    return Path(os.environ.get("DOCKMESH_LABS", "/var/lib/dockmesh/lab"))


@dataclass(frozen=True)
class LabPaths:
    """The folders and files of one lab."""

    root: Path

    @property
    def plan(self) -> Path:
        """The plan, written first and removed last."""
        return self.root / "lab.json"

    @property
    def lock(self) -> Path:
        """Held while the lab is changed."""
        return self.root.parent / f".{self.root.name}.lock"

    def machine(self, name: str) -> Path:
        """All of a machine."""
        return self.root / name

    def etc(self, name: str) -> Path:
        """Its configuration."""
        return self.root / name / "etc"

    def data(self, name: str) -> Path:
        """What its own program keeps (agent, controller, nats-server)."""
        return self.root / name / "data"

    def log(self, machine: str, service: str) -> Path:
        """What a service writes."""
        return self.root / machine / "log" / f"{service}.log"

    def pid(self, name: str) -> Path:
        """Which process is the machine's first."""
        return self.root / name / "init.pid"

    def control(self, name: str) -> Path:
        """The socket on which the machine's first process listens."""
        return self.root / name / "init.sock"

    def docker_socket(self, name: str) -> Path:
        """The node's Docker API."""
        return self.root / name / "docker.sock"

    def docker_config(self, name: str) -> Path:
        """Where `docker login` on the node stores what its agent logs in with."""
        return self.etc(name) / "docker"

    def credentials(self, user: str) -> Path:
        """The credentials file of a machine or of the `operator`."""
        return self.root / "credentials" / f"{user}.json"


@dataclass(frozen=True)
class Tools:
    """The programs that a lab runs, as absolute paths."""

    python: str
    nats_server: str
    containerd: str
    dockerd: str
    search: str

    @classmethod
    def find(cls) -> Tools:
        """Look them up. Raises NotFound with what to install."""
        search = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:{SEARCH}"
        programs = ("nats-server", "containerd", "dockerd", "runc", "ip", "nsenter")
        found = {name: shutil.which(name, path=search) for name in programs}
        missing = ", ".join(name for name, path in found.items() if path is None)
        if missing:
            raise NotFound(f"not found for the lab: {missing}", hint="scripts/bootstrap (as root) brings them")
        containerd, dockerd, server = (found[name] or "" for name in ("containerd", "dockerd", "nats-server"))
        return cls(python=sys.executable, nats_server=server, containerd=containerd, dockerd=dockerd, search=search)
