"""The errors of the docker library and its HTTP client become the mesh's, in this one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import docker.errors
import requests
import urllib3.exceptions

from agent.engine.docker_texts import explain, explain_pull
from schemas.errors import Conflict, EngineError, EngineUnavailable, ImageUnavailable, MeshError, NotFound

LIBRARY_ERRORS = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    docker.errors.DockerException,
    OSError,
)
"""What the libraries raise where there is no answer of the engine; a stream that breaks brings urllib3's own."""


def classify(status: int, text: str) -> MeshError:
    """The error for an answer of the engine: HTTP status and its text."""
    line = explain(text)
    if "no such image" in line.lower():
        return ImageUnavailable(line)
    if status == 404 and line.startswith("no such "):
        return NotFound(line)
    if status == 409:
        return Conflict(line)
    return EngineError(line)


def image_error(reference: str, text: str) -> MeshError:
    """The error for a pull that failed with this text."""
    if "no space left on device" in text:
        return EngineError(explain(text))
    return ImageUnavailable(f"image {reference}: {explain_pull(text)}")


@contextmanager
def translated(what: str, address: str, limit: float, image: str = "") -> Iterator[None]:
    """Errors of the libraries become the mesh's. `image`: this is a pull of it."""
    wrong: Callable[[int, str], MeshError] = classify if not image else lambda _, text: image_error(image, text)
    try:
        yield
    except docker.errors.APIError as error:
        status = error.response.status_code if error.response is not None else 500
        raise wrong(status, str(error.explanation or error)) from None
    except LIBRARY_ERRORS as error:
        if is_timeout(error):
            raise _timed_out(what, limit) from None
        raise EngineUnavailable(f"the container engine does not answer at {address}: {_cause(error)}") from None


def is_timeout(error: Exception) -> bool:
    """Whether this error of the libraries means that no answer came in time."""
    return isinstance(error, requests.exceptions.Timeout | TimeoutError) or "timed out" in str(error).lower()


def _timed_out(what: str, limit: float) -> EngineUnavailable:
    return EngineUnavailable(f"the container engine did not answer within {limit:g} s ({what})")


def _cause(error: BaseException) -> str:
    text = str(error)
    for sign, line in (
        ("FileNotFoundError", "no such socket"),
        ("No such file", "no such socket"),
        ("ConnectionRefused", "connection refused"),
        ("Connection refused", "connection refused"),
        ("PermissionError", "no permission to use the socket"),
        ("RemoteDisconnected", "it closed the connection"),
        ("Connection aborted", "it closed the connection"),
        ("IncompleteRead", "it closed the connection"),
        ("Connection broken", "it closed the connection"),
    ):
        if sign in text:
            return line
    return explain(text)
