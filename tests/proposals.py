"""A small model, a few profiles, and how tests look at a proposal."""

from __future__ import annotations

import torch
from torch import nn

from paramlint import serial
from paramlint.group import Proposal
from paramlint.model.facts import inventory
from paramlint.model.groups import read
from paramlint.profile import Profile


def make_profile(name, shape, *classes, family="muon", **more):
    return Profile(name, name, shape, classes, classes, "read", ("-",), family=family, install="-", **more)


PROFILES = {
    p.name: p
    for p in (
        make_profile("torch-muon", "two-optimizers", "torch.optim.Muon", distribution="torch"),
        make_profile("adamw", "elementwise", "torch.optim.AdamW", family="elementwise", distribution="torch"),
        make_profile("sgd", "elementwise", "torch.optim.SGD", family="elementwise", distribution="torch"),
        make_profile("keller", "flagged-groups", "muon.SingleDeviceMuonWithAuxAdam", flag_key="use_muon"),
        make_profile("keller-dist", "flagged-groups", "muon.MuonWithAuxAdam", flag_key="use_muon"),
        make_profile("keller-muon", "two-optimizers", "muon.SingleDeviceMuon"),
        make_profile("muon-2024", "two-optimizers", "muon.Muon"),
        make_profile("moonlight", "two-lists"),
        make_profile("dion-muon", "flagged-groups", "dion.Muon", flag_key="algorithm", defaults={"lr": 0.01}),
        make_profile("normuon-dion", "flagged-groups", "dion.NorMuon", flag_key="algorithm"),
        make_profile("timm", "shape-routed", "timm.optim.Muon", distribution="timm", flag_key="use_fallback"),
        make_profile("scion", "norm-per-group", "scion.Scion", flag_key="norm"),
    )
}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.body = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.embed.weight


MATRICES = ("body.0.weight", "body.1.weight")
REST = ("embed.weight", "body.0.bias", "body.1.bias", "norm.weight", "norm.bias")


def small_model():
    with torch.device("meta"):
        return Net()


def matrices(model):
    return [p for n, p in model.named_parameters() if n in MATRICES]


def rest(model):
    return [p for n, p in model.named_parameters() if n in REST]


def look(obj, model) -> Proposal:
    proposal = read(obj, model, inventory(model), PROFILES)
    assert serial.decode(Proposal, serial.encode(proposal)) == proposal
    return proposal


def names(proposal):
    """optimizer label -> names of each group"""
    return {u.label: [tuple(m.name for m in g.members) for g in u.groups] for u in proposal.optimizers}


def only(proposal):
    (use,) = proposal.optimizers
    return use
