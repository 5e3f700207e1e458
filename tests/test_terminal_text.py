"""Names and messages of others on a terminal: shown as they are, never obeyed, never cut beyond recognition."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sample_runs import finding, parameter, run

from paramlint.cli.failure import note, report
from paramlint.cli.screen import Screen
from paramlint.errors import ParamlintError
from paramlint.report import evidence, knowledge, table, text
from paramlint.report import json as as_json
from paramlint.report.grid import Column
from paramlint.report.visible import visible
from paramlint.run import Run

ROOT = str(Path(__file__).parents[1])
NAMES = ("p.[red]x[/red]", "p.[/]", "p.[link=file:///]", "p.:smile:", "p.has space", "p.{0,3}", "p.é漢字")
OBEYED = {"p.\x1b[31mred": r"p.\x1b[31mred", "p.tab\tnew\nline": r"p.tab\tnew\nline", "p.\u202eback": r"p.\u202eback"}


def odd() -> Run:
    """A run whose parameters have such names, all with a finding."""
    plain = run()
    parameters = tuple(parameter(name, (4, 4 + i), "hidden-matrix", "muon") for i, name in enumerate((*NAMES, *OBEYED)))
    findings = tuple(finding("PML101", p.name) for p in parameters)
    return replace(plain, inventory=replace(plain.inventory, parameters=parameters), proposal=None, findings=findings)


def shown() -> dict[str, str]:
    from paramlint import knowledge as known

    strange, wide, policy = odd(), Screen(width=200), known.load().policy("default")
    return {
        "table": table.text(strange),
        "table of a terminal": wide.rich(table.terminal(strange, 200)),
        "concise table": table.concise(strange),
        "report": wide.lines(text.full(strange)),
        "concise report": wide.lines(text.concise(strange)),
        "evidence": wide.lines(evidence.lines(strange.inventory.parameters, strange.inventory, policy)),
    }


def test_names_are_neither_markup_nor_commands() -> None:
    for kind, said in shown().items():
        for name in (*NAMES, *OBEYED.values()):
            assert name in said, (kind, name)
        assert all(c.isprintable() or c == "\n" for c in said), kind


def test_only_what_is_not_shown_is_written_out() -> None:
    assert visible("h.{0..3}.w ×4 — [red] é漢") == "h.{0..3}.w ×4 — [red] é漢"
    assert visible("a\x1bb\rc\ud800") == r"a\x1bb\rc\ud800"


def test_errors_and_notes_are_one_line_without_commands(capsys: pytest.CaptureFixture[str]) -> None:
    report(ParamlintError("said \x1b[2J[bold]this[/bold]\r\nand that", where="a\x07.py"))
    note("built as \x1b]0;title\x07Net")
    said = capsys.readouterr().err
    assert said.splitlines() == [
        r"error: a\x07.py: said \x1b[2J[bold]this[/bold] and that",
        r"note: built as \x1b]0;title\x07Net",
    ]


def test_json_needs_no_encoding() -> None:
    name = "h.×.é.\ud800"
    written = as_json.written({"name": name})
    assert written.isascii() and json.loads(written) == {"name": name}


# Narrow terminals


@pytest.mark.parametrize("width", [20, 40, 80])
def test_cells_are_whole_on_any_terminal(width: int) -> None:
    from paramlint.registry import RULES

    columns = [
        Column("code", tuple(r.code for r in RULES)),
        Column("severity", tuple(r.severity for r in RULES)),
        Column("name", tuple(r.name for r in RULES)),
        Column("what is wrong", tuple(r.summary for r in RULES), wrap=True),
    ]
    said = Screen(width=width).columns(columns)
    assert all(f"{r.code}  {r.severity:<8}  {r.name} " in said for r in RULES)
    assert width < 80 or max(map(len, said.splitlines())) <= width


def test_roles_and_destinations_are_whole_at_forty() -> None:
    said = Screen(width=40).rich(table.terminal(run(), 40))
    assert max(map(len, said.splitlines())) <= 40
    assert said.count("hidden-matrix") == 3
    for word in ("tied-embedding", "hidden-matrix", "fused-matrix", "AdamW", "Muon", "frozen"):
        assert word in said
    policies = Screen(width=40).lines(knowledge.policy(_default()))
    assert "hidden-matrix" in policies


def _default():
    from paramlint import knowledge as known

    return known.load().policy("default")


# What there is no number for


def test_a_lazy_parameter_has_no_size_yet() -> None:
    lazy = parameter("fc.weight", (), "unknown", state="uninitialized")
    plain = run()
    strange = replace(plain, inventory=replace(plain.inventory, parameters=(lazy,)), proposal=None)
    assert lazy.numel == 0
    row = table.text(strange).splitlines()[3].split()
    assert row[:5] == ["fc.weight", "lazy", "?", "float32", "?"]


def test_a_model_without_parameters_has_no_table() -> None:
    plain = run()
    empty = replace(plain, inventory=replace(plain.inventory, parameters=()), proposal=None)
    assert table.text(empty) == "GPT (train.py:build): 0 parameters, 0 elements; policy default\n"
    assert Screen(width=80).rich(table.terminal(empty, 80)) == table.text(empty)
    assert Screen().lines(text.split(empty)) == "no groups to check, and no parameters\n"


# Streams


def started(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paramlint", *arguments],
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": ROOT, **options.pop("env", {})},
        **options,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_encoding_is_too_small(encoding: str) -> None:
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": f"{encoding}:strict"}
    for arguments in (("optimizers", "keller"), ("explain", "no × such"), ("policies", "default")):
        done = subprocess.run(
            [sys.executable, "-m", "paramlint", *arguments],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": ROOT, **env},
        )
        assert done.returncode == (2 if arguments[0] == "explain" else 0)
        assert b"Traceback" not in done.stderr and b"internal" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = started("rules", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (2, "error: stdout: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="file descriptors of POSIX")
@pytest.mark.parametrize(("closed", "arguments", "code"), [(1, ("rules",), 0), (2, ("explain", "PML999"), 2)])
def test_a_closed_stream_is_silent(closed: int, arguments: tuple[str, ...], code: int) -> None:
    shell = f'exec "$0" -m paramlint "$@" {closed}>&-'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize("dumb", [False, True])
def test_a_dumb_terminal_gets_no_commands(dumb: bool) -> None:
    import pty

    lead, follow = pty.openpty()
    started("check", "x", stdout=subprocess.DEVNULL, stderr=follow, env={"TERM": "dumb" if dumb else "xterm"})
    os.close(follow)
    said = os.read(lead, 4096).decode()
    os.close(lead)
    assert "x: names no attribute" in said
    assert ("\x1b" in said) != dumb
