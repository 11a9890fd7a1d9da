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

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from bus.nats_calls import barrier, close, ping, publish, subscribe, translated, unsubscribe
from bus.nats_listening import Answer, Listener
from bus.nats_lives import Life, answers, open_elsewhere, open_life
from bus.permissions import inbox_prefix
from bus.users import Credentials
from schemas.errors import Unreachable

log = structlog.get_logger()

CONNECT_TIMEOUT = 2
MOVE_EVERY = 2.0
"""Least seconds between two moves: on a machine that is overloaded all servers are slow."""

BACKOFF = (0.05, 2.0)
"""Least and most seconds between two rounds through the servers; doubled each time, jittered."""

NO_RESPONDERS = "503"


class Line:
    """The connection. `run` keeps it up; everything else uses the client there is now."""

    def __init__(self, credentials: Credentials, rng: random.Random, group: asyncio.TaskGroup) -> None:
        self.user = credentials.user
        self.up = asyncio.Event()
        self.refused = ""
        """Why the servers do not accept the credentials; "" if they do."""
        self._credentials = credentials
        self._rng = rng
        self._life: Life | None = None
        self._next: Life | None = None
        """Connected already, to be taken over when the present one has ended."""
        self._left = ""
        """The server that was lost last: the others are tried before it."""
        self._since = 0.0
        self._checking = asyncio.Lock()
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
    def _client(self) -> Client | None:
        return self._life.client if self._life is not None else None

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
        try:
            while True:
                for server in self._round(self._left):
                    if await self._live_at(server):
                        wait = BACKOFF[0]
                        break
                await asyncio.sleep(self._rng.uniform(wait / 2, wait))
                wait = min(wait * 2, BACKOFF[1])
        finally:
            if self._next is not None:
                self._next.taken.set()
                await close(self._next.client)

    async def check(self, limit: float) -> bool:
        """See `bus.port.Bus.check_line`."""
        life = self._life
        if life is None:
            return False
        async with self._checking:
            recent = asyncio.get_running_loop().time() - self._since < MOVE_EVERY
            if self._life is life and not recent:
                with contextlib.suppress(nats_errors.Error, OSError):
                    await self._move(life, limit)
        return self._life is not None and self._life is not life

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

    async def _live_at(self, server: str) -> bool:
        """Connect there, and live there and wherever that moves to; False: it did not come about."""
        self._next = await self._open(server)
        lived = False
        while (life := self._next) is not None:
            self._next = None
            lived = await self._live(life)
        return lived

    async def _live(self, life: Life) -> bool:
        """One client's life, until it is closed; whether it came to be the connection."""
        try:
            await self._take_over(life)
            await life.until_ended()
        finally:
            was_up = self.up.is_set()
            self._life = None
            self.up.clear()
            self._fail_waiting()
            for listener in self._listeners:
                listener.current = None
            life.taken.set()
            await close(life.client)
        if was_up:
            self._left = life.server
            log.info("bus.disconnected", server=life.server, error=str(life.client.last_error or ""))
        return was_up

    async def _open(self, server: str) -> Life | None:
        try:
            life = await open_life(self._credentials, server, CONNECT_TIMEOUT)
        except (TimeoutError, nats_errors.Error, OSError) as error:
            self.refused = str(error) if "authorization" in str(error).lower() else ""
            self._say_failed(server, str(error) or type(error).__name__)
            return None
        self.refused, self._said = "", ""
        return life

    async def _move(self, life: Life, limit: float) -> None:
        """Open another connection, and only then give up this one; unless its server answers after all."""
        pong = await ping(life.client)
        if await answers(pong, limit):
            return
        other = await open_elsewhere(self._credentials, self._round(life.server)[:-1])
        if other is None:
            return
        if self._life is not life or pong.done():
            await close(other.client)
            return
        log.warning("bus.moved", server=other.server, why=f"{life.server} does not answer")
        self._next = other
        life.give_up()
        await other.taken.wait()

    def _round(self, last: str) -> list[str]:
        """All servers in an order of chance, but that one last."""
        return sorted(self._rng.sample(self._servers, len(self._servers)), key=lambda server: server == last)

    async def _take_over(self, life: Life) -> None:
        """Make a fresh client the current one, with everything subscribed."""
        client = life.client
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
        self._life = life
        self._since = asyncio.get_running_loop().time()
        for listener in list(self._listeners):
            if listener.current is None:
                await self._listen_now(listener)
        self.up.set()
        life.taken.set()
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
