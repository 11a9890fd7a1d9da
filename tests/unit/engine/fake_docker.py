"""As much of a Docker engine as containers and pulls need, on a unix socket: for what no real one does on request."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from agent.engine.labels import Owner

OWNER = Owner("m1", "n1")


def moment(at: float) -> str:
    """A time as Docker writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z") if at else "0001-01-01T00:00:00Z"


class FakeDocker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The engine; a test sets what it has and what it does."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.address = f"unix://{path}"
        self.inspects: dict[str, dict[str, Any]] = {}
        """What it tells of each container, by id."""
        self.states: dict[str, str] = {}
        """What its list says instead."""
        self.hanging: set[str] = set()
        """Ids of containers of which nothing is told until `going_on` is set."""
        self.going_on = threading.Event()
        self.asked: list[str] = []
        """Ids that it was asked to inspect."""
        self.events_status = 200
        self.pull_messages: list[dict[str, Any]] = []
        """What a pull says before it says nothing more."""
        self.pulls_closed = threading.Semaphore(0)
        """Released for each pull that its client has given up."""
        self.taken: list[str] = []
        """Names that are taken when a container is to be made: each time one of these."""

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was gone."""

    def add(
        self, container: str, state: str = "running", *, finished: float = 0.0, exit_code: int = 0, **labels: str
    ) -> None:
        """It has this container of the owner's."""
        started = (finished or time.time()) - 60
        self.inspects[container] = {
            "Id": container,
            "Name": f"/web.1.{container}",
            "Created": moment(started - 1),
            "Image": "sha256:1",
            "State": {
                "Status": state,
                "ExitCode": exit_code,
                "StartedAt": moment(0.0 if state == "created" else started),
                "FinishedAt": moment(finished),
            },
            "Config": {"Labels": {**OWNER.labels, "mesh.task": container, **labels}},
        }

    def entries(self) -> list[dict[str, Any]]:
        """The list of containers."""
        return [
            {
                "Id": id_,
                "Names": [one["Name"]],
                "ImageID": one["Image"],
                "State": self.states.get(id_, one["State"]["Status"]),
                "Status": "",
                "Created": 1000,
                "Labels": one["Config"]["Labels"],
                "Ports": [],
            }
            for id_, one in self.inspects.items()
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeDocker

    def do_GET(self) -> None:
        url = urlparse(self.path)
        path = url.path
        if path.endswith("/version"):
            self._say({"ApiVersion": "1.41", "Version": "20.10"})
        elif path.endswith("/containers/json"):
            self._say(self.server.entries())
        elif "/containers/" in path:
            self._inspect(path.split("/")[-2])
        elif path.endswith("/events"):
            self._events(parse_qs(url.query))
        else:
            self._say({})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/images/create" in self.path:
            self._pull()
        else:
            self._refuse(
                409, f'The container name "/{self.server.taken.pop(0)}" is already in use by container "{"0" * 64}"'
            )

    def _inspect(self, asked: str) -> None:
        self.server.asked.append(asked)
        found = next((one for id_, one in self.server.inspects.items() if asked in (id_, one["Name"][1:])), None)
        if found is None:
            self._refuse(404, f"No such container: {asked}")
            return
        if found["Id"] in self.server.hanging:
            self.server.going_on.wait()
        self._say(found)

    def _events(self, query: dict[str, list[str]]) -> None:
        """None; like Docker it ends the stream when its `until` has come."""
        if self.server.events_status != 200:
            self._refuse(self.server.events_status, "events are broken")
            return
        self._begin_stream()
        end = float(query["until"][0]) if "until" in query else time.time() + 1e6
        self.server.going_on.wait(max(0.0, end - time.time()))
        self.wfile.write(b"0\r\n\r\n")

    def _pull(self) -> None:
        self._begin_stream()
        for message in self.server.pull_messages:
            line = json.dumps(message).encode() + b"\r\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        if self.connection.recv(1) == b"":
            self.server.pulls_closed.release()
        self.close_connection = True

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _say(self, told: object, status: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # who asked has given it up
            self.wfile.write(body)

    def _refuse(self, status: int, why: str) -> None:
        self._say({"message": why}, status)

    def log_message(self, *_words: object) -> None:
        """Nothing is said."""

    def address_string(self) -> str:
        return ""


@contextlib.contextmanager
def fake_docker(folder: Path) -> Iterator[FakeDocker]:
    """One that runs."""
    with FakeDocker(folder / "s") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.going_on.set()
            server.shutdown()
            thread.join()
