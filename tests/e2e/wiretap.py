"""What passes over NATS to the state stream, and what the servers answer: heard by a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import nats
from nats.aio.msg import Msg

from bus.nats_wire import EXPECTED, EXPECTED_SUBJECT
from bus.permissions import inbox_prefix
from bus.users import Credentials, controller_user
from schemas.subjects import EPOCH, STATE_PREFIX


@dataclass(frozen=True)
class Asked:
    """A message that somebody has sent to be stored."""

    key: str
    inbox: str
    """Where the answer goes."""
    fence: int
    """The sequence that `election.epoch` has to have; 0: none is asked for."""


@dataclass
class Wiretap:
    """What a controller has sent to the store, and what it was answered; in order."""

    asked: list[Asked] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    """Inbox -> the error code of JetStream's answer there."""

    async def hear_write(self, message: Msg) -> None:
        """A message on its way to the stream."""
        headers = message.headers or {}
        fenced = headers.get(EXPECTED_SUBJECT) == STATE_PREFIX + EPOCH
        fence = int(headers[EXPECTED]) if fenced else 0
        self.asked.append(Asked(message.subject.removeprefix(STATE_PREFIX), message.reply, fence))

    async def hear_answer(self, message: Msg) -> None:
        """An answer to the controller."""
        with contextlib.suppress(ValueError):
            answer = json.loads(message.data or b"{}")
            if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
                self.refused[message.subject] = int(answer["error"].get("err_code", 0))


@contextlib.contextmanager
def tapped(credentials: Credentials, controller: str) -> Iterator[Wiretap]:
    """Listen to what a controller writes and is answered, while the context is open. The operator may."""
    tap, open_, closing = Wiretap(), threading.Event(), threading.Event()
    inboxes = f"{inbox_prefix(controller_user(controller))}.>"

    async def listen() -> None:
        client = await nats.connect(list(credentials.servers), user=credentials.user, password=credentials.password)
        await client.subscribe(f"{STATE_PREFIX}>", cb=tap.hear_write)
        await client.subscribe(inboxes, cb=tap.hear_answer)
        await client.flush()
        open_.set()
        while not closing.is_set():
            await asyncio.sleep(0.05)
        await client.close()

    thread = threading.Thread(target=lambda: asyncio.run(listen()), daemon=True)
    thread.start()
    try:
        assert open_.wait(20), "no nats-server lets the wiretap in"
        yield tap
    finally:
        closing.set()
        thread.join(10)
