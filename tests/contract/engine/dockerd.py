"""A Docker engine of our own for a test session: in namespaces of its own, gone with the process that started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from docker import APIClient

PREFIX = "dmtest-engine-"
INIT = """
set -e
ip link set lo up
mkdir -p /run/containerd
mount -t tmpfs tmpfs /run/containerd
[ -z "$LIMIT" ] || mount -t tmpfs -o size="$LIMIT" tmpfs "$FOLDER/data"
dockerd --data-root "$FOLDER/data" --exec-root "$FOLDER/exec" -p "$FOLDER/pid" -H "unix://$FOLDER/socket" \
  --cgroup-parent "/$(basename "$FOLDER")" --log-level warn $OPTIONS >>"$FOLDER/log" 2>&1
"""


class Dockerd:
    """`limit`: the data root is a tmpfs of that size ("64m")."""

    def __init__(self, *, limit: str = "", options: str = "") -> None:
        clear_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.address = f"unix://{self.folder}/socket"
        self._environment = {"FOLDER": str(self.folder), "LIMIT": limit, "OPTIONS": options}
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "data").mkdir()

    def start(self) -> None:
        """Start it and wait until it answers."""
        unshare = "unshare --net --pid --mount --ipc --fork --kill-child=SIGKILL --mount-proc --propagation private"
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *unshare.split(), "sh", "-c", INIT],
            env={**os.environ, **self._environment, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )
        deadline = time.monotonic() + 60
        while not self.answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                log = self.folder / "log"
                raise RuntimeError(f"dockerd did not start: {log.read_text()[-2000:] if log.exists() else ''}")
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether the engine is up."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(str(self.folder / "socket"))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in probe.recv(1024)
        return False

    def run(self, image: str, command: list[str]) -> str:
        """A container that Dockmesh did not make; its id."""
        with contextlib.closing(APIClient(self.address)) as api:
            made = api.create_container(image, command)
            api.start(made["Id"])
            return str(made["Id"])

    def change(self, container: str, name: str, memory: int) -> None:
        """Rename it and set another limit, as docker rename and docker update do."""
        with contextlib.closing(APIClient(self.address)) as api:
            api.rename(container, name)
            api.update_container(container, mem_limit=memory, memswap_limit=2 * memory)

    def pause(self, container: str) -> None:
        """docker pause."""
        with contextlib.closing(APIClient(self.address)) as api:
            api.pause(container)

    def stop_container(self, container: str) -> None:
        """docker stop."""
        with contextlib.closing(APIClient(self.address)) as api:
            api.stop(container)

    def remove_container(self, container: str) -> None:
        """Clear one of those away."""
        with contextlib.closing(APIClient(self.address)) as api:
            api.remove_container(container, force=True)

    def kill(self) -> None:
        """The engine and all its containers die at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            with contextlib.suppress(FileNotFoundError):
                (self.folder / "pid").unlink()
            shutil.rmtree(self.folder / "exec", ignore_errors=True)  # what a reboot clears

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to dockerd alone (SIGSTOP: it hangs)."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[0].endswith(b"dockerd") and str(self.folder / "exec").encode() in words:
                    os.kill(int(entry.name), number)

    def remove(self) -> None:
        """Kill it and remove all it left."""
        self.kill()
        _remove(self.folder.name)


def clear_leftovers() -> None:
    """Remove what engines of test runs that are gone have left."""
    places = [Path(tempfile.gettempdir()), *_groups()]
    for name in {entry.name for place in places for entry in place.glob(f"{PREFIX}*")}:
        owner = name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            _remove(name)


def _groups() -> list[Path]:
    root = Path("/sys/fs/cgroup")
    return [root, *root.glob("*/")]


def _remove(name: str) -> None:
    folder = Path(tempfile.gettempdir(), name)
    for _ in range(50):  # processes and mounts go with the namespace, a moment later
        shutil.rmtree(folder, ignore_errors=True)
        groups = [group / name for group in _groups() if (group / name).exists()]
        if not folder.exists() and not groups:
            break
        for group in groups:
            for below in sorted(group.glob("**/"), reverse=True):
                with contextlib.suppress(OSError):
                    below.rmdir()
        time.sleep(0.1)
