"""Generated code against the optimizers themselves: they take its groups, and a step moves what is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from real_steps import SIZES

HERE = Path(__file__).parent
PACKAGES = Path(sys.prefix) / "optimizers"
OPTIMIZERS = (
    "torch-muon",
    "keller-pypi",
    "keller-pypi-muon",
    "timm",
    "pytorch-optimizer",
    "heavyball",
    "heavyball-muon",
    "adamw",
    "sgd",
)


@pytest.fixture(scope="module")
def steps():
    """What was wrong with each combination. One process for all: imports take longer than steps."""
    if not PACKAGES.is_dir():
        pytest.skip(f"{PACKAGES} is missing: `make test` fills it with optimizers")
    paths = os.pathsep.join([str(PACKAGES), str(HERE)])
    # without a compiler: heavyball would spend minutes on it
    environment = {**os.environ, "PYTHONPATH": paths, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "real_steps.py"), *OPTIMIZERS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("example", SIZES)
def test_a_step_moves_what_is_trained_and_nothing_else(steps, example, optimizer):
    assert steps[f"{example} {optimizer}"] == ""
