"""Is all as it was promised after so many minutes of faults? Random faults of every kind on a real mesh under work.

A lab of 4 nodes, 3 controllers and 3 nats-servers runs a stack that counts its own requests and writes. Operators
deploy, scale, roll back and drain, while leaders, nodes, agents, engines and nats-servers die, stall and are cut off,
one or two at a time; now and then most nodes vanish, or the store does. After every few turns it must be exactly as it
is wanted; afterwards nothing may be lost, doubled or left over. Same seed: same faults and orders (how far a run gets
depends on the machine). One line a blow, a table at the end; exit code 0 only if all of it holds. Needs root. Cleans up
after itself, also after Ctrl-C.

    python benchmarks/chaos.py [--minutes 10] [--seed 1] [--only leader-kill,node-power] [--keep-logs FOLDER]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from msgspec.structs import replace

from benchmarks.turmoil import plan
from benchmarks.turmoil.audit import table, verdict
from benchmarks.turmoil.run import Run
from bus.logs import configure_logging
from lab import folders, images
from lab.bringup import bring_up
from lab.lab import Lab
from lab.plan import LabPlan, make_plan
from schemas.errors import MeshError
from schemas.version import VERSION

PREFIX = "chaos"
NODES = 4
"""More than half of them are three, for which the brake is made."""

SMALL_DISK = 512
"""MiB: several times what the images and containers take."""


def main() -> int:
    """Run; the exit code: 0 all holds, 1 something does not, 130 interrupted."""
    options = _options()
    if os.geteuid() != 0:
        print("chaos: it makes namespaces and engines, which needs root", file=sys.stderr)
        return 6
    configure_logging(level=50)
    stop = threading.Event()
    _interrupt_once(stop)
    folders.remove_orphans(PREFIX)
    name = f"{PREFIX}-{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix=f"dockmesh-{name}-"))
    folder.chmod(0o755)
    try:
        return _run(name, folder, options, stop)
    except KeyboardInterrupt:
        print("interrupted: the lab is taken down", flush=True)
        return 130
    finally:
        _ignore_interrupts()
        stop.set()
        _keep_logs(name, folder, options)
        with folders.changing(name):
            folders.remove(name)
        shutil.rmtree(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", default=10.0, type=float, help="of faults; set-up and the last look come on top")
    parser.add_argument("--seed", default=1, type=int)
    parser.add_argument("--only", default="", help=f"just these kinds, with commas between: {', '.join(plan.NAMES)}")
    parser.add_argument(
        "--keep-logs",
        default="",
        metavar="FOLDER",
        help="where memory, threads and descriptors are kept, and logs if not all holds",
    )
    options = parser.parse_args()
    options.all_holds = False
    options.only = tuple(word for word in options.only.split(",") if word)
    if unknown := set(options.only) - set(plan.NAMES):
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    return options


def _run(name: str, folder: Path, options: argparse.Namespace, stop: threading.Event) -> int:
    began = time.monotonic()
    archives = [images.build(image) for image in Run.IMAGES]
    lab = bring_up(_plan(name))
    lab.load_images(archives)
    _print_heading(lab, options)
    run = Run(lab, folder, options.seed, stop)
    with contextlib.ExitStack() as ending:
        ending.callback(stop.set)
        findings = run.run(ending, options.minutes, options.only, since=began)
    holds = all(finding.holds for finding in findings)
    print("\n" + "\n".join(table(findings)))
    print(f"\n{verdict(findings)}; {time.monotonic() - began:.0f} s in all", flush=True)
    options.all_holds = holds
    return 0 if holds else 1


def _plan(name: str) -> LabPlan:
    """The last node's engine has a small disk, which one of the faults fills."""
    made = make_plan(name, mesh_id=PREFIX, nodes=NODES)
    machines = (
        replace(machine, disk_mib=SMALL_DISK) if machine.name == plan.small(NODES) else machine
        for machine in made.machines
    )
    return replace(made, machines=tuple(machines))


def _print_heading(lab: Lab, options: argparse.Namespace) -> None:
    load = os.getloadavg()[0]
    print(f"machine: {os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}, load {load:.1f}")
    print(f"versions: dockmesh {VERSION}, Python {platform.python_version()}")
    print(
        f"{len(lab.nodes)} nodes, {len(lab.controllers)} controllers, {len(lab.plan.of('nats'))} nats-servers;", end=" "
    )
    print(f"{options.minutes:g} minutes, seed {options.seed}", flush=True)


def _interrupt_once(stop: threading.Event) -> None:
    def interrupt(_number: int, _frame: object) -> None:
        _ignore_interrupts()
        stop.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _keep_logs(name: str, folder: Path, options: argparse.Namespace) -> None:
    """The lab's logs where not all holds; the samples of memory, threads and descriptors in any case."""
    if not options.keep_logs:
        return
    target = Path(options.keep_logs)
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.csv"):
        shutil.copy(file, target)
    if options.all_holds:
        return
    with contextlib.suppress(MeshError):
        root = Lab.open(name).paths.root
        for log in root.glob("*/log/*.log"):
            kept = target / log.parent.parent.name / log.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(log, kept)


if __name__ == "__main__":
    sys.exit(main())
