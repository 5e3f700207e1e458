"""Wrong groups of many kinds: each must be found, under the right code."""

from __future__ import annotations

import copy

import pytest
import torch
from right_models import GPT, MLP, ResNet
from torch import nn
from torch.optim import AdamW, Muon

import paramlint


def hidden(model):
    return [p for n, p in model.named_parameters() if n.startswith("blocks.") and p.ndim == 2]


def without(model, params):
    ids = {id(p) for p in params}
    return [p for p in model.parameters() if id(p) not in ids]


def flagged(model, muon):
    return [{"params": muon, "use_muon": True}, {"params": without(model, muon), "use_muon": False}]


def found(model, optimizer, **options):
    """code -> parameters, of everything at warning or above."""
    codes: dict[str, list[str]] = {}
    for f in paramlint.check(model, optimizer, **options).findings:
        if f.severity != "note":
            codes.setdefault(f.code, []).extend(f.parameters)
    return codes


@pytest.fixture
def gpt():
    return GPT()


# --- one tensor, two places


def test_a_tied_head_in_a_second_optimizer():
    model = GPT(tie=True)
    both = [AdamW(without(model, hidden(model))), Muon([*hidden(model), model.head.weight])]
    assert found(model, both) == {"PML102": ["embed.weight"], "PML203": ["embed.weight"]}


def test_the_same_tensors_in_two_optimizers(gpt):
    names = [n for n, p in gpt.named_parameters() if any(p is h for h in hidden(gpt))]
    assert found(gpt, [Muon(hidden(gpt)), AdamW(gpt.parameters())]) == {"PML102": names}


# --- flags that say nothing to this optimizer


def test_an_embedding_in_a_group_of_dion_without_algorithm(gpt):
    def build(model):
        from dion import Muon

        small = [p for p in model.parameters() if p.ndim < 2]
        return Muon(
            [
                {"params": [*hidden(model), model.positions.weight]},
                {"params": [model.embed.weight, model.head.weight], "use_muon": False},
                {"params": small, "algorithm": "lion"},
            ]
        )

    expected = {"PML201": ["embed.weight"], "PML202": ["head.weight"], "PML205": ["positions.weight"]}
    assert found(gpt, build) == expected


def test_a_flag_of_another_optimizer_in_torch_muon(gpt):
    groups = [{"params": hidden(gpt)}, {"params": [gpt.embed.weight], "use_muon": False}]
    rest = AdamW(without(gpt, [*hidden(gpt), gpt.embed.weight]))
    assert found(gpt, [Muon(groups), rest]) == {"PML201": ["embed.weight"]}


def test_a_group_that_its_optimizer_refuses(gpt):
    def unknown(model):
        from dion import Muon

        return Muon([{"params": hidden(model)}, {"params": without(model, hidden(model)), "algorithm": "adam"}])

    def missing(model):
        from pytorch_optimizer import Muon

        return Muon(model.parameters())

    assert set(found(gpt, unknown)) == {"PML101"} == set(found(gpt, missing))
    assert len(found(gpt, missing)["PML101"]) == len(list(gpt.parameters()))
    (finding,) = paramlint.check(gpt, unknown).findings
    assert "algorithm='adam'" in finding.message and "algorithm='lion'" in finding.help


# --- shapes that this optimizer takes in its own way


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(40, 16), nn.Linear(16, 40)
        self.blocks = nn.ModuleList(nn.Module() for _ in range(2))
        for block in self.blocks:
            block.experts = nn.Module()
            block.experts.w1 = nn.Parameter(torch.zeros(4, 16, 24))
            block.experts.w2 = nn.Parameter(torch.zeros(4, 24, 16))


def test_an_expert_stack():
    model = Experts()
    stacks = [p for p in model.parameters() if p.ndim == 3]
    names = [f"blocks.{i}.experts.w{j}" for i in (0, 1) for j in (1, 2)]
    groups = flagged(model, stacks)
    assert found(model, groups, profile="pytorch-optimizer") == {"PML209": names}
    assert found(model, groups, profile="keller") == found(model, groups, profile="keller-pypi") == {}
    refused = [Muon, stacks], [AdamW, without(model, stacks)]
    assert found(model, lambda model: [cls(p) for cls, p in refused]) == {"PML208": names}


def test_filters_in_the_release_that_fails_on_them():
    model = ResNet()
    filters = [p for n, p in model.named_parameters() if p.ndim == 4 and n != "stem.weight"]
    names = [n for n, p in model.named_parameters() if any(p is f for f in filters)]
    assert found(model, flagged(model, filters), profile="keller-pypi") == {"PML208": names}
    assert found(model, flagged(model, filters), profile="keller") == {}
    late = Muon([nn.Parameter(torch.zeros(2, 2))])
    late.param_groups[0]["params"] = []
    late.add_param_group({"params": filters})
    assert found(model, [late, AdamW(without(model, filters))])["PML208"] == names


def test_one_dimensional_convolutions_in_batches():
    model = nn.Sequential(nn.Conv1d(2, 16, 3), nn.Conv1d(16, 16, 3), nn.Conv1d(16, 16, 3), nn.Linear(16, 5))
    inner = [model[1].weight, model[2].weight]
    assert found(model, flagged(model, inner)) == {"PML210": ["1.weight", "2.weight"]}
    assert found(model, flagged(model, inner), profile="pytorch-optimizer") == {}


def test_a_head_of_one_output():
    model = MLP(4, 1)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and n != "0.weight"]
    assert found(model, [Muon(matrices), AdamW(without(model, matrices))]) == {"PML204": ["5.weight"]}


def test_vectors_that_are_orthogonalised_without_a_word(gpt):
    body = [p for n, p in gpt.named_parameters() if n.startswith("blocks.")]

    def build(model):
        from pytorch_optimizer import Muon

        return Muon(flagged(model, body))

    vectors = {n for n, p in gpt.named_parameters() if n.startswith("blocks.") and p.ndim == 1}
    codes = found(gpt, build)
    assert set(codes) == {"PML204"} and set(codes["PML204"]) == vectors


# --- tensors of another time


class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(4, 16), nn.LazyLinear(16), nn.Linear(16, 3)


def test_a_layer_without_a_shape():
    model = Late()
    lazy = ["middle.weight", "middle.bias"]

    def by_ndim(model):
        return [AdamW([p for p in model.parameters() if p.ndim == n]) for n in (1, 2)]

    def asked(model):
        return [Muon([model.middle.weight]), AdamW(without(model, [model.middle.weight]))]

    assert found(model, by_ndim) == found(model, asked) == {"PML107": lazy}
    run = paramlint.check(model, asked)
    assert any("torch.Size([0])" in d for f in run.findings for d in f.details) and run.notes == ()
    assert found(model, AdamW(model.parameters())) == {}


def test_sets(gpt):
    rest = without(gpt, hidden(gpt))
    assert found(gpt, lambda model: [Muon(set(hidden(model))), AdamW(rest)]) == {"PML106": []}
    assert found(gpt, lambda model: [Muon([{"params": set(hidden(model))}]), AdamW(rest)]) == {"PML106": []}


def norms_replaced(model):
    optimizers = [Muon(hidden(model)), AdamW(without(model, hidden(model)))]

    def replace(module):
        for name, child in module.named_children():
            if isinstance(child, nn.LayerNorm):
                setattr(module, name, nn.RMSNorm(child.normalized_shape))

    model.apply(replace)
    return optimizers


def reparametrised(model):
    optimizers = [Muon(hidden(model)), AdamW(without(model, hidden(model)))]
    for block in model.blocks:
        nn.utils.parametrizations.weight_norm(block.up)
    return optimizers


def untied(model):
    optimizer = AdamW(model.parameters())
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    return optimizer


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (norms_replaced, {f"blocks.{i}.norm{j}.weight" for i in (0, 1) for j in (1, 2)} | {"norm.weight"}),
        (reparametrised, {f"blocks.{i}.up.parametrizations.weight.original{j}" for i in (0, 1) for j in (0, 1)}),
        (untied, {"head.weight"}),
    ],
)
def test_parameters_replaced_after_the_optimizer(change, lost):
    model = GPT(tie=True)
    optimizer = change(model)
    codes = found(model, optimizer)
    assert set(codes["PML101"]) == lost
    assert ("PML103" in codes) == (change is not untied)


def test_copies(gpt):
    average = copy.deepcopy(gpt)
    wrong = found(average, AdamW(gpt.parameters()))
    assert set(wrong) == {"PML101", "PML103"} and len(wrong["PML101"]) == len(list(gpt.parameters()))
    assert set(found(gpt, lambda model: AdamW(model.state_dict().values()))) == {"PML101", "PML103"}
    halved = [*list(gpt.parameters())[:-1], gpt.head.weight.half()]
    assert found(gpt, lambda model: AdamW(halved)) == {"PML101": ["head.weight"], "PML103": []}


def test_a_generator_that_is_walked_twice(gpt):
    def build(model):
        parameters = model.named_parameters()
        muon = [p for n, p in parameters if n.startswith("blocks.") and p.ndim == 2]
        return {"muon_params": muon, "adamw_params": [p for n, p in parameters if p.ndim < 2]}

    assert set(found(gpt, build)) == {"PML101", "PML105"}


# --- frozen, in optimizers that touch them all the same


@pytest.mark.parametrize(
    ("profile", "severity", "said"),
    [
        ("keller", "error", "decays it"),
        ("keller-pypi", "error", "fails"),
        ("pytorch-optimizer", "warning", "frozen"),
    ],
)
def test_frozen_parameters(gpt, profile, severity, said):
    groups = [{**g, "weight_decay": 0.1} for g in flagged(gpt, hidden(gpt))]
    gpt.blocks[0].requires_grad_(False)
    findings = paramlint.check(gpt, groups, profile=profile).findings
    assert {(f.code, f.severity) for f in findings} == {("PML104", severity)}
    assert all(said in f.message for f in findings)
