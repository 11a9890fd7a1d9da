"""Brings votes from redis to the database. No vote is lost between the two, however often this program dies.

A vote is read, written, and only then removed. So it may be written twice, or by two workers at a time, or after a
later one of the same voter: the database keeps the latest by its time.
"""

import json
import signal
import threading

import psycopg2
from psycopg2.extras import execute_values
from redis import Redis, RedisError

from database import connect
from web import first_line, say

AT_ONCE = 200
PAUSE = 0.1
"""Seconds between two looks at an empty list."""

TABLE = """CREATE TABLE IF NOT EXISTS votes (
    id VARCHAR(255) PRIMARY KEY, vote VARCHAR(255) NOT NULL, at BIGINT NOT NULL DEFAULT 0)"""
WRITE = """INSERT INTO votes (id, vote, at) VALUES %s
    ON CONFLICT (id) DO UPDATE SET vote = excluded.vote, at = excluded.at WHERE votes.at < excluded.at"""

ending = threading.Event()


def latest(votes):
    """Of each voter the last vote, in one order for all workers, so that they never wait for each other in a ring."""
    found = {}
    for vote in votes:
        if vote["at"] >= found.get(vote["voter_id"], vote)["at"]:
            found[vote["voter_id"]] = vote
    return [(voter, vote["vote"], vote["at"]) for voter, vote in sorted(found.items())]


def carry(redis, database):
    """Some votes, oldest first; how many."""
    texts = redis.lrange("votes", 0, AT_ONCE - 1)
    if texts:
        with database.cursor() as cursor:
            execute_values(cursor, WRITE, latest(map(json.loads, texts)), page_size=AT_ONCE)
        with redis.pipeline(transaction=False) as removing:
            for text in texts:
                removing.lrem("votes", 1, text)
            removing.execute()
    return len(texts)


def work():
    """Carry until something breaks or the end is near."""
    redis = Redis(host="redis", socket_timeout=1, socket_connect_timeout=1)
    database = connect()
    try:
        with database.cursor() as cursor:
            cursor.execute(TABLE)
        say("redis and the database are there")
        while not ending.is_set():
            if carry(redis, database) < AT_ONCE:
                ending.wait(PAUSE)
    finally:
        database.close()
        redis.close()


def main():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    while not ending.is_set():
        try:
            work()
        except (RedisError, psycopg2.Error) as error:
            say(f"once more, because of: {first_line(error)}")
            ending.wait(0.5)
    say("ended")


if __name__ == "__main__":
    main()
