"""`paramlint plan`: the table, its figures, JSON, and the options that plans share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from click.testing import CliRunner, Result
from in_process import in_process
from test_examples import EXAMPLES, TINY, tiny
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import paramlint
from paramlint import knowledge, planning
from paramlint.cli.main import cli
from paramlint.errors import ParamlintError
from paramlint.parameter import Inventory
from paramlint.planned import Layers, Plan
from paramlint.planning import flops
from paramlint.report import plan as report
from paramlint.report import plan_json
from paramlint.report.plan_figures import Figures, figures
from paramlint.run import Run

KNOWN = knowledge.load()
SCHEMA = json.loads(plan_json.SCHEMA.read_text(encoding="utf-8"))


def planned(model: nn.Module, name: str, **more: Any) -> tuple[Inventory, Plan]:
    inventory = paramlint.inspect(model)
    return inventory, planning.plan(inventory, KNOWN, name, **more)


def shown(model: nn.Module, name: str, tokens: int = 1000, **more: Any) -> Figures:
    inventory, plan = planned(model, name, **more)
    return figures(Run("m.py:build", inventory, policy="default", profile=name), plan, KNOWN.profile(name), tokens)


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["plan", "--isolated", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# Arithmetic


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_newton_schulz_takes_the_operations_that_torch_counts() -> None:
    model = tiny("gpt")
    inventory, plan = planned(model, "torch-muon")
    (muon,) = (g for g in plan.groups if g.kind.half == "muon")
    tensors = dict(model.named_parameters())
    optimizer = torch.optim.Muon([tensors[name] for name in muon.parameters])
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    with FlopCounterMode(display=False) as counted:
        optimizer.step()
    profile = KNOWN.profile("torch-muon")
    assert flops.newton_schulz_flops(plan, inventory, profile) == counted.get_total_flops() > 0


def test_forward_and_backward_take_the_operations_that_torch_counts() -> None:
    """Of a model with a tied head and a lookup; products of activations with each other are left out."""
    model = tiny("gpt")
    tokens = torch.randint(40, (3, 8))
    with FlopCounterMode(display=False) as counted:
        model(tokens, tokens)[1].backward()
    products = {str(op): n for op, n in counted.get_flop_counts()["Global"].items()}
    expected = sum(n for op, n in products.items() if op.endswith(("mm", "mm.default")) and "bmm" not in op)
    assert flops.forward_backward_flops(paramlint.inspect(model), tokens.numel()) == expected > 0


def test_share_is_the_papers_bound_for_square_matrices() -> None:
    """Keller Jordan's post: an overhead of T m / B for T steps, matrices of m columns and B tokens."""
    square = nn.Sequential(nn.Linear(16, 16, bias=False), nn.ReLU(), nn.Linear(16, 16, bias=False))
    inventory = paramlint.inspect(square)
    whole = replace(
        inventory,
        parameters=tuple(replace(p, role="hidden-matrix", destination="muon") for p in inventory.parameters),
    )
    plan = planning.plan(whole, KNOWN, "keller")
    assert flops.share(plan, whole, KNOWN.profile("keller"), 4096) == pytest.approx(5 * 16 / 4096)
    with pytest.raises(ValueError, match="0 tokens"):
        flops.share(plan, whole, KNOWN.profile("keller"), 0)


def newton_schulz(*sizes: tuple[int, int, int], steps: int = 5) -> int:
    return sum(steps * count * (4 * long * short**2 + 2 * short**3) for count, short, long in sizes)


def test_stacks_count_by_matrix_and_filters_as_flattened() -> None:
    inventory, plan = planned(tiny("moe"), "keller")  # 2 layers of 4 experts: 24x16 and 16x24, and q, k, v, o
    found = flops.newton_schulz_flops(plan, inventory, KNOWN.profile("keller"))
    assert found == newton_schulz((2 * 2 * 4, 16, 24), (2 * 4, 16, 16))
    inventory, plan = planned(tiny("convnext"), "keller")  # one 2x2 filter of 8 to 16, and 1 + 2 blocks
    found = flops.newton_schulz_flops(plan, inventory, KNOWN.profile("keller"))
    assert found == newton_schulz((1, 16, 32), (2, 8, 32), (4, 16, 64))


def test_parts_of_a_split_matrix_count_alone() -> None:
    model = tiny("vit")
    profile = KNOWN.profile("dion-muon")
    split = {"whole": [], "split": []}  # type: dict[str, Any]
    for fused in split:
        inventory, plan = planned(model, "dion-muon", fused=fused)
        split[fused] = flops.newton_schulz_flops(plan, inventory, profile)
    others = newton_schulz((2, 16, 16), (4, 16, 64))
    assert split["split"] == newton_schulz((2 * 3, 16, 16)) + others
    assert split["whole"] == newton_schulz((2, 16, 48)) + others


def test_an_optimizer_without_newton_schulz_adds_none_and_a_part_of_a_matrix_adds_less() -> None:
    model = tiny("gpt")
    found = {name: shown(model, name).arithmetic.newton_schulz for name in ("dion", "adamw", "dion2", "dion-muon")}
    assert found["dion"] == found["adamw"] == 0
    assert 0 < found["dion2"] < found["dion-muon"] / 4
    assert "not counted" in report.text(shown(model, "dion"))


def test_an_expert_counts_for_the_tokens_that_it_meets() -> None:
    inventory = paramlint.inspect(tiny("moe"))  # the two best of four
    met = flops.met(inventory)
    stacks = {p.name for p in inventory.parameters if p.role == "expert-stack"}
    assert met == dict.fromkeys(stacks, 0.5) and len(stacks) == 4
    unknown = replace(inventory, modules=())
    assert flops.met(unknown) == {}
    less = flops.forward_backward_flops(unknown, 10) - flops.forward_backward_flops(inventory, 10)
    assert less == 6 * 10 * sum(p.numel for p in inventory.parameters if p.name in stacks) // 2
    assert "one token in 2" in report.text(shown(tiny("moe"), "keller"))


class Listed(nn.Module):
    """Experts as a list of modules; the layers are as many as the experts, and are none."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(50, 8)
        self.layers = nn.ModuleList(Routed() for _ in range(3))
        self.head = nn.Linear(8, 50)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.wte(ids)
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x)


class Routed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.top_k = 1
        self.shared = nn.Linear(8, 8)
        self.router = nn.Linear(8, 3, bias=False)
        self.experts = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(self.top_k, dim=-1)
        y = self.shared(x)
        for i, expert in enumerate(self.experts):
            y = y + expert(x) * (weights * (chosen == i)).sum(-1, keepdim=True)
        return y


def test_experts_in_a_list_are_known_by_the_router_beside_it() -> None:
    met = flops.met(paramlint.inspect(Listed()))
    assert met == {f"layers.{i}.experts.{e}.weight": pytest.approx(1 / 3) for i in range(3) for e in range(3)}


# The table and its lines


def test_table_has_a_row_for_each_group_and_totals() -> None:
    found = shown(tiny("gpt"), "torch-muon")
    lines = report.text(found).splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert lines[1] == "optimizer torch-muon: torch.optim.Muon, and torch.optim.AdamW for the rest"
    assert "lr=0.02 momentum=0.95 weight_decay=0.1" in rows["muon"] and "hidden-matrix" in rows["muon"]
    assert "betas=(0.9, 0.95) weight_decay=0 " in rows["no_decay"]
    total = sum(p.numel for p in found.run.inventory.parameters)
    assert f"{total:,}" in rows["total"] and "100.0%" in rows["total"]
    assert rows["optimizer"] and "less than the" in lines[-2] and "1,000 tokens a step" in lines[-1]


def test_table_fits_a_terminal_and_keeps_what_was_asked_for() -> None:
    from paramlint.cli.screen import Screen

    found = shown(tiny("gpt"), "keller")
    for width in (80, 120):
        drawn = Screen(True, width).rich(report.terminal(found, width))
        plain = Screen(False, width).rich(report.terminal(found, width))
        assert all(len(line) <= width for line in plain.splitlines())
        assert "AdamW's" in plain and "weight_decay=0.01" in plain
        assert "\x1b[35mmuon" in drawn


def test_layers_are_shown_with_their_factors_and_roles() -> None:
    model = tiny("gpt")
    names = [p.name for p in paramlint.inspect(model).parameters]
    layers = Layers({n: 0 if n.startswith("w") else 1 for n in names}, 2, (), "two halves")
    text = report.text(shown(model, "adamw", layers=layers, scales=(0.5, 1.0)))
    assert "2 layers, from two halves; lr times 0.5 to 1\n" in text
    (first,) = (line for line in text.splitlines() if line.startswith("layer_0_decay "))
    (last,) = (line for line in text.splitlines() if line.startswith("layer_1_decay "))
    assert "lr_scale=0.5" in first and first.endswith("tied-embedding")
    assert "lr_scale" not in last and last.endswith("hidden-matrix")
    assert "of the whole optimizer: betas=(0.9, 0.999)\n" in text


def test_concise_is_a_line_a_group_and_members_are_folded() -> None:
    found = shown(tiny("gpt"), "timm")
    first, *_ = report.concise(found).splitlines()
    assert first.startswith("muon: 12 parameters, 6,144 elements, use_muon=True lr=0.0003")
    assert first.endswith("24.6 kB of state")
    assert any(line.text == "  h.{0,1}.mlp.c_fc.weight  ×2  64×16" for line in report.members(found))


def test_frozen_parameters_are_told_and_a_model_without_any_others_has_no_plan() -> None:
    model = tiny("gpt")
    model.h[0].requires_grad_(False)
    text = report.text(shown(model, "keller"))
    frozen = list(model.h[0].parameters())
    assert f"frozen, in no group: {len(frozen)} parameters, {sum(p.numel() for p in frozen):,} elements" in text
    model.requires_grad_(False)
    assert "no parameter is trained" in report.text(shown(model, "keller"))


def test_memory_that_is_not_known_is_not_made_up() -> None:
    inventory, plan = planned(tiny("gpt"), "keller")
    silent = replace(KNOWN.profile("keller"), state={})
    found = figures(Run("m", inventory, policy="default"), plan, silent, 1000)
    assert "optimizer state: not known of keller" in report.text(found)
    (target,) = json.loads(plan_json.document([found]))["targets"]
    assert target["summary"]["state_bytes"] is None and target["summary"]["adamw_state_bytes"] > 0


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (64_242_092_344, "64.2 GB")])
def test_sizes(count: int, text: str) -> None:
    assert report.size(count) == text


# JSON


def test_json_is_as_its_schema_says() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    model = tiny("gpt")
    names = [p.name for p in paramlint.inspect(model).parameters]
    layered = shown(model, "adamw", layers=Layers(dict.fromkeys(names, 0), 1, (), "one"), scales=(0.5,))
    failures = {"other": ParamlintError("crashed", where="b.py:f", hint="look")}
    made = json.loads(plan_json.document([shown(model, "torch-muon"), layered], failures))
    jsonschema.validate(made, SCHEMA)
    first, second = made["targets"]
    assert first["groups"]["muon"]["lr"] == 0.02 and first["groups"]["muon"]["lr_scale"] == 1.0
    assert second["groups"]["layer_0_no_decay"]["weight_decay"] == 0.0
    assert second["groups"]["layer_0_decay"]["lr_scale"] == 0.5
    assert second["layers"] == {"count": 1, "source": "one", "lr_scales": [0.5]}
    assert sorted(n for g in first["groups"].values() for n in g["params"]) == sorted(names)
    total = first["summary"]["state_bytes"]
    assert sum(g["state_bytes"] for g in first["groups"].values()) == total < first["summary"]["adamw_state_bytes"]


def test_all_that_json_has_is_in_the_schema() -> None:
    """Options of groups aside, which have the optimizer's names."""

    def closed(node: object, name: str = "") -> object:
        if isinstance(node, dict):
            shut = {"additionalProperties": False} if "properties" in node and name != "group" else {}
            return {**{k: closed(v, k) for k, v in node.items()}, **shut}
        return [closed(v) for v in node] if isinstance(node, list) else node

    found = shown(tiny("gpt"), "keller")
    made = json.loads(plan_json.document([found], {"x": ParamlintError("no")}))
    jsonschema.validate(made, closed(SCHEMA))
    (target,) = made["targets"]
    described = set(SCHEMA["$defs"]["group"]["properties"])
    for label, figure in zip(target["groups"], found.groups, strict=True):
        assert set(target["groups"][label]) == described | set(figure.options)


def test_groups_of_one_kind_are_told_apart() -> None:
    """Weights stored (in, out) of two shapes are two groups of one kind."""
    inventory, plan = planned(tiny("gpt"), "keller")
    first = plan.groups[0]
    halves = (
        replace(first, parameters=first.parameters[:2]),
        replace(first, label="muon_2", parameters=first.parameters[2:], turn=2.0),
    )
    two = replace(plan, groups=(*halves, *plan.groups[1:]))
    found = figures(Run("m", inventory, policy="default"), two, KNOWN.profile("keller"), 1000)
    groups = json.loads(plan_json.document([found]))["targets"][0]["groups"]
    assert groups["muon"]["lr_turn"] == 1.0 and groups["muon_2"]["lr_turn"] == 2.0
    assert sum(len(g["params"]) for g in groups.values()) == len(inventory.parameters)


# The command


GPT = (f"{EXAMPLES / 'gpt.py'}:build", "--kwargs", json.dumps(TINY["gpt"]))


def test_plan_of_a_target(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    result = invoke(
        *GPT, "--optimizer", "keller", "--tokens-per-step", "0.5M", "--output-format", "json", "-o", str(file)
    )
    assert result.exit_code == 0, result.output
    made = json.loads(file.read_text())
    jsonschema.validate(made, SCHEMA)
    (target,) = made["targets"]
    assert target["optimizer"] == "keller" and target["flops"]["tokens_per_step"] == 500_000
    assert list(target["groups"]) == ["muon", "decay", "no_decay"]


def test_plan_by_layers_in_full() -> None:
    with in_process():
        result = invoke(*GPT, "--optimizer", "adamw", "--layer-decay", "0.5", "--output-format", "full")
    assert result.exit_code == 0, result.output
    assert "4 layers, from the model's structure; lr times 0.125 to 1" in result.stdout
    assert "\nlayer_1_decay: hidden-matrix\n  h.0.attn.q.weight  16×16\n" in result.stdout


def test_targets_that_fail_are_told_and_the_others_are_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text("from torch import nn\ndef good(): return nn.Linear(4, 4)\ndef bad(): return 1\n")
    (tmp_path / "paramlint.toml").write_text(
        'optimizer = "adamw"\n[targets.one]\ntarget = "m.py:bad"\n[targets.two]\ntarget = "m.py:good"\n'
    )
    with in_process():
        result = CliRunner().invoke(cli, ["plan", "--output-format", "json", "--no-trace"])
    assert result.exit_code == 2
    made = json.loads(result.stdout)
    jsonschema.validate(made, SCHEMA)
    assert [t["target"] for t in made["targets"]] == ["two"] and made["summary"] == {"targets": 1, "failed": 1}
    assert made["failures"][0]["target"] == "one" and "error:" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--optimizer'"),
        (("--optimizer", "torch-mun"), "no optimizer 'torch-mun'; did you mean 'torch-muon'?"),
        (("--optimizer", "adamw", "--layers", "beit"), "--layers are for --layer-decay"),
        (("--optimizer", "adamw", "--layer-decay", "1.5"), "not over 0 and up to 1"),
        (("--optimizer", "adamw", "--layer-decay", "0.5,x"), "neither a number"),
        (("--optimizer", "adamw", "--layer-decay", "[]"), "neither a number"),
        (("--optimizer", "adamw", "--layer-decay", "NaN"), "neither a number"),
        (("--optimizer", "adamw", "--tokens-per-step", "many"), "not a number of tokens"),
        (("--optimizer", "adamw", "--tokens-per-step", "0"), "not a number of tokens"),
    ],
)
def test_wrong_options_are_told_before_anything_is_built(arguments: tuple[str, ...], message: str) -> None:
    result = invoke("no_such_file.py:build", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("text", "count"), [("524288", 524288), ("0.5M", 500_000), ("512k", 512_000), ("512Ki", 524_288), ("1_000", 1000)]
)
def test_numbers_of_tokens(text: str, count: int) -> None:
    from paramlint.cli.plan import command

    (option,) = (p for p in command.params if p.name == "tokens_per_step")
    assert option.type_cast_value(None, text) == text and option.callback(None, option, text) == count  # type: ignore


@pytest.mark.parametrize(
    ("text", "decay"),
    [("0.75", 0.75), ("1", 1.0), ("1.0,0.9,0.8", [1.0, 0.9, 0.8]), ("[0.5, 1]", [0.5, 1.0]), ("1,", [1.0])],
)
def test_layer_decay_is_a_number_or_a_list(text: str, decay: object) -> None:
    from paramlint.cli.plan import command

    (option,) = (p for p in command.params if p.name == "layer_decay")
    assert option.callback is not None and option.callback(None, option, text) == decay  # type: ignore[arg-type]


def test_schema_of_plans_is_printed() -> None:
    result = CliRunner().invoke(cli, ["schema", "plan"])
    assert json.loads(result.stdout) == SCHEMA
