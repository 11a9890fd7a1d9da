"""Pulling an image through docker-py, with the node's own Docker credentials."""

from __future__ import annotations

from collections.abc import Callable

from agent.engine.docker_calls import Api, split_reference
from agent.engine.docker_errors import image_error
from agent.engine.docker_views import progress_view
from agent.engine.port import PullProgress


def pull(api: Api, reference: str, platform: str, tell: Callable[[PullProgress], bool]) -> None:
    """Pull until done, or until `tell` says that nobody waits. Raises ImageUnavailable, or EngineError (disk full)."""
    name, tag = split_reference(reference)
    messages = api.pull(name, tag=tag, stream=True, decode=True, platform=platform or None)
    try:
        for message in messages:
            if error := message.get("error"):
                raise image_error(reference, str(error))
            if not tell(progress_view(reference, message)):
                return
    finally:
        messages.close()
