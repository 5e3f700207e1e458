"""Functions that build optimizers: how they are called, and what is known when a constructor refuses."""

from __future__ import annotations

import sys

import pytest
import torch
from proposals import MATRICES, PROFILES, look, matrices, names, only, rest, small_model
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from paramlint.errors import ParamlintError
from paramlint.model.groups import call


@pytest.fixture
def model():
    return small_model()


# --- refusals


def test_a_refusing_constructor_is_a_finding_not_a_crash(model):
    model.conv = nn.Conv2d(2, 2, 3, device="meta")

    def build(model):
        big = [p for p in model.parameters() if p.ndim >= 2]
        optimizer = torch.optim.Muon(big, lr=0.02)
        return [optimizer, AdamW([p for p in model.parameters() if p.ndim < 2])]

    proposal = look(build, model)
    muon, adamw = proposal.optimizers
    assert muon.refusal.startswith("ValueError: Muon only supports 2D parameters") and adamw.refusal is None
    assert "conv.weight" in {m.name for m in muon.groups[0].members}
    assert {m.name for m in adamw.groups[0].members} >= {"norm.weight", "conv.bias"}
    assert muon.options["lr"] == 0.02


def test_the_same_tensor_in_two_groups(model):
    def build(model):
        return AdamW([{"params": matrices(model)}, {"params": list(model.parameters()), "lr": 0.1}])

    use = only(look(build, model))
    assert "more than one parameter group" in use.refusal
    assert [len(g.members) for g in use.groups] == [2, 7] and use.groups[1].options == {"lr": 0.1}


def test_a_refusal_before_torch_sees_anything(model):
    class Strict(SGD):
        def __init__(self, groups):
            for group in groups:
                assert set(group) == {"params", "use_muon"}
            super().__init__(groups, lr=1)

    def build(model):
        return Strict([{"params": matrices(model), "use_muon": True, "name": "mats"}])

    use = only(look(build, model))
    assert use.refusal.startswith("AssertionError") and use.groups[0].options == {"use_muon": True, "name": "mats"}


def test_unknown_keyword_late_group_and_a_set_in_a_group(model):
    use = only(look(lambda model: torch.optim.Muon(matrices(model), foreach=True), model))
    assert "foreach" in use.refusal and len(use.groups[0].members) == 2
    use = only(look(lambda model: AdamW([{"params": set(matrices(model))}]), model))
    assert use.refusal.startswith("TypeError") and use.groups[0].container == "set"

    def late(model):
        optimizer = AdamW(rest(model))
        optimizer.add_param_group({"params": list(model.parameters())})
        return optimizer

    use = only(look(late, model))
    assert "more than one" in use.refusal and len(use.groups) == 2


def test_a_function_that_changes_the_model_is_not_run_twice(model):
    def build(model):
        model.extra = nn.Conv2d(1, 1, 1)
        return [torch.optim.Muon(list(model.extra.parameters())), AdamW(rest(model))]

    proposal = look(build, model)
    assert names(proposal) == {"Muon": [(None, None)]}
    assert "not known" in proposal.notes[-1]


def test_what_the_user_handles_is_no_refusal(model):
    def build(model):
        try:
            return torch.optim.Muon(model.parameters())
        except ValueError:
            return AdamW(model.parameters())

    use = only(look(build, model))
    assert (use.label, use.refusal) == ("AdamW", None)


# --- functions


def test_signatures(model):
    def keyword(*, model):
        return model.parameters()

    def optional(lr=0.1):
        return [{"params": matrices(model), "lr": lr}]

    assert len(only(look(keyword, model)).groups[0].members) == 7
    assert names(look(optional, model)) == {"groups": [MATRICES]}
    assert names(look(lambda: matrices(model), model)) == {"groups": [MATRICES]}
    assert len(only(look(lambda *a: a[0].parameters(), model)).groups[0].members) == 7
    assert only(look(AdamW, model)).label == "AdamW"
    assert only(look(lambda named_parameters: [{"params": list(named_parameters)}], model)).groups[0].members
    result = call(lambda net, lr: [{"params": net.parameters(), "lr": lr}], model, PROFILES, {"lr": 3})
    assert only(look(result, model)).groups[0].options == {"lr": 3}


def test_functions_that_cannot_be_called(model):
    class Other(nn.Module):
        def configure_optimizers(self):
            raise AssertionError

    with pytest.raises(ParamlintError, match="lr, betas"):
        look(lambda model, lr, betas: None, model)
    sys.modules[__name__].Other = Other
    Other.configure_optimizers.__qualname__ = "Other.configure_optimizers"
    with pytest.raises(ParamlintError, match="method of Other, and the model is a Net"):
        look(Other.configure_optimizers, model)
    with pytest.raises(ParamlintError, match="KeyError: 'lr'") as caught:
        look(lambda model: {}["lr"], model)
    assert "in <lambda>" in caught.value.traceback and "paramlint/model" not in caught.value.traceback
    assert "test_groups_call.py:" in caught.value.where
    with pytest.raises(ParamlintError, match=r"sys\.exit\(3\)"):
        look(lambda model: sys.exit(3), model)


def test_nothing_else_changes(model):
    def build(model):
        model.norm.requires_grad_(False)
        torch.rand(3)
        return AdamW(model.parameters())

    model.eval()
    state, init, meta_path = torch.get_rng_state(), AdamW.__init__, list(sys.meta_path)
    use = only(look(build, model))
    frozen = {m.name for m in use.groups[0].members if not m.trainable}
    assert frozen == {"norm.weight", "norm.bias"}
    assert torch.equal(torch.get_rng_state(), state) and not model.training
    assert AdamW.__init__ is init and sys.meta_path == meta_path
    assert "__init_subclass__" not in vars(Optimizer)
