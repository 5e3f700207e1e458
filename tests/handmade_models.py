"""Models and groups written down as plain data, for tests of the checks: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paramlint import knowledge
from paramlint.finding import Finding
from paramlint.group import Group, Member, OptimizerUse, Proposal
from paramlint.parameter import Evidence, Inventory, Location, Module, Parameter, Site

KNOWN = knowledge.load()


def parameter(name: str, shape: tuple[int, ...], role: str, **more: Any) -> Parameter:
    facts: dict[str, Any] = {"dtype": "float32", "trainable": True, "confidence": "certain"}
    module, _, attribute = name.rpartition(".")
    facts["sites"] = (Site(name, module, attribute),)
    facts["evidence"] = (Evidence("structure", role, f"looks like a {role}"),)
    return Parameter(name, shape, role=role, **{**facts, **more})


def model(*parameters: Parameter, modules: tuple[Module, ...] = ()) -> Inventory:
    return Inventory("toy.Model", parameters, modules, location=Location("model.py", 3))


def member(p: Parameter) -> Member:
    return Member(p.name, p.shape, p.trainable)


def two(muon: list[Parameter], adam: list[Parameter], profile: str = "torch-muon", **options: Any) -> Proposal:
    """A Muon of that profile, and an AdamW where there is something left for it."""
    first = OptimizerUse("Muon", (Group(0, tuple(map(member, muon)), options),), "Muon", profile)
    second = OptimizerUse("AdamW", (Group(0, tuple(map(member, adam))),), "torch.optim.AdamW", "adamw")
    return Proposal((first, second) if adam else (first,), location=Location("train.py", 10))


def flagged(muon: list[Parameter], adam: list[Parameter], profile: str, **options: Any) -> Proposal:
    """One optimizer with groups that carry `use_muon`; the options are the Muon group's."""
    first = Group(0, tuple(map(member, muon)), {"use_muon": True, **options})
    second = Group(1, tuple(map(member, adam)), {"use_muon": False})
    return Proposal((OptimizerUse("Opt", (first, second) if adam else (first,), "Opt", profile),))


def by_code(findings: tuple[Finding, ...]) -> Mapping[str, Finding]:
    assert len({f.code for f in findings}) == len(findings), [f.message for f in findings]
    return {f.code: f for f in findings}


EMBED = parameter("tokens.weight", (1000, 64), "embedding")
HEAD = parameter("head.weight", (1000, 64), "output-head")
UP = parameter("up.weight", (256, 64), "hidden-matrix")
DOWN = parameter("down.weight", (64, 256), "hidden-matrix")
GAIN = parameter("norm.weight", (64,), "norm-gain")
LM = model(EMBED, UP, DOWN, GAIN, HEAD)
