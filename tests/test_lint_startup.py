"""What reading source files imports, and what it costs: a hook runs on every commit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_startup import loaded, started

HEAVY = {"torch", "libcst", "rich", "numpy"}
SCRIPT = """
import torch
from torch.optim import Optimizer


class Descent(Optimizer):
    def __init__(self, params, lr=1e-3):
        if not lr >= 0:
            raise ValueError(lr)
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad, alpha=-group["lr"])
        return loss


def make(model):
    matrices = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    return Descent([{"params": matrices}, {"params": rest, "lr": 1e-4}])
"""
PART = """

def part_{i}(model, batch, *, scale=1.0, verbose=False):
    total = 0.0
    for index, sample in enumerate(batch):
        result = model(sample["input"], scale=scale)
        if verbose and index % 10 == {i}:
            print(f"part {i}: {{result.mean():.3f}}")
        total += float(result.sum()) / (len(batch) or 1)
    return total
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_reading_sources_imports_nothing_heavy(here: Path) -> None:
    (here / "train.py").write_text(SCRIPT)
    for arguments in (["train.py"], ["."], ["train.py", "--select", "PML001"]):
        modules, out = loaded("check", *arguments)
        assert out == "All checks passed: 1 file\n"
        assert not modules & HEAVY


def test_what_no_rule_could_speak_of_needs_no_knowledge(here: Path) -> None:
    (here / "plain.py").write_text("x = 1\n")
    (here / "pyproject.toml").write_text('[project]\nname = "x"\n')
    modules, _ = loaded("check", "plain.py")
    assert not modules & {*HEAVY, "tomllib", "tomli", "subprocess", "paramlint.checks"}


def test_one_script_is_read_as_fast_as_a_hook_must(here: Path) -> None:
    """A changed script of 25 kB: same-run ratio of the best of several, so that a busy machine slows both."""
    (here / "train.py").write_text(SCRIPT + "".join(PART.format(i=i) for i in range(70)))

    def best(*arguments: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            done = started(*arguments)
            times.append(time.perf_counter() - start)
            assert done.returncode == 0, done.stderr
        return min(times)

    floor = best("-c", "import click")
    assert best("-m", "paramlint", "check", "train.py") < 9 * floor


@pytest.mark.skipif(sys.platform == "win32", reason="how POSIX tells the memory of a child")
def test_many_files_take_no_more_memory_than_few(here: Path) -> None:
    """Peak memory, in one process each: runs keep findings, never files."""

    def peak(count: int) -> int:
        folder = here / f"n{count}"
        folder.mkdir()
        text = "import torch.optim\n" + "x = [1, 2, 3]\n" * 2000
        for i in range(count):
            (folder / f"m{i}.py").write_text(text)
        program = (
            "import resource, sys\n"
            "from paramlint import linting\n"
            "linting.RULE_SETS = ()\n"
            f"sys.argv = ['paramlint', 'check', '-q', {str(folder)!r}]\n"
            "from paramlint.cli.main import main\n"
            "try:\n    main()\nexcept SystemExit as e:\n    assert not e.code\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        done: subprocess.CompletedProcess[str] = started("-c", program)
        assert done.returncode == 0, done.stderr
        return int(done.stderr)

    assert peak(60) < 1.2 * peak(5)
