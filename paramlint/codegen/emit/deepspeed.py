"""DeepSpeed's Muon: a flag on every parameter, and the same flag in the groups."""

from __future__ import annotations

from paramlint.codegen.emit import grouping, package, signature
from paramlint.codegen.text import Section, enclosed
from paramlint.planned import Plan
from paramlint.profile import Profile

_PARAGRAPH = """\
Give it to deepspeed.initialize, with a config that names no optimizer, and a
zero_optimization.stage of 1 or more: without, DeepSpeed up to 0.19.6 steps as SGD.

    engine, *_ = deepspeed.initialize(
        model=model, optimizer=build_optimizer(model), config=config
    )

With "type": "Muon" in the config, DeepSpeed would set p.use_muon by its own
rule of names instead, and take embeddings called wte for hidden matrices."""


def section(plan: Plan, profile: Profile) -> Section:
    """`param_groups(model, ...)`, which also sets `p.use_muon`, and `build_optimizer(model, ...)`.

    The optimizer is given to `deepspeed.initialize` rather than named in its config: `set_optimizer_flags` of
    https://github.com/deepspeedai/DeepSpeed/blob/edaa722/deepspeed/__init__.py would overrule the flags.
    """
    own = signature.in_groups(plan)
    groups = signature.define(
        "param_groups",
        own,
        "list[dict[str, Any]]",
        [
            signature.describe(
                "The groups for `build_optimizer`; sets p.use_muon of every parameter.",
                "`build_optimizer` documents the arguments.",
            ),
            grouping.table("options", plan.kinds),
            "groups = groups_of(model, kinds_of(model), options)",
            'check_complete(model, [p for group in groups for p in group["params"]])',
            "for parameter in model.parameters():",
            "    parameter.use_muon = False  # type: ignore[attr-defined]",
            "# ZeRO reads the attribute, the optimizer the key.",
            "for group in groups:",
            '    for parameter in group["params"]:',
            '        parameter.use_muon = group["use_muon"]',
            "return groups",
        ],
    )
    path = package.class_path(profile)
    statement, name = package.imported(path)
    build = signature.define(
        "build_optimizer",
        own,
        "optim.Optimizer",
        [
            signature.describe("DeepSpeed's Muon over the groups of `param_groups`.", _PARAGRAPH, settings=own),
            statement,
            "",
            enclosed("groups = param_groups(", ["model", *signature.passed(own)], ")", indent=4),
            f"optimizer: optim.Optimizer = {name}(groups)",
            "return optimizer",
        ],
    )
    return grouping.joined(
        Section(groups, ("from typing import Any", "from torch import nn")),
        Section(build, ("from torch import nn, optim",)),
        grouping.groups_of(plan, profile),
        grouping.check(),
    )
