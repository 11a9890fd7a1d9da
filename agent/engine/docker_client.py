"""docker-py's client as it is used here: each wait has an end, and few connections stay open."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import docker
from docker.transport import UnixHTTPAdapter

from agent.engine.docker_errors import translated

CONNECT_LIMIT = 10.0

LOCAL = "http+docker://"
"""How docker-py's address begins where the engine is on this machine (a unix socket)."""


class Api(docker.APIClient):
    """docker-py's client; its streams, too, end once they show no sign of life for `timeout`, and are closed then."""

    def _set_request_timeout(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        return kwargs

    def _stream_helper(self, response: Any, decode: bool = False) -> Iterator[Any]:
        try:
            yield from super()._stream_helper(response, decode)  # type: ignore[misc]
        finally:
            response.close()


def connect(address: str) -> Api:
    """A client that speaks the engine's own version. Raises EngineUnavailable."""
    with translated("connect", address, CONNECT_LIMIT):
        _knock(address)
        api = Api(base_url=address, version="auto", timeout=int(CONNECT_LIMIT))
        _keep_one_connection(api, address)
        return api


def _keep_one_connection(api: Api, address: str) -> None:
    """docker-py keeps connections open for the last 25 URLs (its `num_pools` is not heeded), and each container has its
    own: 200 in an agent with eight threads, each with a descriptor and two goroutines at the engine."""
    if address.startswith("unix://"):
        api.get_adapter(LOCAL).close()
        path = address.removeprefix("unix://")
        api.mount(LOCAL, UnixHTTPAdapter(f"http+unix://{path}", int(CONNECT_LIMIT), pool_connections=1))


def _knock(address: str) -> None:
    """Raise the plain OSError if nobody listens: docker-py's own error for it is vague, and it leaves a socket open."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_LIMIT)
            probe.connect(address.removeprefix("unix://"))
