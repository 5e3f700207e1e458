"""What `paramlint.plan` puts where: kinds, options, and what it says of weights that it leaves to Adam."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import paramlint
from paramlint.errors import ParamlintError
from paramlint.knowledge import load
from paramlint.planned import Plan, Ref, values

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import convnext
import gpt
import lora
import moe
import vit

PROFILES = load().profiles
TORCH = [name for name in PROFILES if name not in ("optax", "keras")]


class Conv1D(nn.Module):
    """A linear map stored (in, out), as GPT-2 in transformers has it."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.empty(nx, nf))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


class Turned(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(1000, width)
        self.square = Conv1D(width, width)
        self.up = Conv1D(4 * width, width)
        self.down = Conv1D(width, 4 * width)
        self.head = nn.Linear(width, 1000, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.down(self.up(self.square(self.tokens(ids))).relu()))


def sizes(plan: Plan) -> dict[str, int]:
    return {g.label: len(g.parameters) for g in plan.groups}


def test_a_gpt_for_torch():
    plan = paramlint.plan(gpt.build(), "muon")
    assert sizes(plan) == {"muon": 24, "decay": 1, "no_decay": 43}
    assert plan.labels["lm_head.weight" if "lm_head.weight" in plan.labels else "wte.weight"] == "decay"
    assert plan.labels["wpe.weight"] == "no_decay"
    muon = plan.groups[0]
    assert values(plan, muon) == {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
    assert "use_muon" not in muon.kind.options
    assert plan.notes == ()


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("example", [gpt, convnext, moe, lora])
def test_every_parameter_is_in_one_group_of_every_profile(name, example):
    model = example.build()
    plan = paramlint.plan(model, name, trace=False)
    placed = [p for g in plan.groups for p in g.parameters]
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert sorted(placed) == sorted(trained)
    assert set(plan.labels) == {n for n, _ in model.named_parameters()}
    assert all(g.parameters for g in plan.groups)
    used = {o.setting for k in plan.kinds for o in k.options.values() if isinstance(o, Ref)}
    assert used <= {s.name for s in plan.settings}


def test_exact_keys_are_kept():
    """KellerJordan's classes assert these sets."""
    for name in ("keller", "keller-dist", "keller-pypi", "normuon"):
        profile = PROFILES[name]
        for kind in paramlint.plan(gpt.build(), name, trace=False).kinds:
            allowed = profile.keys.muon if kind.half == "muon" else profile.keys.adam
            assert set(kind.options) <= set(allowed), (name, kind.label)


def test_fused_matrices_are_split_where_the_optimizer_can():
    model = vit.build()
    split = paramlint.plan(model, "dion-muon")
    kind = next(k for k in split.kinds if k.label.startswith("muon_split_"))
    assert sum(kind.options["split_sizes"]) == dict(model.named_parameters())["blocks.0.attn.qkv.weight"].shape[0]
    left = paramlint.plan(model, "torch-muon")
    assert left.labels["blocks.0.attn.qkv.weight"] == "decay"
    assert "fused matrices" in left.notes[0] and "--fused whole" in left.notes[0]
    whole = paramlint.plan(model, "torch-muon", fused="whole")
    assert whole.labels["blocks.0.attn.qkv.weight"] == "muon" and whole.notes == ()
    assert paramlint.plan(model, "dion-muon", fused="adam").labels["blocks.0.attn.qkv.weight"] == "decay"


def test_what_an_optimizer_does_with_shapes_decides():
    stacks = paramlint.plan(moe.build(), "timm")
    assert {stacks.labels[n] for n in stacks.labels if "experts" in n} == {"decay"}
    assert "what timm does with 3-D tensors is not for them" in stacks.notes[0]
    batched = paramlint.plan(moe.build(), "keller")
    assert {batched.labels[n] for n in batched.labels if "experts" in n} == {"muon"}
    assert sizes(paramlint.plan(convnext.build(), "pytorch-optimizer"))["muon"] > sizes(
        paramlint.plan(convnext.build(), "torch-muon")
    ).get("muon", 0)


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.mix, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.spectral = nn.Parameter(torch.zeros(16, 16, dtype=torch.cfloat))
        self.shift = nn.Parameter(torch.zeros(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (self.inner(x).relu().to(torch.cfloat) @ self.spectral).real
        return self.head(self.mix(x).relu()) + self.shift.sum()


@pytest.mark.parametrize("name", [n for n in TORCH if PROFILES[n].family == "muon" and n != "pytorch-optimizer"])
def test_a_complex_matrix_goes_to_adam(name):
    plan = paramlint.plan(Spectral(), name)
    halves = {p: g.kind.half for g in plan.groups for p in g.parameters}
    assert halves["spectral"] == halves["shift"] == "adam" and halves["mix.weight"] == "muon"
    assert "1 hidden-matrix" in plan.notes[0] and "Newton-Schulz is for real matrices" in plan.notes[0]


def test_an_optimizer_that_refuses_complex_parameters_has_no_plan():
    with pytest.raises(ParamlintError, match="spectral is complex, and pytorch-optimizer takes no complex parameter"):
        paramlint.plan(Spectral(), "pytorch-optimizer")


@pytest.mark.parametrize(("name", "severity"), [("torch-muon", "error"), ("keller", "warning")])
def test_a_complex_matrix_in_muon_is_found(name, severity):
    model = Spectral()

    def findings(*muon):
        adam = [p for p in model.parameters() if all(p is not m for m in muon)]
        groups = [{"params": list(muon), "use_muon": True}, {"params": adam, "use_muon": False}]
        given = {"muon": list(muon), "adamw": adam} if name == "torch-muon" else groups
        return [f for f in paramlint.check(model, given, profile=name).findings if f.severity != "note"]

    (found,) = findings(model.spectral, model.mix.weight)
    assert (found.code, found.severity, found.parameters) == ("PML208", severity, ("spectral",))
    assert ("RuntimeError: Muon does not" in found.details[0]) == (severity == "error")
    assert findings(model.mix.weight) == []  # the hidden matrix that is left to Adam is at home there


@pytest.mark.parametrize("mark", ["ds_id", "ds_shape", ""])
def test_what_zero_3_empties_has_its_marks(mark):
    model = Spectral()
    if not mark:
        assert "shift" in paramlint.plan(model, "torch-muon", trace=False).trainable
        return
    setattr(model.shift, mark, 1)
    with pytest.raises(ParamlintError, match="shift is emptied by ZeRO-3"):
        paramlint.plan(model, "torch-muon", trace=False)


def test_lr_makes_up_for_weights_that_are_stored_in_out():
    plan = paramlint.plan(Turned(), "keller")
    turns = {g.parameters: g.turn for g in plan.groups if g.kind.turned}
    assert turns == {("square.weight",): 1.0, ("up.weight",): 2.0, ("down.weight",): 0.5}
    assert {g.label for g in plan.groups if g.kind.turned} == {"muon_turned", "muon_turned_2", "muon_turned_3"}
    assert {g.parameters: values(plan, g)["lr"] for g in plan.groups if g.turn == 2} == {("up.weight",): 0.04}
    assert not any(k.turned for k in paramlint.plan(Turned(), "moonlight").kinds)  # its scale knows no sides


def test_such_groups_have_no_findings_and_groups_with_one_lr_have():
    model = Turned()
    named = dict(model.named_parameters())

    def made(turn: bool):
        plan = paramlint.plan(model, "keller")
        return [
            {"params": [named[n] for n in g.parameters], **values(plan, g), **({} if turn else {"lr": 0.02})}
            for g in plan.groups
        ]

    assert paramlint.check(model, made(True), profile="keller").findings == ()
    assert {f.code for f in paramlint.check(model, made(False), profile="keller").findings} == {"PML215"}


def test_a_policy_may_give_roles_an_lr_of_their_own():
    model = Turned(192)
    plan = paramlint.plan(model, "keller", policy="nanochat")
    defaults = {s.name: s.default for s in plan.settings}
    width = 192
    assert defaults["embedding_lr"] == float(f"{0.2 * (width / 768) ** -0.5:.3g}")
    assert defaults["output_head_lr"] == float(f"{0.004 * (width / 768) ** -0.5:.3g}")
    head = plan.kind("output_head")
    assert head is not None and head.options["weight_decay"] == 0.0
    dion = paramlint.plan(model, "dion-muon", policy="dion").kind("output_head")
    assert dion is not None and dion.options["lr"] == Ref("lr")


def test_frozen_parameters_have_a_kind_and_no_group():
    model = lora.build()
    plan = paramlint.plan(model, "torch-muon")
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen and not {p for g in plan.groups for p in g.parameters} & set(frozen)
    assert {plan.labels[n] for n in frozen if n.endswith("weight")} >= {"muon"}
    assert "nothing in this model goes to Muon" in " ".join(plan.notes)


@pytest.mark.parametrize(
    ("model", "name", "options", "said"),
    [
        (gpt.build, "optax", {}, "optax trains JAX models"),
        (gpt.build, "moon", {}, "no optimizer 'moon'; did you mean"),
        (gpt.build, "moonlight", {"layer_decay": 0.5}, "moonlight has one lr for all of its parameters"),
        (lambda: nn.Sequential(nn.LazyLinear(4)), "muon", {}, "0.weight has no shape before the first forward"),
    ],
)
def test_what_cannot_be_planned_is_one_line(model, name, options, said):
    with pytest.raises(ParamlintError) as caught:
        paramlint.plan(model(), name, **options)
    assert said in str(caught.value) and "\n" not in str(caught.value)
