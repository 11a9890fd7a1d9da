"""Doing: one machine of a lab as a set of processes, controlled through its first process (`lab.init`)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lab.init
from lab import cgroups
from lab.paths import LabPaths, Tools
from lab.plan import Machine, Service, cgroup_of
from schemas.errors import Internal, TimedOut, Unreachable


class Host:
    """A machine's processes on this host. All calls block; each is idempotent."""

    def __init__(self, lab_name: str, machine: Machine, paths: LabPaths, tools: Tools) -> None:
        self.machine = machine
        self._lab_name = lab_name
        self._paths = paths
        self._tools = tools
        self._group = cgroup_of(lab_name, machine.name)

    def pid(self) -> int | None:
        """The machine's first process, if it lives."""
        try:
            known = json.loads(self._paths.pid(self.machine.name).read_text())
            alive = lab.init.identity(known["pid"]) == known
        except (OSError, ValueError, KeyError):
            return None
        return known["pid"] if alive else None

    def boot(self, *, resolver: str = "", keep: Sequence[int] = ()) -> int:
        """Make the machine with its namespaces, still without services; returns the pid of its first process.

        `keep`: descriptors that its services inherit. Raises Internal with the last words of a failed start.
        """
        running = self.pid()
        if running is not None:
            return running
        name = self.machine.name
        for folder in ("etc", "data", "log", "engine/docker", "engine/containerd"):
            if self.machine.kind == "node" or "/" not in folder:
                (self._paths.machine(name) / folder).mkdir(parents=True, exist_ok=True)
        spec = {
            "lab": self._lab_name,
            "hostname": name,
            "cgroups": cgroups.make(self._group),
            "resolver": resolver,
            "socket": str(self._paths.control(name)),
            "pidfile": str(self._paths.pid(name)),
            "limited": self._limited(),
            "host_network": self.machine.kind == "outlet",
        }
        spec_file = self._paths.machine(name) / "init.json"
        spec_file.write_text(json.dumps(spec))
        log = self._paths.log(name, "init")
        with log.open("ab") as output:
            argv = [self._tools.python, "-I", "-S", lab.init.__file__, str(spec_file)]
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=keep, check=False,
                start_new_session=True, env=self.environment(), cwd="/",
            )  # fmt: skip
        pid = self.pid()
        if done.returncode != 0 or pid is None:
            raise Internal(f"{name} could not be made: {_last_words(log)}")
        return pid

    def _limited(self) -> dict[str, str]:
        if not self.machine.disk_mib:
            return {}
        folder = self._paths.machine(self.machine.name) / "engine"
        return {str(folder): f"size={self.machine.disk_mib}m,mode=0711"}

    def environment(self) -> dict[str, str]:
        """What services and `exec` find in their environment."""
        environment = {"PATH": self._tools.search, "HOME": "/root", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        if self.machine.kind == "node":
            environment["DOCKER_HOST"] = f"unix://{self._paths.docker_socket(self.machine.name)}"
            environment["DOCKER_CONFIG"] = str(self._paths.docker_config(self.machine.name))
        return environment

    def start(self, service: Service) -> None:
        """Start a service, unless it runs."""
        log = str(self._paths.log(self.machine.name, service.name))
        self._ask(
            do="start", name=service.name, argv=service.argv, env=self.environment() | service.environment, log=log
        )

    def signal(self, service: str, number: int) -> None:
        """Send a signal to a service, if it runs."""
        self._ask(do="signal", name=service, number=number)

    def stop(self, service: str, *, patience: float) -> None:
        """End a service: SIGTERM, and SIGKILL after `patience` seconds."""
        self.signal(service, signal.SIGTERM)
        try:
            self.wait_ended(service, patience)
        except TimedOut:
            self.signal(service, signal.SIGKILL)
            self.wait_ended(service, 5.0)

    def wait_ended(self, service: str, patience: float) -> None:
        """Until the service does not run. Raises TimedOut."""
        deadline = time.monotonic() + patience
        while service in self.running():
            if time.monotonic() > deadline:
                raise TimedOut(f"{service} on {self.machine.name} still runs after {patience:g} s")
            time.sleep(0.02)

    def running(self) -> dict[str, int]:
        """The services that run, with their process ids inside the machine; none if the machine is off."""
        if self.pid() is None:
            return {}
        found: dict[str, int] = self._ask(do="status")["running"]
        return found

    def ended(self) -> dict[str, int]:
        """The services that ended by themselves or were ended, with exit codes (negative: the signal)."""
        if self.pid() is None:
            return {}
        found: dict[str, int] = self._ask(do="status")["ended"]
        return found

    def power_off(self) -> None:
        """Kill the first process, and with it everything that runs in the machine, and clear its control groups."""
        pid = self.pid()
        if pid is not None:
            end_process(pid)
        self._paths.pid(self.machine.name).unlink(missing_ok=True)
        cgroups.remove(self._group)

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The command that runs `argv` inside the machine. Raises Unreachable when it is off."""
        pid = self.pid()
        if pid is None:
            raise Unreachable(f"{self.machine.name} is off", hint=f"meshctl lab start {self.machine.name}")
        return ("nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "--", *argv)

    def _ask(self, **request: Any) -> dict[str, Any]:
        name = self.machine.name
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(str(self._paths.control(name)))
                connection.sendall(json.dumps(request).encode() + b"\n")
                reply: dict[str, Any] = json.loads(connection.makefile("rb").readline())
        except (OSError, ValueError) as error:
            raise Unreachable(f"{name} does not answer: {error}", hint=f"meshctl lab start {name}") from error
        if "error" in reply:
            raise Internal(f"{name}: {request['do']} {request.get('name', '')}: {reply['error']}")
        return reply


def end_process(pid: int, patience: float = 10.0) -> None:
    """Kill a process and wait until it has ended; for the first of a machine that means: all of the machine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + patience
    with contextlib.suppress(OSError):
        while lab.init.identity(pid) and time.monotonic() < deadline:
            time.sleep(0.01)


def strays(folder: Path) -> tuple[int, ...]:
    """First processes of machines whose files lie below `folder`, found by their command lines.

    So those are found, too, of which no pid file tells (what made them died before it could write one).
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            runs_init = any(each.endswith("/lab/init.py") for each in arguments)  # of whichever checkout
            if runs_init and any(each.startswith(f"{folder}/") for each in arguments):
                found.append(int(process.name))
    return tuple(found)


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "no word of why"
