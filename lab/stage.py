"""How the demo speaks: chapters, commands with their output, recoveries with their seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lab.lab import Lab

WIDTH = 100


class Stage:
    """Where the story is told: stdout. Commands get contexts of their own in the folder `settings`."""

    def __init__(self, settings: Path) -> None:
        self._settings = settings
        self._began = time.monotonic()
        self._bold, self._green, self._plain = ("\033[1m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("",) * 3

    def chapter(self, text: str) -> None:
        """A new part of the story."""
        self._say(f"\n{self._bold}== {text}{self._plain}")

    def tell(self, text: str) -> None:
        """A sentence."""
        self._say(f"   {text}")

    def recovered(self, text: str, seconds: float) -> None:
        """What is well again, and after how long."""
        self._say(f"   {self._green}after {seconds:4.1f} s: {text}{self._plain}")

    def meshctl(self, *arguments: str) -> None:
        """Run meshctl and show what it says. Raises AssertionError when it fails."""
        self._say(f"\n   $ meshctl {' '.join(arguments)}")
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self._settings), "COLUMNS": str(WIDTH)}
        for name in ("MESH_CONTEXT", "NATS_URL"):
            environment.pop(name, None)
        argv = [sys.executable, "-m", "meshctl.main", *arguments]
        done = subprocess.run(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
        )
        for line in done.stdout.splitlines():
            self._say(f"   {line}")
        if done.returncode != 0:
            raise AssertionError(f"meshctl {' '.join(arguments)} ended with {done.returncode}")

    def page(self, lab: Lab, node: str, port: int) -> str:
        """What a web server on a node answers to somebody else on the network."""
        url = f"http://{lab.plan.machine(node).address}:{port}/"
        code = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=5).read().decode())"
        return lab.exec("switch", [sys.executable, "-I", "-c", code]).stdout.strip()

    def last_words(self, lab: Lab) -> None:
        """What the lab's programs said last: for whoever has to find out why the story did not hold."""
        for file in sorted(lab.paths.root.glob("*/log/*.log")):
            if file.stem in ("agent", "controller"):
                self._say(f"\n-- {file.parent.parent.name} {file.stem}")
                for line in file.read_text(errors="replace").splitlines()[-8:]:
                    self._say(f"   {line[:400]}")

    def _say(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201  (this is the program's answer)
