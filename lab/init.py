"""The first process of a lab's machine: it holds the machine's namespaces and runs its services.

Started as a plain script by an isolated interpreter (`python -I -S init.py SPEC.json`), so it imports nothing but
the standard library. It joins the machine's control groups, enters namespaces of its own, forks, and the child, which
is process 1 in there, listens on a socket for one request a connection (a JSON line each way): `start`, `signal`,
`status`. As process 1 it takes in orphans (containers' shims); when it is killed, the kernel kills all below it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library. Raises OSError when it does not return 0."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())


class Init:
    """The services of this machine, by name."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: dict[str, int] = {}
        self._ended: dict[str, int] = {}

    def serve(self) -> None:
        """Answer requests and take in ended processes, for ever."""
        wake, waker = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            self._reap()
            if self._listener.fileno() in ready:
                self._answer()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name in [name for name, running in self._running.items() if running == pid]:
                del self._running[name]
                self._ended[name] = os.waitstatus_to_exitcode(status)

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            request = json.loads(connection.makefile("rb").readline())
            try:
                reply = getattr(self, "do_" + request.pop("do"))(**request)
            except (OSError, TypeError, AttributeError, KeyError) as error:
                reply = {"error": f"{type(error).__name__}: {error}"}
            connection.sendall(json.dumps(reply).encode() + b"\n")

    def do_start(self, name: str, argv: list[str], env: dict[str, str], log: str) -> dict[str, Any]:
        """Start a service, unless it runs."""
        if name not in self._running:
            self._running[name] = os.posix_spawn(
                argv[0],
                argv,
                env,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigdef=[signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ],
            )
        return {"pid": self._running[name]}

    def do_signal(self, name: str, number: int) -> dict[str, Any]:
        """Send a signal to a service, if it runs."""
        pid = self._running.get(name)
        if pid is not None:
            os.kill(pid, number)
        return {"pid": pid}

    def do_status(self) -> dict[str, Any]:
        """Running services with process ids (as seen in here) and ended ones with exit codes."""
        return {"running": self._running, "ended": {k: v for k, v in self._ended.items() if k not in self._running}}


def join_control_groups(spec: dict[str, Any]) -> None:
    """Put this process, and so all that it starts, into the machine's groups."""
    for group in spec["cgroups"]:
        with contextlib.suppress(OSError):
            Path(group, "cgroup.procs").write_text(str(os.getpid()))


def arrange_files(spec: dict[str, Any]) -> None:
    """Give the machine its own /proc, /run and resolv.conf; the rest of the file system is the host's."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    resolver = os.path.realpath("/etc/resolv.conf")
    if resolver.startswith(("/run/", "/var/run/")):
        Path(resolver).parent.mkdir(parents=True, exist_ok=True)
        Path(resolver).write_text(spec["resolver"])
    else:
        Path("/run/resolv.conf").write_text(spec["resolver"])
        if not Path(resolver).exists():
            return
        mount("/run/resolv.conf", resolver, "", MS_BIND)
    for folder, options in spec["limited"].items():
        mount("tmpfs", folder, "tmpfs", MS_NODEV, options)


def be_first(spec: dict[str, Any], ready: int) -> None:
    """Process 1 of the machine."""
    network = 0 if spec["host_network"] else CLONE_NEWNET
    call("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | network)
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    arrange_files(spec)
    socket.sethostname(spec["hostname"])
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        Path(spec["socket"]).unlink()
    listener.bind(spec["socket"])
    Path(spec["socket"]).chmod(0o600)
    listener.listen(16)
    os.write(ready, b"1")
    os.close(ready)
    Init(listener).serve()


def identity(pid: int) -> dict[str, Any]:
    """What tells this process from a later one with the same id. Raises OSError when it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    if fields[0] in "ZX":  # ended, and with it all of its namespace; only its parent has not noticed yet
        raise ProcessLookupError(pid)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": pid, "started": int(fields[19]), "boot": boot}


def main() -> None:
    """Make the machine; returns when its first process answers. Exit code 1: it could not be made."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    join_control_groups(spec)
    call("unshare", CLONE_NEWPID)  # of this process's children: it stays outside itself, and sees the host's /proc
    listens, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(listens)
        be_first(spec, ready)
    os.close(ready)
    temporary = Path(spec["pidfile"] + ".new")
    temporary.write_text(json.dumps(identity(pid)))
    temporary.rename(spec["pidfile"])
    sys.exit(0 if os.read(listens, 1) else 1)


if __name__ == "__main__":
    main()
