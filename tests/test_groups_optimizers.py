"""Optimizers, alone, in containers and wrappers; those that refuse; functions that build them."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from proposals import MATRICES, REST, Net, look, matrices, names, only, rest, small_model
from torch.optim import SGD, AdamW, Optimizer

from paramlint.errors import ParamlintError


@pytest.fixture
def model():
    return small_model()


# --- optimizers


def test_torch_muon_and_adamw(model):
    optimizers = [torch.optim.Muon(matrices(model), lr=0.02), AdamW(rest(model), lr=3e-4)]
    proposal = look(optimizers, model)
    assert names(proposal) == {"Muon": [MATRICES], "AdamW": [REST]}
    muon, adamw = proposal.optimizers
    assert (muon.profile, muon.assumed, muon.version) == ("torch-muon", False, str(torch.__version__))
    assert (adamw.profile, adamw.options["lr"], proposal.source) == ("adamw", 3e-4, "live")
    assert (muon.class_name, muon.refusal, muon.recorded) == ("torch.optim.Muon", None, False)
    assert look({"matrices": optimizers[0], "others": optimizers[1]}, model).optimizers[1].label == "others"
    assert list(names(look(optimizers[1:] * 2 + [AdamW(matrices(model))], model))) == ["AdamW", "AdamW #2"]


def test_without_a_record_a_live_group_has_all_its_options(model):
    live = only(look(AdamW([{"params": set(matrices(model)) and matrices(model), "lr": 0.1}]), model))
    assert live.groups[0].options["betas"] == (0.9, 0.999) and live.container == "list"


def test_with_a_record_it_has_what_was_given(model):
    def build(model):
        optimizer = AdamW((dict(g) for g in [{"params": iter(matrices(model)), "lr": 0.1}]), weight_decay=0.3)
        optimizer.add_param_group({"params": tuple(rest(model)), "lr": 0.2})
        return optimizer

    use = only(look(build, model))
    assert [(g.options, g.container) for g in use.groups] == [({"lr": 0.1}, "list_iterator"), ({"lr": 0.2}, "tuple")]
    assert (use.container, use.options["weight_decay"]) == ("generator", 0.3)
    assert only(look(lambda model: SGD(set(model.parameters()), lr=1.0), model)).container == "set"


def test_torch_classes_without_a_profile_and_subclasses(model):
    class Mine(AdamW):
        pass

    assert only(look(torch.optim.RMSprop(model.parameters()), model)).profile is None
    assert only(look(Mine(model.parameters()), model)).profile == "adamw"


def test_duck_typed_and_wrapped_optimizers(model):
    class Duck:
        def __init__(self, params):
            self.param_groups = [{"params": list(params), "lr": 1}]

    class Wrapper:
        def __init__(self, **kw):
            vars(self).update(kw)

    class Combined(Optimizer):
        def __init__(self, *optimizers):
            self.parts = list(optimizers)

        @property
        def param_groups(self):
            return [g for o in self.parts for g in o.param_groups]

    muon, adamw = torch.optim.Muon(matrices(model)), AdamW(rest(model))
    both = {"Muon": [MATRICES], "AdamW": [REST]}
    assert names(look(Duck(matrices(model)), model)) == {"Duck": [MATRICES]}
    assert names(look(Wrapper(optimizers=[muon, adamw]), model)) == both
    assert names(look(Wrapper(first=muon, second=adamw, lr=3), model)) == both
    assert names(look(Wrapper(optimizer=muon), model)) == {"Muon": [MATRICES]}
    assert names(look(Combined(muon, adamw), model)) == both
    hidden = Duck(matrices(model))
    hidden.inner = adamw
    assert names(look(hidden, model)) == {"Duck": [MATRICES], "AdamW": [REST]}
    schedule = torch.optim.lr_scheduler.StepLR(adamw, 1)
    assert names(look((muon, schedule, adamw), model)) == both


Pair = namedtuple("Pair", "optimizer scheduler")


@pytest.mark.parametrize(
    "shape",
    [
        lambda muon, adamw: ([muon, adamw], []),
        lambda muon, adamw: ([muon, adamw], [{"scheduler": object(), "interval": "step"}]),
        lambda muon, adamw: [muon, adamw],
        lambda muon, adamw: ({"optimizer": muon, "frequency": 1}, {"optimizer": adamw}),
        lambda muon, adamw: {"optimizer": [muon, adamw], "lr_scheduler": {"scheduler": object()}},
        lambda muon, adamw: (Pair(muon, None), Pair(adamw, torch.optim.lr_scheduler.StepLR(adamw, 1))),
        lambda muon, adamw: (o for o in (muon, adamw)),
        lambda muon, adamw: {"a": muon, "b": adamw}.values(),
    ],
)
def test_what_configure_optimizers_may_return(model, shape):
    class Lit(Net):
        def configure_optimizers(self):
            return shape(torch.optim.Muon(matrices(self)), AdamW(rest(self)))

    with torch.device("meta"):
        lit = Lit()
    expected = {"Muon": [MATRICES], "AdamW": [REST]}
    assert names(look(lit.configure_optimizers, lit)) == expected
    assert names(look(Lit.configure_optimizers, lit)) == expected


def test_no_optimizer(model):
    def configure_optimizers(model):
        return None

    proposal = look(configure_optimizers, model)
    assert proposal.optimizers == () and "None" in proposal.notes[0]
    assert only(look([], model)).groups == ()
    with pytest.raises(ParamlintError, match="<lambda> returned None"):
        look(lambda model: None, model)


def test_optimizers_with_groups_beside_them(model):
    proposal = look((AdamW(rest(model)), matrices(model)), model)
    assert names(proposal) == {"AdamW": [REST]} and "not read" in proposal.notes[0]


class TwoListMuon(Optimizer):
    """Keeps who is who in its state, as Moonlight's does."""

    def __init__(self, lr=1e-3, wd=0.1, muon_params=None, momentum=0.95, adamw_params=None):
        first, second = list(muon_params), list(adamw_params or ())
        for p in first:
            assert p.ndim == 2, p.ndim
        super().__init__([*first, *second], {"lr": lr, "wd": wd, "momentum": momentum})
        for p, flag in [*((p, True) for p in first), *((p, False) for p in second)]:
            self.state[p]["use_muon"] = flag

    def step(self, closure=None):
        return None


def test_a_live_two_list_optimizer(model):
    def build(model):
        return TwoListMuon(wd=0.3, muon_params=matrices(model), adamw_params=(p for p in rest(model)))

    for obj, container in ((build(model), "list"), (build, "generator")):
        proposal = look(obj, model)
        use = only(proposal)
        assert [g.half for g in use.groups] == ["muon", "adam"]
        assert names(proposal) == {"TwoListMuon": [MATRICES, REST]}
        assert use.groups[1].container == container
        assert (use.profile, use.assumed, use.options["wd"]) == ("moonlight", True, 0.3)


def test_a_muon_of_ones_own(model):
    class Muon(SGD):
        def __init__(self, params, lr=0.02, momentum=0.95):
            super().__init__(params, lr=lr, momentum=momentum)

    class SingleDeviceMuonWithAuxAdam(SGD):
        pass

    class RankedMuon(SGD):
        def __init__(self, params, lr=0.02, rank=0, world_size=1):
            params = list(params)
            sizes = sorted({p.numel() for p in params})
            buffers = [torch.empty(world_size, n, device="cuda") for n in sizes]
            groups = [
                {"params": [p for p in params if p.numel() == n], "buffer": b}
                for n, b in zip(sizes, buffers, strict=True)
            ]
            super().__init__(groups, lr=lr)

    plain, flagged = only(look(Muon(matrices(model)), model)), look(Muon([{"params": [], "use_muon": 1}]), model)
    assert (plain.profile, plain.assumed) == ("keller-muon", True)
    assert only(flagged).profile == "keller" and "use_muon" in flagged.notes[0]
    named = look(SingleDeviceMuonWithAuxAdam(matrices(model), lr=1), model)
    assert only(named).profile == "keller" and only(named).assumed
    if not torch.cuda.is_available():
        ranked = look(lambda model: RankedMuon(matrices(model), lr=0.1), model)
        assert only(ranked).profile == "muon-2024" and only(ranked).refusal is None
        assert names(ranked) == {"RankedMuon": [MATRICES]}
        assert any("cannot be built on this machine" in n for n in ranked.notes)
