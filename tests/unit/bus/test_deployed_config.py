"""The example of a production configuration is what the code renders, and nats-server takes it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bus.accounts import Cluster, Server, Users, render_config
from tests.conftest import nats_server_path

PATH = Path(__file__).resolve().parents[3] / "deploy" / "nats" / "nats-1.conf"
CHANGE = "CHANGE-ME"

HEADER = """\
# The first of three nats-servers of a mesh. Made from bus.accounts: see README.md beside this file.
# Make it anew after a change of the code: UPDATE_GOLDEN=1 pytest tests/unit/bus/test_deployed_config.py

"""


def rendered() -> str:
    hosts = ("10.0.0.11", "10.0.0.12", "10.0.0.13")
    server = Server(
        name="nats-1",
        listen=f"{hosts[0]}:4222",
        store_dir="/var/lib/dockmesh/nats",
        cluster=Cluster("dockmesh", f"{hosts[0]}:6222", tuple(f"{host}:6222" for host in hosts), CHANGE),
        monitor="127.0.0.1:8222",
        encryption_key=CHANGE,
    )
    users = Users(
        operator=CHANGE,
        controllers={"controller-1": CHANGE, "controller-2": CHANGE, "controller-3": CHANGE},
        agents={"node-1": CHANGE, "node-2": CHANGE, "node-3": CHANGE},
    )
    return HEADER + render_config(server, users)


def test_the_example_is_what_the_code_renders() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        PATH.write_text(rendered())
    assert PATH.read_text() == rendered()


def test_nats_server_takes_it() -> None:
    checked = subprocess.run([nats_server_path(), "-t", "-c", str(PATH)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
