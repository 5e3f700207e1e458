"""One optimizer that takes a list of groups: those with a flag or a norm in each group, and element-wise ones."""

from __future__ import annotations

from paramlint.codegen.emit import grouping, package, signature
from paramlint.codegen.text import Section, enclosed
from paramlint.planned import Plan
from paramlint.profile import Profile

_NAMES = '''\
def group_names(model: nn.Module) -> list[list[str]]:
    """The names of the parameters in each group of `param_groups(model)`.

    The groups themselves have no room for them: any key besides their own is an error.
    """
    names = {p: name for name, p in model.named_parameters()}
    return [[names[p] for p in group["params"]] for group in param_groups(model)]'''


def section(plan: Plan, profile: Profile) -> Section:
    """`param_groups(model, ...)`, a list, and `build_optimizer(model, ...)`."""
    own = signature.in_groups(plan)
    groups = signature.define(
        "param_groups",
        own,
        "list[dict[str, Any]]",
        [
            signature.describe("The groups for `build_optimizer`, which documents the arguments."),
            grouping.table("options", plan.kinds),
            "groups = groups_of(model, kinds_of(model), options)",
            'check_complete(model, [p for group in groups for p in group["params"]])',
            "return groups",
        ],
    )
    names = (Section(_NAMES),) if profile.keys.strictness == "exact" else ()
    sections = (Section(groups, ("from typing import Any", "from torch import nn")), _build(plan, profile), *names)
    return grouping.joined(*sections, grouping.groups_of(plan, profile), grouping.check())


def _build(plan: Plan, profile: Profile) -> Section:
    own, constructor = signature.in_groups(plan), signature.of_constructor(plan, profile)
    settings = signature.in_order(plan, (*own, *constructor.values()))
    path = package.class_path(profile)
    statement, name = package.imported(path)
    meshes = package.meshes(profile)
    doc = signature.describe(
        f"{name.removeprefix('optim.')} over the groups of `param_groups`.",
        *package.remarks(profile),
        settings=settings,
        extra=[f"{m}: A DeviceMesh, needed where parameters are DTensors." for m in meshes],
    )
    call = [*signature.keywords(constructor), *(f"{m}={m}" for m in meshes)]
    making = enclosed(f"{name}(", ["groups", *call], ")", indent=len("    optimizer: optim.Optimizer = "))
    returning = [f"return {making}"]
    if not name.startswith("optim."):
        returning = [f"optimizer: optim.Optimizer = {making}", "return optimizer"]
    body = [
        doc,
        enclosed("groups = param_groups(", ["model", *signature.passed(own)], ")", indent=4),
        *returning,
    ]
    text = signature.define(
        "build_optimizer", settings, "optim.Optimizer", body, extra=[f"{m}: Any = None" for m in meshes]
    )
    return Section(text, ("from torch import nn, optim", statement))
