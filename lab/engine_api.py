"""As much of a node's Docker API as the lab itself needs, over its socket: is it up, bring an image, list and look."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from schemas.errors import EngineError, EngineUnavailable, NotFound


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class EngineApi:
    """One engine. Calls block; they raise EngineUnavailable, NotFound or EngineError."""

    def __init__(self, path: Path, timeout: float = 120.0) -> None:
        self.path = path
        self._timeout = timeout

    def ping(self) -> bool:
        """Whether the engine answers."""
        try:
            self._ask("GET", "/_ping")
        except (EngineError, NotFound):
            return False
        return True

    def wait(self, patience: float) -> None:
        """Until the engine answers. Raises EngineUnavailable."""
        deadline = time.monotonic() + patience
        while not self.ping():
            if time.monotonic() > deadline:
                raise EngineUnavailable(f"the engine at {self.path} does not answer after {patience:g} s")
            time.sleep(0.05)

    def load(self, archive: Path) -> None:
        """Bring an image from a docker archive."""
        with archive.open("rb") as body:
            answer = self._ask("POST", "/images/load?quiet=1", body, {"Content-Type": "application/x-tar"})
        if b'"error"' in answer:
            raise EngineError(f"{archive.name} can't be loaded: {answer.decode(errors='replace').strip()}")

    def image_id(self, name: str) -> str:
        """The id of an image. Raises NotFound."""
        found: str = json.loads(self._ask("GET", f"/images/{quote(name)}/json"))["Id"]
        return found

    def containers(self, *labels: str, every: bool = False) -> list[dict[str, Any]]:
        """Containers (running, or `every`) that have all these labels (`key` or `key=value`)."""
        filters = json.dumps({"label": list(labels)})
        query = urlencode({"filters": filters, "all": "1" if every else "0"})
        found: list[dict[str, Any]] = json.loads(self._ask("GET", f"/containers/json?{query}"))
        return found

    def inspect(self, container: str) -> dict[str, Any]:
        """All that the engine knows of a container. Raises NotFound."""
        found: dict[str, Any] = json.loads(self._ask("GET", f"/containers/{quote(container)}/json"))
        return found

    def run(
        self,
        image: str,
        *command: str,
        name: str = "",
        host: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Create and start a container that Dockmesh does not manage; its id."""
        spec = {"Image": image, "Cmd": list(command), "Labels": dict(labels or {})}
        spec["HostConfig"] = {"Init": True, **(host or {})}
        spec["ExposedPorts"] = {port: {} for port in (host or {}).get("PortBindings", {})}
        query = f"?{urlencode({'name': name})}" if name else ""
        headers = {"Content-Type": "application/json"}
        body = json.dumps(spec).encode()
        made: str = json.loads(self._ask("POST", f"/containers/create{query}", body, headers))["Id"]
        self._ask("POST", f"/containers/{made}/start")
        return made

    def signal(self, container: str, name: str) -> None:
        """Send a signal to a container's first process. Raises NotFound, EngineError."""
        self._ask("POST", f"/containers/{quote(container)}/kill?signal={quote(name)}")

    def remove(self, container: str) -> None:
        """End and remove a container. Raises NotFound."""
        self._ask("DELETE", f"/containers/{quote(container)}?force=1&v=1")

    def post(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Any other call that changes something. Raises NotFound, EngineError."""
        return self._ask("POST", path, b"", headers)

    def change(self, path: str, **wanted: Any) -> None:
        """A call whose body are these fields. Raises NotFound, EngineError."""
        self._ask("POST", path, json.dumps(wanted).encode(), {"Content-Type": "application/json"})

    def remove_image(self, reference: str) -> None:
        """Take a name from an image, and the image away with its last name. Raises NotFound."""
        self._ask("DELETE", f"/images/{reference}")

    def _ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        with self._connection() as connection:
            try:
                connection.request(method, path, body=body, headers=dict(headers or {}))
                with contextlib.closing(connection.getresponse()) as response:  # it holds the socket, too
                    data = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise EngineUnavailable(f"the engine at {self.path} does not answer: {error}") from error
        if response.status == 404:
            raise NotFound(f"{method} {path}: {data.decode(errors='replace').strip()}")
        if response.status >= 400:
            raise EngineError(f"{method} {path}: {data.decode(errors='replace').strip()}")
        return data

    @contextlib.contextmanager
    def _connection(self) -> Iterator[_UnixConnection]:
        connection = _UnixConnection(self.path, self._timeout)
        try:
            yield connection
        finally:
            connection.close()
