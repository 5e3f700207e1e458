"""The command line as it is run: terminals, pipes, and workers on the examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from paramlint.cli.main import cli
from paramlint.report.json import SCHEMA

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def started(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "paramlint", *arguments]
    return subprocess.run(command, encoding="utf-8", env=environment, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize("plain", [False, True])
def test_a_terminal_has_colour_and_a_width(plain: bool) -> None:
    import pty

    lead, follow = pty.openpty()
    extra = {"COLUMNS": "60", "TERM": "xterm-256color", "NO_COLOR": "1" if plain else ""}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **extra}
    with subprocess.Popen([sys.executable, "-m", "paramlint", "rules"], stdout=follow, env=environment) as process:
        os.close(follow)
        shown = b""
        while True:
            try:
                chunk = os.read(lead, 4096)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        assert process.wait() == 0
    os.close(lead)
    text = shown.decode()
    assert ("\x1b[" in text) != plain
    if plain:
        assert max(map(len, text.splitlines())) <= 60


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = started("rules", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 0
    assert done.stderr == ""


# End to end, each with a worker


def gpt(*arguments: str) -> Result:
    return invoke("check", str(ROOT / "examples" / "gpt.py") + ":build", "--kwargs", '{"n_layer": 2}', *arguments)


def found(result: Result) -> set[str]:
    made = json.loads(result.stdout)
    jsonschema.validate(made, json.loads(SCHEMA.read_text()))
    return {d["code"] for d in made["targets"][0]["diagnostics"]}


@pytest.mark.parametrize(
    ("groups", "codes", "exit_code"),
    [
        (":right_groups", set(), 0),
        (":blog_recipe", {"PML203", "PML205"}, 1),
        (":duplicate_groups", {"PML102"}, 1),
        (":uncovered_groups", {"PML101"}, 1),
    ],
)
def test_groups_of_the_example(groups: str, codes: set[str], exit_code: int) -> None:
    result = gpt("--groups", groups, "--optimizer", "keller", "--output-format", "json")
    assert result.exit_code == exit_code
    assert found(result) == codes


def test_an_optimizer_of_the_example_in_full() -> None:
    result = gpt("--optimizer", ":docstring_recipe")
    assert result.exit_code == 1
    assert "wte.weight: PML203 error:" in result.stdout
    assert "gpt.py:" in result.stdout and "(docstring_recipe)" in result.stdout
    assert "Found 2 errors in 36 parameters" in result.stdout


def test_params_of_the_example() -> None:
    result = invoke("params", str(ROOT / "examples" / "gpt.py") + ":build", "--why", "lm_head.weight")
    assert result.exit_code == 0
    assert "tied-embedding" in result.stdout and "= lm_head.weight" in result.stdout


def test_a_target_that_fails_is_one_line(here: Path) -> None:
    (here / "bad.py").write_text("def build():\n    return undefined\n")
    result = invoke("check", "bad.py:build")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "bad.py" in result.stderr and "undefined" in result.stderr


def test_an_optimizer_that_refuses_its_arguments_is_no_pass(tmp_path: Path) -> None:
    groups = tmp_path / "groups.py"
    groups.write_text("import torch\ndef bad(model):\n    return torch.optim.AdamW(model.parameters(), lr=-1)\n")
    done = subprocess.run(
        [sys.executable, "-m", "paramlint", "check", "examples/gpt.py:build", "--groups", f"{groups}:bad"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "passed" not in done.stdout
    assert "AdamW did not accept its arguments: ValueError: Invalid learning rate: -1" in done.stderr


def test_right_groups_print_the_summary_and_nothing_else() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "paramlint",
            "check",
            "examples/gpt.py:build",
            "--groups",
            "examples/gpt.py:right_groups",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (only,) = done.stdout.splitlines()
    assert only.startswith("All checks passed: 68 parameters") and only.endswith("groups read as keller")
