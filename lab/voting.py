"""The example voting app in a lab, from outside: votes are cast on one node and counted on another. Calls block."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from lab import voters
from lab.lab import Lab
from schemas.errors import Unreachable
from schemas.wire import Wire, decode

STACK = "voting"
STACK_FILE = Path(__file__).parent.parent / "examples" / "voting" / "docker-stack.yml"
IMAGES = ("redis", "postgres", "voting")
VOTE, RESULT = 8080, 8081
TASKS = {"redis": 1, "db": 1, "vote": 2, "result": 1, "worker": 2}
"""Service -> how many tasks."""
CLIENT = "switch"
"""The machine that voters sit at: none of the mesh's."""


class Counts(Wire, frozen=True, kw_only=True):
    """What the result page knows."""

    a: int
    b: int
    current: bool
    """Whether the database has just said so."""

    @property
    def total(self) -> int:
        """All votes."""
        return self.a + self.b


class Told(Wire, frozen=True, kw_only=True):
    """How the voters fare."""

    taken: int = 0
    failed: int = 0
    """Attempts that no page took; each voter then tried the next page."""
    why: str = ""
    """The last failure."""


def cast(lab: Lab, node: str, choice: str) -> None:
    """One vote on a node's page. Raises Unreachable: it was not taken."""
    code = f"import sys; sys.path.insert(0, {str(Path(voters.__file__).parent)!r}); import voters; "
    code += f"print(voters.vote({_url(lab, node, VOTE)!r}, {choice!r}))"
    done = lab.exec(CLIENT, [sys.executable, "-I", "-c", code])
    if done.stdout.strip() or done.returncode:
        raise Unreachable(f"no vote is taken on {node}: {(done.stdout + done.stderr).strip()}")


def counts(lab: Lab, node: str) -> Counts:
    """What a node's result page says. Raises Unreachable: there is none."""
    url = f"{_url(lab, node, RESULT)}counts"
    code = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=3).read().decode())"
    done = lab.exec(CLIENT, [sys.executable, "-I", "-c", code])
    if done.returncode:
        raise Unreachable(f"no result on {node}: {done.stderr.strip().splitlines()[-1]}")
    return decode(done.stdout.encode(), Counts)


class Voters:
    """Votes that pour in on nodes (default: on all) for as long as the context is open: short connections."""

    def __init__(
        self, lab: Lab, pause: float = 0.05, nodes: Sequence[str] = (), *, net: Path | None = None, page: str = ""
    ) -> None:
        """`net`: the network namespace in which they sit (default: the switch's). `page`: instead of the nodes'."""
        pages = [page] if page else [_url(lab, node, VOTE) for node in nodes or lab.nodes]
        enter = ("nsenter", f"--net={net or Path(f'/proc/{lab.rack.switch_pid()}/ns/net')}", "--")
        self._argv = (*enter, sys.executable, "-I", "-S", voters.__file__, str(pause), *pages)
        self._last = b"{}"
        self._process: subprocess.Popen[bytes] | None = None
        self._listener = threading.Thread(target=self._listen, name="voters", daemon=True)

    def told(self) -> Told:
        """How they fare now."""
        return decode(self._last, Told)

    def __enter__(self) -> Voters:
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> Told:
        """No more votes; how they have fared."""
        process = self._process
        assert process is not None, "they vote only inside the context"
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        self._listener.join(10)
        return self.told()

    def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    self._last = line


def _url(lab: Lab, node: str, port: int) -> str:
    return f"http://{lab.plan.machine(node).address}:{port}/"


def words(told: Told, since: Told) -> str:
    """What has become of the votes since then, as a sentence."""
    lost = told.failed - since.failed
    attempts = "no attempt failed" if not lost else f"{lost} attempts failed and were made again on another node"
    return f"{told.taken - since.taken} votes were taken meanwhile; {attempts}"
