"""Many stories of chaos, each from its seed: the ones that once failed, and a row of new ones in every run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHUNK = 25
SEEDS = int(os.environ.get("DOCKMESH_SIM_SEEDS", "300"))
"""How many seeds a test run tells."""


def tell(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.sim", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def kept_seeds() -> list[str]:
    lines = (HERE / "seeds.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_the_mesh_survives_what_these_seeds_bring(first: int) -> None:
    done = tell(str(first), str(min(CHUNK, SEEDS - first)))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


@pytest.mark.parametrize("seed", kept_seeds())
def test_a_seed_that_once_failed_is_clean(seed: str) -> None:
    done = tell(seed)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


def traces(first: int, count: int) -> list[str]:
    told = tell(str(first), str(count), "--story").stdout.splitlines()
    return [line.split("trace ")[1].split(",")[0] for line in told if line.startswith("seed ")]


def test_one_seed_is_one_trace() -> None:
    """One of these is of a store that is lost."""
    once = traces(5, 5)
    assert once == traces(5, 5)
    assert len(set(once)) == 5
