"""One connection to NATS, kept up: a client that is closed is replaced by a fresh one, with all subscriptions.

A client of nats-py lives as long as its TCP connection: it is never let to reconnect by itself. So nothing is
buffered while there is no connection, and there is one way only in which a connection comes about. Library errors
become errors of the mesh here.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsPySubscription

from bus.nats_calls import FLUSH_TIMEOUT, barrier, close, connect, publish, subscribe, translated, unsubscribe
from bus.permissions import inbox_prefix
from bus.users import Credentials
from schemas.errors import Unreachable

log = structlog.get_logger()

CONNECT_TIMEOUT = 2
PING_INTERVAL = 1
PINGS_MISSED = 2
BACKOFF = (0.05, 2.0)
"""Least and most seconds between two rounds through the servers; doubled each time, jittered."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether a client is closed without having said so."""

NO_RESPONDERS = "503"


@dataclass
class Answer:
    """What came back."""

    headers: Mapping[str, str]
    data: bytes


Handler = Callable[[Msg], None]


@dataclass(eq=False)
class Listener:
    """A subscription that outlives its client."""

    subject: str
    handler: Handler
    queue: str = ""
    current: NatsPySubscription | None = field(default=None, repr=False)

    def deliver(self, message: Msg) -> None:
        """Hand a message to whoever handles them now."""
        self.handler(message)


class Line:
    """The connection. `run` keeps it up; everything else uses the client there is now."""

    def __init__(self, credentials: Credentials, rng: random.Random, group: asyncio.TaskGroup) -> None:
        self.user = credentials.user
        self.up = asyncio.Event()
        self.refused = ""
        """Why the servers do not accept the credentials; "" if they do."""
        self._credentials = credentials
        self._rng = rng
        self._client: Client | None = None
        self._listeners: dict[Listener, None] = {}
        self._hooks: dict[Callable[[], None], None] = {}
        self._servers = list(credentials.servers)
        self._said = ""
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()
        self._inbox = f"{inbox_prefix(self.user)}.{secrets.token_hex(11)}"
        self._asked = 0
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._listeners[Listener(f"{self._inbox}.*", self._answer)] = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client is not None and self._client.is_connected

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` beside the connection, at most as long as that is kept up."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self) -> None:
        """End all that was started."""
        for task in list(self._tasks):
            task.cancel()

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        wait = BACKOFF[0]
        while True:
            for server in self._rng.sample(self._servers, len(self._servers)):
                if await self._live(server):
                    wait = BACKOFF[0]
                    break
            await asyncio.sleep(self._rng.uniform(wait / 2, wait))
            wait = min(wait * 2, BACKOFF[1])

    def on_connect(self, hook: Callable[[], None]) -> None:
        """Call `hook` after each (re)connection, with all subscriptions in place."""
        self._hooks[hook] = None

    def off_connect(self, hook: Callable[[], None]) -> None:
        """Not any more."""
        self._hooks.pop(hook, None)

    async def listen(self, listener: Listener) -> None:
        """Subscribe now and after each reconnection. Cancelled, it leaves nothing behind."""
        self._listeners[listener] = None
        try:
            await self._listen_now(listener)
        except BaseException:
            await self.unlisten(listener)
            raise

    async def unlisten(self, *listeners: Listener) -> None:
        """Take subscriptions away; even when it is cancelled on the way, none of them outlives the client."""
        for listener in listeners:
            self._listeners.pop(listener, None)
        for listener in listeners:
            subscription, listener.current = listener.current, None
            if subscription is not None:
                with contextlib.suppress(nats_errors.Error, OSError):
                    await unsubscribe(subscription)

    async def tell(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish. Raises Unreachable, Refused (too large), UsageError (no subject)."""
        with translated(subject):
            await publish(self._current(), subject, data, reply, headers)

    async def ask(
        self, subject: str, data: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The first answer to a request. Raises Unreachable, Refused (too large), UsageError (no subject)."""
        client = self._current()
        inbox = self.new_inbox()
        answered: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[inbox] = answered
        try:
            with translated(subject, timeout):
                async with asyncio.timeout(timeout):
                    await publish(client, subject, data, inbox, headers)
                    message = await answered
        finally:
            del self._waiting[inbox]
        found = message.headers or {}
        if found.get("Status") == NO_RESPONDERS and not message.data:
            raise Unreachable(f"nobody answers on {subject}")
        return Answer(headers=found, data=message.data)

    def new_inbox(self) -> str:
        """A fresh subject on which only this user may listen, below which it may open others."""
        self._asked += 1
        return f"{self._inbox}.{self._asked}"

    def _answer(self, message: Msg) -> None:
        answered = self._waiting.get(message.subject)
        if answered is not None and not answered.done():
            answered.set_result(message)

    def _fail_waiting(self) -> None:
        """No answer will come over a connection that is lost."""
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(Unreachable("the connection was lost before the answer came"))

    def _current(self) -> Client:
        client = self._client
        if client is None or not client.is_connected:
            raise Unreachable("not connected to NATS")
        return client

    async def _listen_now(self, listener: Listener) -> None:
        client = self._client
        if client is not None:
            with contextlib.suppress(nats_errors.Error, OSError, TimeoutError):
                await self._subscribe(client, listener)
                await barrier(client)

    async def _live(self, server: str) -> bool:
        """One client's life, from connecting to being closed; False: it did not come about."""
        closed = asyncio.Event()
        client = Client()
        try:
            if not await self._open(client, server, closed):
                return False
            await self._take_over(client)
            await _until_closed(client, closed)
        finally:
            was_up = self.up.is_set()
            self._client = None
            self.up.clear()
            self._fail_waiting()
            for listener in self._listeners:
                listener.current = None
            await close(client)
        if was_up:
            log.info("bus.disconnected", server=server, error=str(client.last_error or ""))
        return was_up

    async def _open(self, client: Client, server: str, closed: asyncio.Event) -> bool:
        async def on_closed() -> None:
            closed.set()

        async def on_error(error: Exception) -> None:
            log.debug("bus.error", error=str(error))

        try:
            await connect(
                client,
                server,
                name=self._credentials.name or self.user or None,
                user=self.user or None,
                password=self._credentials.password or None,
                inbox_prefix=inbox_prefix(self.user),
                flush_timeout=FLUSH_TIMEOUT,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT,
                ping_interval=PING_INTERVAL,
                max_outstanding_pings=PINGS_MISSED,
                closed_cb=on_closed,
                error_cb=on_error,
            )
        except (TimeoutError, nats_errors.Error, OSError) as error:
            self.refused = str(error) if "authorization" in str(error).lower() else ""
            self._say_failed(server, str(error) or type(error).__name__)
            return False
        self.refused, self._said = "", ""
        return True

    async def _take_over(self, client: Client) -> None:
        """Make a fresh client the current one, with everything subscribed."""
        known = {server.split("://")[-1] for server in self._servers}
        found = (url.geturl() for url in client.discovered_servers)
        self._servers.extend(url for url in found if url.split("://")[-1] not in known)
        try:
            for listener in list(self._listeners):
                await self._subscribe(client, listener)
            await barrier(client)
        except (TimeoutError, nats_errors.Error, OSError) as error:
            log.warning("bus.subscribe_failed", error=str(error))
            await close(client)
            return
        self._client = client
        for listener in list(self._listeners):
            if listener.current is None:
                await self._listen_now(listener)
        self.up.set()
        log.info("bus.connected", server=client.connected_url.netloc if client.connected_url else "")
        for hook in list(self._hooks):
            hook()

    def _say_failed(self, server: str, error: str) -> None:
        """Log a failure once, not at every attempt."""
        if self._said != error:
            log.warning("bus.connect_failed", server=server, error=error)
        self._said = error

    async def _subscribe(self, client: Client, listener: Listener) -> None:
        listener.current = await subscribe(client, listener.subject, listener.queue, listener.deliver)


async def _until_closed(client: Client, closed: asyncio.Event) -> None:
    """Wait until a client has said that it is closed, or is closed and did not come to say it."""
    while not client.is_closed and not closed.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await closed.wait()
