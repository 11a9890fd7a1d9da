"""The page with the result: the database is asked twice a second, and every browser is told at once (server-sent events)."""

import html
import json
import os
import threading

import psycopg2

from database import connect
from web import Handler, first_line, page, say, serve

OPTIONS = {"a": os.getenv("OPTION_A", "Cats"), "b": os.getenv("OPTION_B", "Dogs")}
LOOK_EVERY = 0.5
SPEAK_EVERY = 1.0
"""Seconds until a browser hears something even if nothing has changed: so it notices when this program is gone."""

ending = threading.Event()


class Tally:
    """The last count, and whether it is of now."""

    def __init__(self):
        self.counts = dict.fromkeys(OPTIONS, 0)
        self.current = False
        self.changed = threading.Condition()

    def text(self):
        return json.dumps({**self.counts, "current": self.current})

    def set(self, counts, current):
        if (counts, current) != (self.counts, self.current):
            with self.changed:
                self.counts, self.current = counts, current
                self.changed.notify_all()

    def keep(self):
        """Ask for ever."""
        while not ending.is_set():
            try:
                self.ask()
            except psycopg2.Error as error:
                # Before the first vote there is no table: that is a result, too.
                none_yet = isinstance(error, psycopg2.errors.UndefinedTable)
                self.set(self.counts, none_yet)
                if not none_yet:
                    say(f"the database does not answer: {first_line(error)}")
                ending.wait(LOOK_EVERY)

    def ask(self):
        database = connect()
        try:
            while not ending.is_set():
                with database.cursor() as cursor:
                    cursor.execute("SELECT vote, COUNT(id) FROM votes GROUP BY vote")
                    self.set({**dict.fromkeys(OPTIONS, 0), **dict(cursor.fetchall())}, True)
                ending.wait(LOOK_EVERY)
        finally:
            database.close()


tally = Tally()


class Result(Handler):
    def do_GET(self):
        if self.path == "/health":
            self.answer("well", "text/plain")
        elif self.path == "/counts":
            self.answer(tally.text(), "application/json")
        elif self.path == "/events":
            self.follow()
        else:
            self.answer(page("result.html", **{key: html.escape(text) for key, text in OPTIONS.items()}))

    do_HEAD = do_GET

    def follow(self):
        """Tell each count until the browser leaves."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        try:
            while not ending.is_set():
                self.wfile.write(f"data: {tally.text()}\n\n".encode())
                with tally.changed:
                    tally.changed.wait(SPEAK_EVERY)
        except OSError:
            return


if __name__ == "__main__":
    threading.Thread(target=tally.keep).start()
    serve(Result, ending)
