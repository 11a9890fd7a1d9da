"""What a test run has done to its host: compared before and after, so that nothing of ours is left when it is over.

Labs and engines live in namespaces of their own: while they run, the host's links, routes, rules and mounts are as
before. What strangers may change meanwhile (the machine's own engine and its cables) is not looked at.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from lab import folders
from lab.paths import labs_root
from tests.guardian import VARIABLE

STRANGERS = ("veth", "docker", "br-")
"""How the links of a machine's own engine begin."""

PATIENCE = 10.0
"""Seconds until what is about to go has to be gone."""

GUARDIAN = "tests/guardian.py"

SETTINGS = ("net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet")


def host_facts() -> frozenset[str]:
    """Links, routes, tables of rules, named namespaces, mounts and settings of this host, a line for each."""
    links = {f"link {link['ifname']}" for link in _json("ip", "-j", "link") if not _strange(link["ifname"])}
    routes = {
        f"route {route.get('dst')} dev {route.get('dev')} table {route.get('table', 'main')}"
        for route in _json("ip", "-j", "route", "show", "table", "all")
        if not _strange(route.get("dev", ""))
    }
    rules = {f"rule {rule.get('priority')} {rule.get('table')}" for rule in _json("ip", "-j", "rule")}
    tables = {f"nft {line.strip()}" for line in _said("nft", "list", "tables").splitlines()}
    named = {f"netns {each.name}" for each in _inside("/run/netns")}
    mounts = {f"mount {line.split()[4]}" for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    settings = {f"{name} = {(Path('/proc/sys') / name).read_text().strip()}" for name in SETTINGS}
    return frozenset(links | routes | rules | tables | named | mounts | settings)


def leftovers(before: frozenset[str], own: Iterable[str]) -> list[str]:
    """What is not as before, and what runs or lies around of a run. `own`: how the paths of what it makes begin."""
    after, words = host_facts(), tuple(own)
    found = [f"new: {fact}" for fact in sorted(after - before)] + [f"gone: {fact}" for fact in sorted(before - after)]
    found += [f"lab: {name}" for name in folders.names() if any(word in f"{labs_root()}/{name}" for word in words)]
    found += [f"control group: {group}" for group in _groups(words)]
    return found + [f"process: {line}" for line in _processes(words)]


def leftovers_at_last(before: frozenset[str], own: Iterable[str]) -> list[str]:
    """The same, once what is about to go has had time to."""
    words, until = tuple(own), time.monotonic() + PATIENCE
    while (found := leftovers(before, words)) and time.monotonic() < until:
        time.sleep(0.2)
    return found


def _processes(words: tuple[str, ...]) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            marked = mark() in (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = marked or any(word in line for word in words)
        if ours and int(process.name) != os.getpid() and GUARDIAN not in line:
            found.append(f"{process.name} {line[:200]}")
    return found


def _groups(words: tuple[str, ...]) -> list[str]:
    names = [word.rsplit("/", 1)[-1] for word in words]
    folders_ = [each for pattern in ("*/dockmesh-lab/*", "dockmesh-lab/*", "*/dmtest-*", "dmtest-*")
                for each in Path("/sys/fs/cgroup").glob(pattern)]  # fmt: skip
    return [str(each) for each in folders_ if each.is_dir() and any(each.name.startswith(name) for name in names)]


def _strange(link: str) -> bool:
    return link.startswith(STRANGERS)


def _inside(folder: str) -> list[Path]:
    return list(Path(folder).iterdir()) if Path(folder).exists() else []


def _json(*argv: str) -> list[dict[str, str]]:
    return json.loads(_said(*argv) or "[]") if shutil.which(argv[0]) else []


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True).stdout if shutil.which(argv[0]) else ""


def mark() -> bytes:
    """What this run's children have in their environment (`tests.guardian`)."""
    return f"{VARIABLE}={os.environ.get(VARIABLE, '-')}".encode()
