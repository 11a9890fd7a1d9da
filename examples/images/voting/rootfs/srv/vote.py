"""The page that people vote on: a cookie tells voters apart, each vote goes to the list `votes` in redis."""

import html
import json
import os
import re
import secrets
import socket
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from redis import ConnectionError, Redis, RedisError, TimeoutError
from redis.backoff import NoBackoff
from redis.retry import Retry

from web import Handler, page, say, serve

OPTIONS = {"a": os.getenv("OPTION_A", "Cats"), "b": os.getenv("OPTION_B", "Dogs")}
SITS_AT = socket.gethostname()
LONGEST = 1000

redis = Redis(
    host="redis",
    socket_timeout=1,
    socket_connect_timeout=1,
    # A connection may be to a redis that is no more: once more, with a new one.
    retry=Retry(NoBackoff(), 1),
    retry_on_error=[ConnectionError, TimeoutError],
)


class Vote(Handler):
    def do_GET(self):
        if self.path == "/health":
            self.answer("well", "text/plain")
        else:
            self.show(self.voter(), "")

    do_HEAD = do_GET

    def do_POST(self):
        try:
            length = min(int(self.headers.get("Content-Length", 0)), LONGEST)
            choice = parse_qs(self.rfile.read(length).decode()).get("vote", [""])[0]
        except ValueError:
            choice = ""
        if choice not in OPTIONS:
            self.answer("There is no such choice.", "text/plain", 400)
            return
        voter = self.voter()
        try:
            redis.rpush("votes", json.dumps({"voter_id": voter, "vote": choice, "at": time.time_ns()}))
        except RedisError as error:
            say(f"a vote was not taken: {error}")
            self.show(voter, "", "Your vote could not be taken just now. Please try again.", 503)
        else:
            self.show(voter, choice)

    def voter(self):
        """Who votes, by the cookie; somebody new without one."""
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("voter_id")
        except CookieError:
            cookie = None
        known = cookie is not None and re.fullmatch(r"[0-9a-zA-Z-]{1,64}", cookie.value)
        return cookie.value if known else secrets.token_hex(8)

    def show(self, voter, choice, trouble="", code=200):
        chosen = {f"is_{key}": "chosen" if key == choice else "" for key in OPTIONS}
        names = {key: html.escape(text) for key, text in OPTIONS.items()}
        body = page("vote.html", **names, **chosen, host=html.escape(SITS_AT), trouble=trouble)
        self.answer(body, code=code, Set_Cookie=f"voter_id={voter}; Path=/; SameSite=Lax", X_Served_By=SITS_AT)


if __name__ == "__main__":
    serve(Vote)
