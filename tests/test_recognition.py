"""Which implementation a class is: releases of one package, copies, and classes that have no profile of their own."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from right_models import GPT
from torch.optim import SGD, Optimizer

import paramlint
from paramlint.model import groups_profile

SITE = "/somewhere/site-packages/"


def package(monkeypatch, name, *classes, path=SITE, version="0.1.0", git=False):
    """A package as if it were installed, of optimizers that take any groups and sort their tensors."""

    def __init__(self, params, lr=0.1):
        groups = params if isinstance(params[0], dict) else [{"params": params}]
        Optimizer.__init__(
            self, [{**g, "params": sorted(g["params"], key=torch.Tensor.numel)} for g in groups], {"lr": lr}
        )

    module = ModuleType(name)
    module.__file__ = f"{path}{name}.py"
    for cls in classes:
        setattr(module, cls, type(cls, (Optimizer,), {"__module__": name, "__init__": __init__}))
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(groups_profile, "installed", lambda distribution: version)
    monkeypatch.setattr(groups_profile, "_from_git", lambda distribution: git)
    return module


def use(model, optimizer):
    (found,) = paramlint.check(model, optimizer).proposal.optimizers
    return found


def flagged(model):
    hidden = [p for p in model.blocks.parameters() if p.ndim == 2]
    ids = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in ids]
    return [{"params": hidden, "use_muon": True}, {"params": rest, "use_muon": False}]


RELEASES = {
    "SingleDeviceMuonWithAuxAdam": ("keller-pypi", "keller"),
    "MuonWithAuxAdam": ("keller-pypi-dist", "keller-dist"),
    "SingleDeviceMuon": ("keller-pypi-muon", "keller-muon"),
    "Muon": ("keller-pypi-muon-dist", "keller-muon-dist"),
}


@pytest.mark.parametrize("name", RELEASES)
def test_the_release_and_the_repository_have_one_version_number(monkeypatch, name):
    model = GPT()
    released, repository = RELEASES[name]
    given = flagged(model) if "Aux" in name else flagged(model)[0]["params"]
    for git, expected in ((False, released), (True, repository)):
        module = package(monkeypatch, "muon", name, git=git)
        found = use(model, getattr(module, name)(given))
        assert (found.profile, found.assumed, found.version) == (expected, False, "0.1.0")


def test_what_is_tied_to_no_version_stands_for_one_that_is_not_known(monkeypatch):
    model = GPT()
    copied = package(monkeypatch, "muon", "SingleDeviceMuonWithAuxAdam", path="/home/me/project/")
    found = use(model, copied.SingleDeviceMuonWithAuxAdam(flagged(model)))
    assert (found.profile, found.version) == ("keller", None)

    def build(model):
        from muon import SingleDeviceMuonWithAuxAdam

        return SingleDeviceMuonWithAuxAdam(flagged(model))

    monkeypatch.delitem(sys.modules, "muon")
    recorded = use(model, build)
    assert (recorded.profile, recorded.version, recorded.recorded) == ("keller", None, True)


@pytest.mark.parametrize(
    ("package_name", "name", "groups", "profile"),
    [
        ("pytorch_optimizer", "AdaMuon", flagged, "pytorch-optimizer"),
        ("pytorch_optimizer", "AdaGO", flagged, "pytorch-optimizer"),
        ("heavyball", "ForeachMuon", lambda model: list(model.parameters()), "heavyball-muon"),
        ("heavyball", "ForeachSOAP", lambda model: list(model.parameters()), None),
    ],
)
def test_a_class_of_a_known_package(monkeypatch, package_name, name, groups, profile):
    model = GPT()

    def build(model):
        return getattr(__import__(package_name), name)(groups(model))

    module = package(monkeypatch, package_name, name)
    real = use(model, getattr(module, name)(groups(model)))
    monkeypatch.delitem(sys.modules, package_name)
    recorded = use(model, build)
    assert real.profile == recorded.profile == profile
    assert real.assumed is recorded.assumed is (profile is not None)


def test_a_subclass_of_a_plain_optimizer_whose_groups_carry_a_flag():
    class MuSGD(SGD):
        pass

    model = GPT()
    assert use(model, MuSGD(flagged(model), lr=0.1)).profile == "keller"
    assert use(model, MuSGD(model.parameters(), lr=0.1)).profile == "sgd"
    assert use(model, SGD(flagged(model), lr=0.1)).profile == "sgd"


def test_members_are_in_the_order_of_the_optimizer(monkeypatch):
    model = GPT()
    module = package(monkeypatch, "muon", "MuonWithAuxAdam")
    built = []

    def build(model):
        built.append(module.MuonWithAuxAdam(flagged(model)))
        return built[-1]

    names = {id(p): n for n, p in model.named_parameters()}
    for found in (use(model, build), use(model, built[0])):
        members = [[m.name for m in g.members] for g in found.groups]
        assert members == [[names[id(p)] for p in g["params"]] for g in built[0].param_groups]


def test_what_an_optimizer_keeps_in_its_groups_only_is_still_known(monkeypatch):
    model = GPT()

    class Mine(Optimizer):
        def __init__(self, params, lr=0.1, use_adjusted_lr=False):
            super().__init__(params, {"foreach": None})

    found = use(model, lambda model: Mine(model.parameters(), use_adjusted_lr=True))
    assert (found.options["use_adjusted_lr"], found.options["foreach"]) == (True, None)


def test_a_stand_in_refuses_what_its_optimizer_would():
    model = GPT()

    def build(groups):
        def optimizer(model):
            from muon import SingleDeviceMuonWithAuxAdam

            return SingleDeviceMuonWithAuxAdam(groups)

        return use(model, optimizer).refusal

    right = flagged(model)
    assert build(right) is None
    assert build([right[0] | {"name": "hidden"}, right[1]]).startswith("group 0 has the key 'name'")
    assert build([right[0], right[1] | {"momentum": 0.9}]).startswith("group 1 has the key 'momentum'")
    assert build([{"params": right[0]["params"]}, right[1]]) == "group 0 has no use_muon"


def test_a_default_that_has_the_name_of_a_model_is_left_alone():
    seen = []

    def build(model, m=0.95, net=None):
        seen.append((m, net))
        return SGD(model.parameters(), lr=0.1, momentum=m)

    model = GPT()
    assert use(model, build).options["momentum"] == 0.95
    assert seen == [(0.95, model)]


def test_a_missing_class_in_capitals():
    def build(model):
        from heavyball import SOAP

        return SOAP(model.parameters(), lr=1e-3)

    model = GPT()
    assert use(model, build).class_name == "heavyball.SOAP"
