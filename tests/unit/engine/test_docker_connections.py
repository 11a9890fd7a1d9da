"""How many connections to an engine stay open: dockerd keeps a file descriptor and threads of its own for each."""

from __future__ import annotations

import contextlib
import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from agent.engine import docker_calls as calls
from agent.engine.docker_client import connect

IDS = [f"{number:064x}" for number in range(60)]


class Engine(BaseHTTPRequestHandler):
    """As much of an engine as tells its version, and of any container that it is there."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Id": self.path, "Config": {"Tty": True}})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_words: object) -> None:
        """Nothing is said."""

    def address_string(self) -> str:
        return ""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with Server(str(tmp_path / "s"), Engine) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"unix://{tmp_path / 's'}"
        server.shutdown()
        thread.join()


def sockets() -> int:
    """Open sockets of this process, the server's ends among them."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that was listed with
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


def test_a_client_keeps_one_connection_however_many_containers_it_asked_about(address: str) -> None:
    before = sockets()
    api = connect(address)
    try:
        for container in IDS:
            assert calls.is_tty(api, container)[0]
        until = time.monotonic() + 10
        while sockets() - before > 4 and time.monotonic() < until:
            time.sleep(0.01)  # the server's thread has yet to see that an old one is closed
        assert sockets() - before <= 4, "a connection stays open for each container that was asked about"
    finally:
        api.close()
