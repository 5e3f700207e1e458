"""What reading source files imports, and what it costs: a hook runs on every commit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_startup import loaded, started

from paramlint import kept

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
    """A changed script of 25 kB: same-run ratio of the best of several, in turns, so that a busy machine slows both.
    With bytecode, as an installed package has it."""
    (here / "train.py").write_text(SCRIPT + "".join(PART.format(i=i) for i in range(70)))
    env = {"PYTHONPYCACHEPREFIX": str(here / "bytecode"), "PYTHONDONTWRITEBYTECODE": "", **_own_cache(here)}
    times: dict[str, list[float]] = {"-c": [], "-m": []}
    for _ in range(6):
        for arguments in (("-c", "import click"), ("-m", "paramlint", "check", "train.py")):
            start = time.perf_counter()
            done = started(*arguments, env=env)
            times[arguments[0]].append(time.perf_counter() - start)
            assert done.returncode == 0, done.stderr
    assert min(times["-m"]) < 4 * min(times["-c"]) + 0.1


def test_what_only_models_need_is_not_imported(here: Path) -> None:
    (here / "train.py").write_text(SCRIPT)
    modules, _ = loaded("check", "train.py", env=_own_cache(here))
    assert "paramlint.checks.scripts" in modules
    assert not modules & {"paramlint.checks.on_models", "paramlint.checks.fused", "paramlint.pipeline", "hashlib"}


def test_what_we_know_is_parsed_once(here: Path) -> None:
    """And again where what was kept is of no use; a place that cannot be written is none."""
    (here / "train.py").write_text(SCRIPT)

    def parses(env: dict[str, str]) -> bool:
        modules, out = loaded("check", "train.py", "--isolated", env=env)
        assert out == "All checks passed: 1 file\n"
        return bool(modules & {"tomllib", "tomli"})

    env = _own_cache(here)
    assert [parses(env) for _ in range(3)] == [True, False, False]
    (kept,) = (here / "kept").iterdir()
    text = kept.read_bytes()
    other = text.replace(b'"version": "', b'"version": "9')
    for broken in (b"", b"\xff", text[:-9], text.replace(b"muon", b"moun"), other):
        kept.write_bytes(broken)
        assert [parses(env) for _ in range(2)] == [True, False]
    assert parses({"PARAMLINT_CACHE_DIR": "none"})
    (here / "file").write_text("")
    assert [parses({"PARAMLINT_CACHE_DIR": str(here / "file" / "kept")}) for _ in range(2)] == [True, True]


def test_what_was_kept_counts_as_long_as_no_file_changes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMLINT_CACHE_DIR", str(here / "kept"))
    (here / "a.toml").write_text("x = 1\n")
    before = kept.stamp(here, ["a.toml"])
    assert kept.tables(here, before) is None
    kept.keep(here, before, {"a.toml": {"x": 1}})
    assert kept.tables(here, kept.stamp(here, ["a.toml"])) == {"a.toml": {"x": 1}}
    assert kept.tables(here, kept.stamp(here, [])) is None
    assert kept.tables(here / "other", before) is None
    (here / "a.toml").write_text("x = 10\n")
    assert kept.tables(here, kept.stamp(here, ["a.toml"])) is None
    assert kept.stamp(here, ["b.toml"]) is None


def test_what_was_read_of_neighbours_is_not_kept_too_long(here: Path) -> None:
    """One run over many scripts that share a module says the same as one run for each, whatever their order."""
    (here / "parts.py").write_text("SKIP = ['embed', 'head']\n")
    script = """
import torch
from parts import SKIP

def make(model):
    rest = [p for n, p in model.named_parameters() if any(s in n for s in SKIP) and p.ndim < {bound}]
    matrices = [p for n, p in model.named_parameters() if not any(s in n for s in SKIP)]
    return torch.optim.AdamW([{{"params": matrices}}, {{"params": rest}}])
"""
    names = [f"train{i}.py" for i in range(4)]
    for i, name in enumerate(names):
        (here / name).write_text(script.format(bound=i))

    def said(*files: str) -> list[str]:
        done = started("-m", "paramlint", "check", "--output-format", "concise", "-q", *files)
        assert done.returncode in (0, 1), done.stderr
        return sorted(done.stdout.splitlines())

    alone = sorted(line for name in names for line in said(name))
    assert alone
    assert said(*names) == said(*reversed(names)) == alone


def _own_cache(here: Path) -> dict[str, str]:
    return {"PARAMLINT_CACHE_DIR": str(here / "kept")}


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
