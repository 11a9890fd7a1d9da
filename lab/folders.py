"""The labs on this host: which there are, who may change one now, and the removal of all that one has left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import cgroups
from lab.machine import end_process, strays
from lab.paths import LabPaths, labs_root
from lab.plan import LAB_GROUP, LabPlan, cgroup_of
from schemas.errors import Conflict, NotFound, Refused
from schemas.wire import decode, encode


def names() -> tuple[str, ...]:
    """The labs of which anything exists: a folder, a process or a control group."""
    root = labs_root()
    found = {folder.name for folder in root.glob("*") if folder.is_dir()} if root.exists() else set()
    for group in cgroups.left(LAB_GROUP):
        found.update(folder.name for folder in group.iterdir() if folder.is_dir())
    return tuple(sorted(found))


def read_plan(name: str) -> LabPlan:
    """The plan of a lab. Raises NotFound."""
    try:
        return decode(LabPaths(labs_root() / name).plan.read_bytes(), LabPlan)
    except FileNotFoundError:
        known = ", ".join(names()) or "none"
        raise NotFound(f"there is no lab {name!r}", hint=f"labs on this machine: {known}") from None


def write_plan(plan: LabPlan) -> LabPaths:
    """Make the lab's folder with its plan: from here on `remove` finds all of it. Raises Conflict."""
    paths = LabPaths(labs_root() / plan.name)
    if paths.root.exists():
        raise Conflict(f"there is a lab {plan.name!r} already", hint=f"meshctl lab down --name {plan.name}")
    paths.root.mkdir(parents=True, mode=0o711)
    paths.plan.write_bytes(encode(plan))
    return paths


@contextlib.contextmanager
def changing(name: str) -> Iterator[None]:
    """While held, nobody else changes this lab. Raises Refused (no root), Conflict (somebody does)."""
    if os.geteuid() != 0:
        raise Refused("a lab makes namespaces and engines: that needs root", hint="sudo meshctl lab ...")
    paths = LabPaths(labs_root() / name)
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"lab {name!r} is being changed by another command", hint="try again when it is done"
            ) from None
        yield
        if not paths.root.exists():
            paths.lock.unlink(missing_ok=True)


def remove(name: str) -> bool:
    """Remove all of a lab, also what a crash has left: processes, control groups, files. Whether there was any.

    Namespaces and mounts end with the processes that live in them.
    """
    paths = LabPaths(labs_root() / name)
    group = cgroup_of(name)
    processes = strays(paths.root)
    there = bool(processes) or paths.root.exists() or bool(cgroups.left(group))
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(end_process, processes))
    cgroups.remove(group)
    _remove_if_empty(LAB_GROUP)
    if paths.root.exists():
        _remove_files(paths)
    return there


def remove_orphans(prefix: str) -> None:
    """Remove the labs named `<prefix>-<pid>...` whose makers, tests or demos, have died."""
    for name in names():
        head, _, rest = name.partition("-")
        pid = rest.partition("-")[0]
        if head == prefix and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with changing(name):
                remove(name)


def _remove_files(paths: LabPaths) -> None:
    for folder in [each for each in paths.root.iterdir() if each != paths.plan]:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink()
    shutil.rmtree(paths.root)  # the plan goes last: what is left of an interrupted removal is found again


def _remove_if_empty(group: str) -> None:
    for folder in cgroups.left(group):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
