"""What a command imports: help and completion need click alone, nothing but the worker needs torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("torch", "libcst", "rich", "tomllib", "tomli", "numpy", "subprocess")
COMMANDS = tuple(f"paramlint.cli.{name}" for name in ("params", "check", "explain", "rules", "jobs", "options"))
PACKAGE = str(Path(__file__).resolve().parents[1])


def loaded(*arguments: str, env: dict[str, str] | None = None) -> tuple[set[str], str]:
    """The modules in `sys.modules` after a command, and what it wrote."""
    program = (
        "import sys\n"
        f"sys.argv = ['paramlint', *{list(arguments)!r}]\n"
        "from paramlint.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = started("-c", program, env=env)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split()), done.stdout


def started(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (PACKAGE, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **(env or {})}
    return subprocess.run([sys.executable, *arguments], capture_output=True, encoding="utf-8", env=environment)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_needs_click_alone(arguments: list[str]) -> None:
    modules, out = loaded(*arguments)
    assert "paramlint" in out
    click = started("-c", "import click, sys; print('\\n'.join(sys.modules))")  # which brings subprocess on Python 3.10
    assert not modules & {*HEAVY, *COMMANDS} - set(click.stdout.split())


def test_completion_of_commands_imports_none_of_them() -> None:
    env = {"_PARAMLINT_COMPLETE": "bash_complete", "COMP_WORDS": "paramlint ", "COMP_CWORD": "1"}
    modules, out = loaded(env=env)
    assert "plain,params" in out and "plain,check" in out
    assert not modules & {"torch", "libcst", "rich", "tomllib", *COMMANDS}


def test_the_package_alone_imports_next_to_nothing() -> None:
    done = started("-c", "import paramlint, sys; print('\\n'.join(sys.modules))")
    assert not set(done.stdout.split()) & {*HEAVY, "click"}


@pytest.mark.parametrize("arguments", [["explain", "PML201"], ["rules"], ["optimizers"], ["policies"], ["schema"]])
def test_reading_commands_need_no_torch(arguments: list[str]) -> None:
    modules, out = loaded(*arguments)
    assert out
    assert not modules & {"torch", "libcst", "rich", "numpy"}


@pytest.mark.parametrize("arguments", [["params", "--help"], ["check", "--help"]])
def test_help_of_a_model_command_needs_no_torch(arguments: list[str]) -> None:
    modules, _ = loaded(*arguments)
    assert not modules & {"torch", "libcst", "rich", "tomllib", "tomli"}


def test_help_is_as_quick_as_click() -> None:
    """Same-run ratio of the best of several, so that a busy machine slows both."""

    def best(*arguments: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            started(*arguments)
            times.append(time.perf_counter() - start)
        return min(times)

    floor = best("-c", "import click")
    assert best("-m", "paramlint", "--help") < 3 * floor
