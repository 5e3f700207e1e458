"""The hooks for pre-commit, which takes a misspelt key without a word."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from lint_rules import flags

from paramlint.cli.main import cli

HOOKS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent.parent / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
)
BY_ID = {hook["id"]: hook for hook in HOOKS}
#: https://pre-commit.com/#creating-new-hooks
KEYS = {
    *("id", "name", "entry", "language", "files", "exclude", "types", "types_or", "exclude_types", "always_run"),
    *("fail_fast", "verbose", "pass_filenames", "require_serial", "description", "language_version"),
    *("minimum_pre_commit_version", "args", "stages"),
}


def test_the_hooks_there_are() -> None:
    assert list(BY_ID) == ["paramlint", "paramlint-fix", "paramlint-model"] and len(HOOKS) == 3


@pytest.mark.parametrize("hook", HOOKS, ids=lambda h: h["id"])
def test_keys_are_those_that_pre_commit_knows(hook: dict[str, Any]) -> None:
    assert {"id", "name", "entry", "language"} <= set(hook) <= KEYS
    assert hook["require_serial"] is True  # one process for all files
    assert hook["args"] == []  # for users; what a hook needs is in its entry


def run(hook: str, *files: str) -> tuple[int, str]:
    program, *arguments = shlex.split(BY_ID[hook]["entry"])
    assert program == "paramlint"
    result = CliRunner().invoke(cli, [*arguments, *files])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def built(*_: object, **__: object) -> None:
        raise AssertionError("a hook on files builds no model")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("paramlint.linting.RULE_SETS", (flags,))
    monkeypatch.setattr("paramlint.pipeline.analyse", built)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.paramlint]\nextend-exclude = ["old"]\n[tool.paramlint.targets.gpt]\ntarget = "m:f"\nscripts = ["*.py"]\n'
    )
    (tmp_path / "old").mkdir()
    for name in ("train.py", "old/train.py"):
        (tmp_path / name).write_text('import torch.optim\nfixable("PML610")\n')
    return tmp_path


def test_the_hook_on_files_reads_what_is_not_excluded(project: Path) -> None:
    code, said = run("paramlint", "train.py", "old/train.py")
    assert code == 1 and "train.py:2:1: PML610" in said and "Found 1 error in 1 file" in said
    assert run("paramlint", "old/train.py")[0] == 0
    assert run("paramlint") == (0, "")


def test_the_hook_that_mends_does_so(project: Path) -> None:
    assert run("paramlint-fix", "train.py", "old/train.py")[0] == 0  # pre-commit fails where files change
    assert "done" in (project / "train.py").read_text()
    assert "fixable" in (project / "old/train.py").read_text()


def test_the_hook_on_models_takes_no_files_and_runs_where_they_may_have_changed(project: Path) -> None:
    hook = BY_ID["paramlint-model"]
    assert hook["language"] == "system" and hook["pass_filenames"] is False
    for path in ("src/model.py", "pyproject.toml", "paramlint.toml"):
        assert re.search(hook["files"], path)
    for path in ("README.md", "src/pyproject.toml", "a.pyc"):
        assert not re.search(hook["files"], path)
    assert BY_ID["paramlint"]["types"] == BY_ID["paramlint-fix"]["types"] == ["python"]
