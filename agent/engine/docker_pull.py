"""What is asked of registries through the engine, with the node's own Docker credentials.

Those stand in the agent's `config.json` ($DOCKER_CONFIG, else ~/.docker) and are read anew each time: after a
`docker login` on the node nothing has to be started again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import docker.errors

from agent.engine.docker_calls import split_reference
from agent.engine.docker_client import Api
from agent.engine.docker_errors import LIBRARY_ERRORS, image_error, is_timeout
from agent.engine.docker_views import progress_view
from agent.engine.model import PullProgress
from schemas.errors import ImageUnavailable


def registry_digest(api: Api, reference: str) -> str:
    """What the registry means by a reference, as "name@sha256:...". Raises ImageUnavailable (in part by the caller)."""
    name, _ = split_reference(reference)
    with _credentials(api, reference):
        found = api.inspect_distribution(reference)  # type: ignore[no-untyped-call]
    return f"{name}@{found['Descriptor']['digest']}"


def pull(api: Api, reference: str, platform: str, tell: Callable[[PullProgress], bool], also: str = "") -> None:
    """Pull until done, or until `tell` says that nobody waits; then tag it `also`. The client's time limit is that of a
    pull without a sign of life.

    Raises ImageUnavailable, or EngineError (disk full).
    """
    name, tag = split_reference(reference)
    with _credentials(api, reference):
        messages = api.pull(name, tag=tag, stream=True, decode=True, platform=platform or None)
    try:
        for message in messages:
            if error := message.get("error"):
                raise image_error(reference, str(error))
            if not tell(progress_view(reference, message)):
                return
    finally:
        messages.close()
    if also:
        api.tag(reference, *split_reference(also))


@contextmanager
def ends_in_silence(reference: str, limit: float) -> Iterator[None]:
    """A pull that shows no sign of life for `limit` seconds has failed. Raises ImageUnavailable."""
    try:
        yield
    except LIBRARY_ERRORS as error:
        if not is_timeout(error) or isinstance(error, docker.errors.APIError):
            raise
        raise ImageUnavailable(f"image {reference}: its pull stood still for {limit:g} s") from None


@contextmanager
def _credentials(api: Api, reference: str) -> Iterator[None]:
    """Calls in here use what `docker login` has stored by now. Raises ImageUnavailable where that can't be read."""
    api.reload_config()
    try:
        yield
    except docker.errors.APIError:
        raise
    except (docker.errors.DockerException, ValueError, KeyError) as error:
        why = f"this node's credentials for its registry can't be read: {error}"
        raise ImageUnavailable(f"image {reference}: {why}") from None
