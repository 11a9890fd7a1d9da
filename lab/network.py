"""The wires of a lab: one switch, one cable to each machine. Pure texts for `ip -batch`, and their doing."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from lab.plan import PREFIX_LENGTH, SWITCH_ADDRESS, Machine
from schemas.errors import Internal

BRIDGE = "switch"


def switch_setup() -> tuple[str, ...]:
    """What makes the switch's machine a switch."""
    return (
        "link set lo up",
        f"link add {BRIDGE} address 02:4d:00:00:00:01 type bridge forward_delay 0 stp_state 0",
        f"addr add {SWITCH_ADDRESS}/{PREFIX_LENGTH} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    )


def cable_in_switch(machine: Machine, pid: int) -> tuple[str, ...]:
    """The switch's end of a cable to the machine whose first process is `pid`; named after the machine."""
    name = machine.name
    return (
        f"link add {name} type veth peer name eth0 address {machine.mac} netns {pid}",
        f"link set {name} master {BRIDGE} up",
    )


def cable_in_machine(machine: Machine, *, outlet: bool) -> tuple[str, ...]:
    """The machine's end."""
    commands = ("link set lo up", f"addr add {machine.address}/{PREFIX_LENGTH} dev eth0", "link set eth0 up")
    return (*commands, f"route add default via {SWITCH_ADDRESS}") if outlet else commands


def cable_state(machine: Machine, *, up: bool) -> tuple[str, ...]:
    """Unplug the machine at the switch, or plug it in."""
    return (f"link set {machine.name} {'up' if up else 'down'}",)


def run_ip(pid: int, commands: Sequence[str]) -> None:
    """Run `ip` commands in the network namespace of a process. Raises Internal with ip's words."""
    text = "".join(f"{command}\n" for command in commands)
    argv = ["nsenter", "-t", str(pid), "-n", "--", "ip", "-batch", "-"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Internal(f"ip: {done.stderr.strip()} (of: {'; '.join(commands)})")


def drop_cable(pid: int, machine: Machine) -> None:
    """Remove what may be left in the switch of the machine's last cable (the kernel takes its time with that)."""
    argv = ["nsenter", "-t", str(pid), "-n", "--", "ip", "link", "del", machine.name]
    subprocess.run(argv, capture_output=True, check=False)


def links_up(pid: int) -> frozenset[str]:
    """The names of the switch's cables that are plugged in."""
    argv = ["nsenter", "-t", str(pid), "-n", "--", "ip", "-o", "link", "show", "up", "type", "veth"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return frozenset(line.split(": ")[1].split("@")[0] for line in done.stdout.splitlines() if ": " in line)
