"""A real registry on the switch of a lab, which wants a login; and a slow road to it."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lab.lab import Lab
from lab.plan import SWITCH_ADDRESS, Service
from tests.e2e import slow_relay
from tests.e2e.programs import program

PORT = 5000
SLOW_PORT = 5001
SLOW = 2e6
"""Bytes a second."""
USER = "tester"
PASSWORD = "open-sesame"
BCRYPT = "$2b$05$abcdefghijklmnopqrstuutXu9KzOt.1yBoZUeFWoT/914/JfszCO"
"""Of the password: registries take no other kind."""
NOT_NEEDED = ("libc6", "adduser", "lsb-base", "sysvinit-utils", "init-system-helpers")


class Registry:
    """A registry that listens; `host` and `slow` are what images in it are named after."""

    host = f"{SWITCH_ADDRESS}:{PORT}"
    slow = f"{SWITCH_ADDRESS}:{SLOW_PORT}"

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def push(self, node: str, image: str, name: str) -> None:
        """Push an image of a node's engine under that name, and leave nothing of it on the node."""
        engine = self._lab.engine(node)
        repository, _, tag = f"{self.host}/{name}".rpartition(":")
        word = base64.urlsafe_b64encode(json.dumps({"username": USER, "password": PASSWORD}).encode()).decode()
        engine.post(f"/images/{image}/tag?repo={repository}&tag={tag}")
        said = engine.post(f"/images/{repository}/push?tag={tag}", {"X-Registry-Auth": word})
        assert b'"error"' not in said, said[-1000:]
        engine.remove_image(f"{repository}:{tag}")

    def log_in(self, password: str = PASSWORD) -> None:
        """Give every node what `docker login` would store there."""
        word = base64.b64encode(f"{USER}:{password}".encode()).decode()
        for node in self._lab.nodes:
            folder = self._lab.paths.docker_config(node)
            folder.mkdir(exist_ok=True)
            auths = {host: {"auth": word} for host in (self.host, self.slow)}
            (folder / "config.json").write_text(json.dumps({"auths": auths}))

    def log_out(self) -> None:
        """Take it away again."""
        for node in self._lab.nodes:
            (self._lab.paths.docker_config(node) / "config.json").unlink(missing_ok=True)


@contextlib.contextmanager
def registry_of(lab: Lab, folder: Path) -> Iterator[Registry]:
    """A registry in the switch of a lab, until the context ends."""
    (folder / "htpasswd").write_text(f"{USER}:{BCRYPT}\n")
    config = write_config(folder, f"{SWITCH_ADDRESS}:{PORT}", login=True)
    binary = str(program("docker-registry", without=NOT_NEEDED) / "docker-registry")
    slow = (sys.executable, "-I", "-S", slow_relay.__file__, SWITCH_ADDRESS, str(SLOW_PORT), str(PORT), str(SLOW))
    host = lab.rack.host("switch")
    host.start(Service(name="registry", argv=(binary, "serve", str(config))))
    host.start(Service(name="slow-relay", argv=slow))
    registry = Registry(lab)
    try:
        deadline = time.monotonic() + 10
        probe = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"
        while lab.exec("switch", [sys.executable, "-c", probe, SWITCH_ADDRESS, str(PORT)]).returncode:
            assert time.monotonic() < deadline, lab.paths.log("switch", "registry").read_text()[-2000:]
        yield registry
    finally:
        registry.log_out()
        for name in ("slow-relay", "registry"):
            host.stop(name, patience=5)


def write_config(folder: Path, address: str, *, login: bool) -> Path:
    """The configuration file of a registry that keeps its images in `folder`."""
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": address},
    }
    if login:
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    file = folder / "registry.json"
    file.write_text(json.dumps(config))  # JSON is YAML, too
    return file
