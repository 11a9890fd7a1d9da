"""Whether and how the nodes of a lab reach the world outside, without a rule or setting of the host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab.paths import SEARCH
from lab.plan import NETWORK, Service
from schemas.errors import Internal, NotFound

PROGRAM = "slirp4netns"
TAP = "out"
RESOLVER = "nameserver 10.0.2.3\noptions timeout:2 attempts:1\n"
"""The program answers there with the host's resolver."""


def outlet_of(*, offline: bool) -> tuple[bool, str]:
    """Whether there is a way out for a new lab, and the sentence that says so."""
    if offline:
        return False, "offline, as asked: no way out for the nodes"
    if not has_default_route(Path("/proc/net/route").read_text()):
        return False, "offline: this machine has no default route"
    if find() is None:
        return False, f"offline: no {PROGRAM} on this machine"
    return True, "nodes reach out through this machine"


def find() -> str | None:
    """The program that carries packets out as an ordinary process of the host."""
    return shutil.which(PROGRAM, path=SEARCH)


def service(namespace: int) -> Service:
    """The carrier between the network namespace behind a descriptor and the host's sockets. Raises NotFound."""
    program = find()
    if program is None:
        raise NotFound(f"no {PROGRAM} on this machine", hint=f"install {PROGRAM}, or lab up --offline")
    options = ("--configure", "--mtu=1500", "--disable-host-loopback", "--netns-type=path")
    return Service(name=PROGRAM, argv=(program, *options, f"/proc/self/fd/{namespace}", TAP))


def route(switch: int, bridge: str) -> None:
    """Let the switch pass on what leaves the lab. The rules stand in the switch's namespace, not in the host's."""
    rules = f"""
        table ip lab {{
            chain out {{
                type nat hook postrouting priority 100;
                ip saddr {NETWORK} oifname "{TAP}" masquerade
            }}
            chain pass {{
                type filter hook forward priority 0;
                iifname "{TAP}" ct state established,related accept
                iifname "{TAP}" oifname "{bridge}" drop
            }}
        }}
    """
    script = "echo 1 > /proc/sys/net/ipv4/ip_forward && nft -f -"
    argv = ["nsenter", "-t", str(switch), "-n", "--", "sh", "-c", script]
    done = subprocess.run(argv, input=rules, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Internal(f"the way out could not be made: {done.stderr.strip()}")


def has_default_route(table: str) -> bool:
    """Whether the text of /proc/net/route shows a route to everywhere."""
    rows = (line.split() for line in table.splitlines()[1:])
    return any(len(row) > 7 and row[1] == "00000000" and row[7] == "00000000" for row in rows)
