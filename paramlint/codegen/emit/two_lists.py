"""An optimizer that takes two lists of parameters, and one lr and one weight decay for both."""

from __future__ import annotations

from paramlint.codegen.emit import grouping, package, signature
from paramlint.codegen.text import Section, comment, enclosed, literal
from paramlint.errors import ParamlintError
from paramlint.parameter import Destination
from paramlint.planned import Plan
from paramlint.profile import Profile


def section(plan: Plan, profile: Profile) -> Section:
    """`param_groups(model)`, a dict of two lists of parameters, and `build_optimizer(model, ...)`.

    Raises:
        ParamlintError: the plan has layers, or lr that differs between kinds.
    """
    if plan.layers is not None:
        raise ParamlintError(
            f"{profile.name} has one lr for all parameters, so none can differ by layer",
            hint="torch-muon is one that takes an lr for each layer",
        )
    muon, adam = profile.muon_argument or "muon_params", profile.adam_argument or "adamw_params"
    body = [
        signature.describe(
            "The parameters of each half, under the names of the optimizer's arguments.",
            "Lists, not generators: the constructor goes through them more than once.",
        ),
        "kinds = kinds_of(model)",
        "named = list(model.named_parameters())",
        "groups = {",
        *_half(plan, "muon", muon),
        *_half(plan, "adam", adam),
        "}",
        f'check_complete(model, groups["{muon}"] + groups["{adam}"])',
        "return groups",
    ]
    groups = signature.define("param_groups", (), "dict[str, list[nn.Parameter]]", body)
    return grouping.joined(
        Section(groups, ("from torch import nn",)), _build(plan, profile, muon, adam), grouping.check()
    )


def _half(plan: Plan, half: Destination, argument: str) -> list[str]:
    kinds = [k for k in plan.kinds if k.half == half]
    if not kinds:
        return [f'    "{argument}": [],']
    whys = [line for k in kinds for line in comment(k.why, indent=8).splitlines()]
    labels = [k.label for k in kinds]
    which = f'== "{labels[0]}"' if len(labels) == 1 else f"in {literal(tuple(labels))}"
    members = enclosed(f'"{argument}": [', [f"p for name, p in named if kinds.get(name) {which}"], "]", broken=False)
    return [f"    {line}" for line in [*whys, f"{members},"]]


def _build(plan: Plan, profile: Profile, muon: str, adam: str) -> Section:
    constructor = signature.of_constructor(plan, profile)
    statement, name = package.imported(package.class_path(profile))
    settings = signature.in_order(plan, constructor.values())
    doc = signature.describe(
        f"{name} over the two lists of `param_groups`.",
        "Both halves have the same lr and the same weight decay.",
        *package.remarks(profile),
        settings=settings,
    )
    arguments = [*signature.keywords(constructor), f'{muon}=groups["{muon}"]', f'{adam}=groups["{adam}"]']
    body = [
        doc,
        "groups = param_groups(model)",
        f"optimizer: optim.Optimizer = {enclosed(f'{name}(', arguments, ')', indent=34)}",
        "return optimizer",
    ]
    text = signature.define("build_optimizer", settings, "optim.Optimizer", body)
    return Section(text, ("from torch import nn, optim", statement))
