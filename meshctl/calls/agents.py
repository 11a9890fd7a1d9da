"""What a node's own agent is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import cast

from msgspec.structs import replace

from meshctl.asking import DEPLOY_TIMEOUT, NODE_TIMEOUT
from meshctl.calls.asker import Asker
from schemas.nodeapi import (
    ImageList,
    ListImages,
    LoadAnswer,
    LoadChunk,
    LogLine,
    LogPage,
    ReadLogs,
    RemoveVolume,
    ResolvedImage,
    ResolveImage,
)


class AgentCalls(Asker):
    """Logs, images and volumes of one node."""

    async def log_page(self, node: str, request: ReadLogs) -> LogPage:
        """One page of a task's log."""
        answer = await self.ask_node(node, "logs", request, timeout=NODE_TIMEOUT + request.wait)
        return cast("LogPage", answer)

    async def logs(
        self, node: str, task: str, *, follow: bool = False, tail: int = -1, since: float = 0.0
    ) -> AsyncGenerator[LogLine, None]:
        """A task's log line by line; `follow`: until the task has ended."""
        request = ReadLogs(task=task, tail=tail, since=since)
        while True:
            page = await self.log_page(node, request)
            for line in page.lines:
                yield line
            if page.ended or (not follow and not page.lines):
                return
            wait = 2.0 if follow else 0.0
            request = replace(request, cursor=page.cursor or request.cursor, wait=wait)

    async def images(self, node: str) -> ImageList:
        """The images on a node."""
        return cast("ImageList", await self.ask_node(node, "image_list", ListImages()))

    async def resolve_image(self, node: str, request: ResolveImage) -> ResolvedImage:
        """What an image is on a node."""
        answer = await self.ask_node(node, "image_resolve", request, timeout=DEPLOY_TIMEOUT)
        return cast("ResolvedImage", answer)

    async def load_chunk(self, node: str, chunk: LoadChunk) -> LoadAnswer:
        """One chunk of an image's archive (`meshctl.transfer` sends whole archives)."""
        timeout = DEPLOY_TIMEOUT if chunk.last else NODE_TIMEOUT * 3
        return cast("LoadAnswer", await self.ask_node(node, "image_load", chunk, timeout=timeout))

    async def remove_volume(self, node: str, name: str) -> None:
        """Remove a named volume from a node. Raises Refused while it is in use."""
        await self.ask_node(node, "volume_remove", RemoveVolume(name=name))
