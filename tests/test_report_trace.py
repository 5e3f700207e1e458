"""What reports say of a trace: passes, parts, and what was not read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import sample_runs
from click.testing import CliRunner

from paramlint import knowledge
from paramlint.cli.main import cli
from paramlint.parameter import Inventory, Parameter, Part, Pass, Use
from paramlint.parts import told as parts_told
from paramlint.report import traced
from paramlint.report.evidence import lines
from paramlint.report.json import SCHEMA, document
from paramlint.report.lines import render

DONE = Pass("input_ids (1, 16)")
STOPPED = Pass("pixel_values (2, 3, 8, 8)", stopped="RuntimeError: mat1 and mat2")


def inventory(*passes: Pass, reach: str = "read") -> Inventory:
    names = [f"h.{i}.w" for i in range(3)]
    return Inventory("m.M", tuple(Parameter(n, (4, 4), "float32", True, (), reach=reach) for n in names), passes=passes)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (inventory(reach=""), []),
        (inventory(DONE), ["traced: input_ids (1, 16)"]),
        (inventory(STOPPED, DONE), ["traced: input_ids (1, 16)"]),
        (inventory(DONE, Pass("x (2, 4)", "cpu")), ["traced: input_ids (1, 16) and x (2, 4) on the CPU"]),
        (inventory(DONE, DONE, DONE), ["traced: input_ids (1, 16) and 2 more passes"]),
        (
            inventory(Pass("x (2, 4)", answered=("Scan",))),
            ["traced: x (2, 4) (made up, not run: Scan)"],
        ),
        (inventory(DONE, reach="unused"), ["traced: input_ids (1, 16)", "3 parameters read by nothing: h.{0..2}.w"]),
        (inventory(DONE, reach="unreached"), ["traced: input_ids (1, 16)", "3 parameters not reached"]),
        (
            inventory(STOPPED, reach=""),
            [
                "not traced: pixel_values (2, 3, 8, 8): RuntimeError: mat1 and mat2; "
                "--inputs gives what the forward takes"
            ],
        ),
        (
            inventory(Pass("", stopped="lazy parameters have no shape yet: give sizes"), reach=""),
            ["not traced: lazy parameters have no shape yet: give sizes"],
        ),
    ],
)
def test_footers(made: Inventory, said: list[str]) -> None:
    assert traced.footer(made) == said


def test_a_trace_in_part_is_told_with_what_it_missed() -> None:
    made = inventory(STOPPED, reach="unreached")
    first, *others = made.parameters
    (said,) = traced.footer(replace(made, parameters=(replace(first, reach="read"), *others)))
    assert said.startswith("traced in part: pixel_values") and "2 of 3 parameters not reached; --inputs" in said


def test_parts_have_purposes_and_may_be_interleaved() -> None:
    thirds = tuple(Part(64, purpose) for purpose in ("query", "key", "value"))
    use = Use("matmul", 1, "mm", parts=thirds, repeats=4, feeds=True)
    run = sample_runs.run()
    known = {p.name: p for p in run.inventory.parameters}
    qkv = replace(known["h.0.attn.qkv.weight"], splits=(64, 64, 64), uses=(use,), reach="read")
    text = render(lines([qkv], run.inventory, knowledge.load().policy("default")))
    assert "  rows     64 query + 64 key + 64 value, interleaved 4 times\n" in text
    assert parts_told(replace(qkv, uses=())) == "64 + 64 + 64" and parts_told(replace(qkv, splits=())) == ""
    made = json.loads(document([replace(run, inventory=replace(run.inventory, parameters=(qkv,), passes=(DONE,)))]))
    jsonschema.validate(made, json.loads(SCHEMA.read_text()))
    (target,) = made["targets"]
    assert target["passes"] == [{"inputs": "input_ids (1, 16)", "how": "meta", "stopped": "", "answered": []}]
    (told,) = target["parameters"][0]["uses"]
    assert told["repeats"] == 4 and told["parts"][0] == {"rows": 64, "purpose": "query"} and "groups" not in told


def test_no_pass_is_a_note_where_no_table_says_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run = sample_runs.run()
    failed = replace(run, inventory=replace(run.inventory, passes=(STOPPED,)))
    monkeypatch.setattr("paramlint.cli.jobs.analyse", lambda job, *, checks: failed)
    said = "note: not traced: pixel_values"
    assert said in CliRunner().invoke(cli, ["check", "x.py:f"]).stderr
    assert said not in CliRunner().invoke(cli, ["check", "x.py:f", "-q"]).stderr
    for form, there in (("concise", True), ("json", True), ("table", False), ("full", False)):
        result = CliRunner().invoke(cli, ["params", "x.py:f", "--output-format", form])
        assert (said in result.stderr) is there
        assert ("not traced: " in result.stdout) is not there
