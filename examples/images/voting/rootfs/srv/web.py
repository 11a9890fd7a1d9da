"""What both pages share: a small server that ends in good order, and pages with places to fill in."""

import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

PAGES = Path(__file__).parent / "pages"


def page(name, **places):
    """A page of the folder `pages`, filled in."""
    return Template((PAGES / name).read_text()).substitute(places)


class Server(ThreadingHTTPServer):
    """One thread for each request. Those under way are finished before it ends."""

    request_queue_size = 512
    daemon_threads = False
    block_on_close = True


class Handler(BaseHTTPRequestHandler):
    """Answers, each over a connection of its own."""

    timeout = 10

    def answer(self, body, kind="text/html; charset=utf-8", code=200, **headers):
        data = body.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format, *args):
        """Requests are not logged: only what happens to votes is."""


def serve(handler, ending=None):
    """Serve on port 80 until told to end."""
    server = Server(("", 80), handler)

    def end(number, frame):
        if ending is not None:
            ending.set()
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    say("ended")


def say(text):
    """A line for `docker logs`."""
    print(text, file=sys.stderr, flush=True)


def first_line(error):
    """What an error says, as far as a log needs it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
