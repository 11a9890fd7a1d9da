"""How long until JetStream takes a write again after the server that leads its stream died? The peer of `failover.py`.

Three nats-servers, a stream of three replicas, and a plain client of another server than the one that is lost, which
asks again every 50 ms: nothing of Dockmesh writes or waits. Needs root: alone it makes a lab of its own.

    python benchmarks/failover_bare.py [--rounds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import nats
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext

from bus.logs import configure_logging
from lab.bringup import bring_up
from lab.lab import Lab
from lab.plan import make_plan

STREAM = "BARE"
SUBJECT = "bare"
SERVERS = ("nats-1", "nats-2", "nats-3")
WRITE_TIMEOUT = 0.3
PAUSE = 0.05
PATIENCE = 60.0
LOOK_EVERY = 1.0

STALL = 15.0
"""Seconds that a server is stopped for (SIGSTOP): longer than an election takes."""


async def measure(lab: Lab, rounds: int) -> dict[str, list[float]]:
    """What each round has taken."""
    async with _stream_at(lab, SERVERS) as stream:
        await stream.add_stream(name=STREAM, subjects=[SUBJECT], num_replicas=len(SERVERS))
    rows: dict[str, list[float]] = {"bare-kill": [], "bare-stall": []}
    for _ in range(rounds):
        leads = await _settled(lab)
        rows["bare-kill"].append(await _lost(lab, leads, partial(lab.kill, leads), partial(lab.start, leads)))
        leads = await _settled(lab)
        send = partial(lab.rack.host(leads).signal, "nats")
        stop, wake = partial(send, signal.SIGSTOP), partial(send, signal.SIGCONT)
        rows["bare-stall"].append(await _lost(lab, leads, stop, wake, lasting=STALL))
    await _settled(lab)
    async with _stream_at(lab, SERVERS) as stream:
        await stream.delete_stream(STREAM)
    return rows


async def _lost(
    lab: Lab, leads: str, blow: Callable[[], object], mend: Callable[[], object], *, lasting: float = 0.0
) -> float:
    """Seconds from the blow until a write is taken. Raises TimeoutError."""
    async with _stream_at(lab, [name for name in SERVERS if name != leads]) as stream:
        began = time.monotonic()
        try:
            await asyncio.to_thread(blow)
            await _write(stream)
            took = time.monotonic() - began
            await asyncio.sleep(lasting - took)
        finally:
            await asyncio.to_thread(mend)
    return took


async def _write(stream: JetStreamContext) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await stream.publish(SUBJECT, b"x", timeout=WRITE_TIMEOUT)
            except NatsError:
                await asyncio.sleep(PAUSE)
            else:
                return


async def _settled(lab: Lab) -> str:
    """The stream's leader, once the other servers follow it. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with _stream_at(lab, SERVERS) as stream:
                    cluster = (await stream.stream_info(STREAM)).cluster
                if cluster and cluster.leader and all(replica.current for replica in cluster.replicas or ()):
                    return cluster.leader
            except (NatsError, OSError):
                pass  # a server that was lost is not back yet
            await asyncio.sleep(LOOK_EVERY)


@asynccontextmanager
async def _stream_at(lab: Lab, servers: list[str] | tuple[str, ...]) -> AsyncIterator[JetStreamContext]:
    """A plain client of one of these servers."""
    operator = lab.credentials()
    addresses = dict(zip(SERVERS, operator.servers, strict=True))
    known = [addresses[name] for name in servers]
    client = await nats.connect(known, user=operator.user, password=operator.password, error_cb=_ignore)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def _ignore(_error: Exception) -> None:
    """A connection that a lost server has closed is expected here."""


def main() -> None:
    """Run alone and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", default=10, type=int)
    options = parser.parse_args()
    configure_logging(level=50)
    lab = bring_up(make_plan(f"bench-{os.getpid()}", mesh_id="bench", nodes=0, controllers=0))
    try:
        for name, took in asyncio.run(measure(lab, options.rounds)).items():
            print(f"{name:14} {statistics.median(took):>9.2f} {max(took):>8.2f}")
    finally:
        lab.down()


if __name__ == "__main__":
    main()
