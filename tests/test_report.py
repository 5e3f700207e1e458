"""What reports say of a run."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import jsonschema
import pytest
from rich.console import Console
from sample_runs import finding, inventory, run

from paramlint.errors import ParamlintError
from paramlint.parameter import Inventory
from paramlint.report import evidence, table, text
from paramlint.report import json as as_json
from paramlint.report.grid import Column, fit
from paramlint.report.lines import line, render
from paramlint.report.rows import by_destination, by_role, rows
from paramlint.report.wording import short
from paramlint.run import Run

SCHEMA = json.loads(as_json.SCHEMA.read_text(encoding="utf-8"))


def said(lines: object) -> str:
    return render(lines)


# Rows and totals


def test_repeated_layers_are_one_row_and_a_tied_tensor_counts_once() -> None:
    found = {row.pattern: row for row in rows(inventory())}
    assert found["h.{0..3}.attn.qkv.weight"].count == 4
    assert found["h.{0..3}.attn.qkv.weight"].numel == 4 * 768 * 256
    assert found["h.{0..2}.expert.{0..5}.w"].count == 18
    assert found["wte.weight"].aliases == ("lm_head.weight",)
    assert sum(row.numel for row in found.values()) == sum(p.numel for p in inventory().parameters)
    assert len(rows(inventory(), flat=True)) == len(inventory().parameters)


def test_rows_that_differ_in_more_than_the_index_stay_apart() -> None:
    inv = inventory()
    odd = tuple(replace(p, trainable=p.name != "h.2.attn.qkv.weight") for p in inv.parameters)
    patterns = [row.pattern for row in rows(replace(inv, parameters=odd))]
    assert "h.{0,1,3}.attn.qkv.weight" in patterns
    assert "h.2.attn.qkv.weight" in patterns


def test_totals_by_role_and_destination_are_exact() -> None:
    parameters = inventory().parameters
    roles = {t.label: t for t in by_role(parameters)}
    assert roles["tied-embedding"].numel == 50304 * 256
    assert [t.label for t in by_destination(parameters)] == ["Muon", "AdamW", "frozen"]
    for totals in (by_role(parameters), by_destination(parameters)):
        assert sum(t.count for t in totals) == len(parameters)
        assert sum(t.numel for t in totals) == sum(p.numel for p in parameters)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (999_949, "999.9k"), (999_950, "1.0M"), (671_026_419_200, "671.0B")],
)
def test_short_counts(count: int, text: str) -> None:
    assert short(count) == text


# The table


def test_the_plain_table_is_aligned_and_says_everything() -> None:
    made = table.text(run())
    lines = made.splitlines()
    head = next(one for one in lines if one.startswith("name"))
    row = next(one for one in lines if one.startswith("h.{0..3}.attn.qkv.weight"))
    assert row.index("fused-matrix") == head.index("role")
    assert row.index("Muon") == head.index("goes to")
    assert "×4" in row and "768×256" in row and "786.4k" in row and "float32" in row
    assert "  = lm_head.weight" in lines
    assert any(one.startswith("mix") and "elementwise?" in one and "guess:" in one for one in lines)
    assert any(one.startswith("norm.weight") and "frozen" in one for one in lines)
    assert lines[-1].split()[:3] == ["total", "37", f"{sum(p.numel for p in inventory().parameters):,}"]
    assert "\x1b" not in made and not any(one != one.rstrip() for one in lines)
    assert not set(made) & set("│┃━─┏┓")


def drawn(width: int, color: str | None = None) -> str:
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=True, width=width, color_system=color, highlight=False)
    console.print(table.terminal(run(), width))
    return buffer.getvalue()


def test_on_a_terminal_why_is_shortened_first_and_names_never() -> None:
    for width in (120, 100, 80, 60):
        lines = drawn(width).splitlines()
        assert max(map(len, lines)) <= width
        assert any(one.startswith("h.{0..2}.expert.{0..5}.w ") and "hidden-matrix" in one for one in lines)
    assert "ndim" in drawn(132) and "…" not in drawn(132)
    assert "ndim" in drawn(123) and "…" in drawn(123)
    assert "dtype" not in drawn(110) and "why" in drawn(110)
    assert "why" not in drawn(80) and "goes to" in drawn(60)


def test_muon_rows_have_a_colour() -> None:
    row = next(one for one in drawn(120, "standard").splitlines() if "attn.qkv" in one)
    assert "\x1b[35m" in row


def test_columns_go_only_when_shortening_does_not_do() -> None:
    columns = [
        Column("name", ("a" * 20,)),
        Column("ndim", ("2",), goes=1),
        Column("why", ("w" * 50,), least=10, goes=2),
    ]
    assert [c.title for c in fit(columns, 60)] == ["name", "ndim", "why"]
    assert fit(columns, 60)[2].width == 60 - 20 - 4 - 4
    assert [c.title for c in fit(columns, 33)] == ["name", "why"]
    assert [c.title for c in fit(columns, 30)] == ["name"]


def test_a_large_model_fits_on_a_screen() -> None:
    """1,137 parameters, as Llama-405B has."""
    base = inventory().parameters[1]
    kinds = ("q", "k", "v", "o", "gate", "up", "down", "norm1", "norm2")
    many = [replace(base, name=f"model.layers.{i}.{k}.weight", sites=()) for i in range(126) for k in kinds]
    big = Inventory("Llama", (*many, *(replace(base, name=n, sites=()) for n in ("embed", "norm", "head"))))
    assert len(big.parameters) == 1137
    assert len(table.text(Run("llama", big)).splitlines()) < 40


def test_concise_rows() -> None:
    assert "h.{0..3}.attn.qkv.weight: fused-matrix, Muon\n" in table.concise(run())
    assert "mix: elementwise (guess), AdamW\n" in table.concise(run())


# Evidence


def policy() -> object:
    from paramlint.knowledge import load

    return load().policy("default")


def test_why_shows_evidence_conflict_and_sources() -> None:
    inv = inventory()
    shown = said(evidence.lines(evidence.find(inv, "mix"), inv, policy()))
    assert "elementwise (guess)" in shown
    assert "conflict: structure says hidden-matrix, which goes to Muon" in shown
    assert shown.index("its name has the word") < shown.index("one of 4 like blocks")
    assert "policy default: elementwise to AdamW" in shown
    assert "https://" in shown or "github" in shown


def test_why_takes_aliases_and_patterns() -> None:
    inv = inventory()
    assert [p.name for p in evidence.find(inv, "lm_head.weight")] == ["wte.weight"]
    shown = said(evidence.lines(evidence.find(inv, "wte.weight"), inv, policy()))
    assert "= lm_head.weight" in shown
    assert "torch.nn.modules.sparse.Embedding at wte" in shown
    folded = evidence.find(inv, "h.{0..3}.norm.bias")
    assert len(folded) == 4
    assert said(evidence.lines(folded, inv, policy())).startswith("h.{0..3}.norm.bias  ×4\n")


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ParamlintError, match=r"did you mean 'wte\.weight'"):
        evidence.find(inventory(), "wte.wieght")
    with pytest.raises(ParamlintError, match=r"did you mean 'h\.0\.attn\.qkv\.weight'"):
        evidence.find(inventory(), "qkv.weight")


# Findings


def test_one_parameter_leads_its_finding() -> None:
    made = said(text.full(run(finding("PML203", "wte.weight", details=("two uses",)))))
    assert made.splitlines() == [
        "wte.weight: PML203 error: is in Muon group 0",
        "  --> train.py:88 (recipe)",
        "   | two uses",
        "  help: move it to the AdamW half",
        "",
    ]


def test_many_parameters_are_folded_and_listed() -> None:
    layers = [f"h.{i}.norm.{k}" for i in range(4) for k in ("weight", "bias")]
    made = said(text.full(run(finding("PML204", *layers))))
    assert made.startswith("8 parameters: PML204 error:")
    assert "    h.{0..3}.norm.weight  ×4\n" in made
    one = said(text.full(run(finding("PML204", *layers[::2]))))
    assert one.startswith("h.{0..3}.norm.weight ×4: PML204 error:")


def test_a_long_list_ends_in_how_many_more() -> None:
    names = [f"part{k}.{i}" for k in "abcdefgh" for i in range(3)]
    made = said(text.full(run(finding("PML101", *names))))
    assert "    ... and 6 more\n" in made
    assert made.count("×3") == text.LISTED


def test_a_finding_about_a_group_is_called_by_it() -> None:
    made = said(text.full(run(finding("PML105", group="AdamW group 1", severity="warning"))))
    assert made.startswith("AdamW group 1: PML105 warning:")
    empty = replace(finding("PML105", group="AdamW"), message="AdamW has no parameters")
    assert said(text.full(run(empty))).startswith("train.py:build: PML105 error: AdamW has no parameters\n")


def test_concise_is_one_line_each() -> None:
    made = said(text.concise(run(finding("PML203", "wte.weight"), finding("PML204", "h.0.norm.bias", "h.1.norm.bias"))))
    assert made.splitlines() == [
        "train.py:88: PML203 is in Muon group 0: wte.weight",
        "train.py:88: PML204 is in Muon group 0: h.{0,1}.norm.bias",
    ]


def test_summaries() -> None:
    found = run(finding("PML203", "a"), finding("PML212", "b", severity="warning"), finding("PML101", "c"))
    assert text.summary([found]).text == "Found 2 errors, 1 warning in 37 parameters (14.2M)"
    assert text.summary([run()]).text == (
        "All checks passed: 37 parameters (14.2M), 26 (1.3M) to Muon, 10 (12.9M) to AdamW, 1 (256) frozen"
        "; groups read as keller"
    )
    plain = replace(run(), routed={"wte.weight": "adam"})
    assert text.summary([plain]).text == "All checks passed: 37 parameters (14.2M), none to Muon; groups read as keller"
    assert "74 parameters (28.4M) of 2 targets" in text.summary([run(), run()]).text


def test_statistics_count_rules() -> None:
    found = run(finding("PML203", "a"), finding("PML101", "b"), finding("PML101", "c"))
    assert [one.split() for one in said(text.statistics([found])).splitlines()] == [
        ["2", "PML101", "error", "uncovered-parameter"],
        ["1", "PML203", "error", "tied-in-muon"],
    ]


def test_without_groups_the_right_split_is_shown() -> None:
    made = said(text.split(run(grouped=False, profile="torch-muon")))
    assert made.startswith("no groups to check: this is the right split for torch-muon")
    rows_of = {one.split()[0]: one.split()[1:] for one in made.splitlines()[2:]}
    assert rows_of["Muon"][0] == "26"
    assert rows_of["fused-matrix"][:3] == ["4", "parameters", "786,432"]
    assert rows_of["tied-embedding"][:2] == ["1", "parameter"]


def test_lines_wrap_at_spaces_with_a_hanging_indent_and_colour() -> None:
    long = line(("name", "name"), ": ", ("error", "error"), " " + "word " * 20, hang=4)
    wrapped = render([long], width=40).splitlines()
    assert all(len(one) <= 40 for one in wrapped)
    assert all(one.startswith("    ") for one in wrapped[1:])
    assert " ".join(" ".join(wrapped).split()) == " ".join(long.text.split())
    assert "\x1b[1;31merror\x1b[0m" in render([long], color=True)
    path = line("  --> " + "a/very/long/path" * 5)
    assert render([path], width=40).strip() == path.text.strip()


# JSON


def test_json_is_as_its_schema_says() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    failures = {"other": ParamlintError("crashed", where="b.py:f", hint="look")}
    made = json.loads(as_json.document([run(finding("PML203", "wte.weight")), run(grouped=False)], failures))
    jsonschema.validate(made, SCHEMA)
    assert made["summary"] == {"targets": 2, "failed": 1, "errors": 1, "warnings": 0, "notes": 0}
    first, second = made["targets"]
    assert second["groups"] is None
    assert first["diagnostics"][0]["patterns"] == ["wte.weight"]
    assert first["summary"]["by_destination"]["muon"]["parameters"] == 26
    assert first["groups"][1]["foreign"] == 1
    assert first["groups"][1]["options"]["eps"] == "inf"
    assert first["parameters"][0]["aliases"] == ["lm_head.weight"]
    assert made["failures"][0]["where"] == "b.py:f"


def test_json_for_some_parameters_keeps_the_totals() -> None:
    made = json.loads(as_json.document([run()], only=["mix"]))
    jsonschema.validate(made, SCHEMA)
    (target,) = made["targets"]
    assert [p["name"] for p in target["parameters"]] == ["mix"]
    assert target["parameters"][0]["evidence"][1]["role"] == "hidden-matrix"
    assert target["summary"]["parameters"] == 37


def test_every_object_of_the_schema_is_described_by_what_is_written() -> None:
    """Keys that are written but not in the schema are a mistake that validation alone does not show."""

    def strict(node: object) -> object:
        if isinstance(node, dict):
            closed = {"additionalProperties": False} if "properties" in node else {}
            return {**{k: strict(v) for k, v in node.items()}, **closed}
        return [strict(v) for v in node] if isinstance(node, list) else node

    made = json.loads(as_json.document([run(finding("PML203", "wte.weight"))], {"x": ParamlintError("no")}))
    jsonschema.validate(made, strict(SCHEMA))
