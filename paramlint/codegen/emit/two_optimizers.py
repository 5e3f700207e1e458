"""A Muon that takes matrices only, and an AdamW for all else."""

from __future__ import annotations

import textwrap

from paramlint.codegen.emit import grouping, package, signature
from paramlint.codegen.text import INDENT, Section, enclosed
from paramlint.parameter import Destination
from paramlint.planned import Kind, Plan
from paramlint.profile import Profile

#: The argument of `build_optimizer` that takes what only the constructor of AdamW knows.
ADAMW_OPTIONS = "adamw_options"

_HALVES: dict[Destination, str] = {"muon": "muon", "adam": "adamw"}

_TOGETHER = '''\
class Together(optim.Optimizer):
    """Several optimizers as one, with the groups and the state of all of them.

    Schedulers, GradScaler and trainers take it; each step is one of every optimizer.
    """

    def __init__(self, optimizers: list[optim.Optimizer]) -> None:
        self.optimizers = optimizers
        common = set.intersection(*(set(each.defaults) for each in optimizers))
        defaults = {k: v for k, v in optimizers[0].defaults.items() if k in common}
        groups = [group for each in optimizers for group in each.param_groups]
        super().__init__(groups, defaults)
        for each in optimizers:
            self.state.update(each.state)
        self.share()

    def share(self) -> None:
        """Gives groups and state to the optimizers that step them."""
        groups = iter(self.param_groups)
        for each in self.optimizers:
            own = [next(groups) for _ in each.param_groups]
            each.__setstate__({"state": self.state, "param_groups": own})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        known = [group for each in self.optimizers for group in each.param_groups]
        if not any(group is param_group for group in known):
            raise RuntimeError("which optimizer is this group for? Make a new Together")
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each; the closure is evaluated once, before the first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for each in self.optimizers:
            each.step()
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "optimizers": self.optimizers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.share()'''


def section(plan: Plan, profile: Profile) -> Section:
    """`param_groups(model, ...)`, a dict of two lists, `build_optimizer(model, ...)`, a list, and `Together`."""
    halves = {half: [k for k in plan.kinds if k.half == half] for half in _HALVES}
    kinds = {_HALVES[half]: own for half, own in halves.items() if own}
    return grouping.joined(
        _groups(plan, kinds),
        _build(plan, profile, kinds),
        Section(_TOGETHER, ("from collections.abc import Callable", "import torch", "from torch import optim")),
        grouping.groups_of(plan, profile),
        grouping.check(),
    )


def _groups(plan: Plan, kinds: dict[str, list[Kind]]) -> Section:
    doc = signature.describe(
        "The groups for each optimizer, without those that would have no parameters.",
        "`build_optimizer` documents the arguments.",
    )
    found = enclosed("groups = {", [f'"{half}": groups_of(model, kinds, {half})' for half in kinds], "}", indent=4)
    body = [
        doc,
        *(grouping.table(half, own) for half, own in kinds.items()),
        "kinds = kinds_of(model)",
        found,
        "every = [group for half in groups.values() for group in half]",
        'check_complete(model, [p for group in every for p in group["params"]])',
        "return {half: own for half, own in groups.items() if own}",
    ]
    returns = "dict[str, list[dict[str, Any]]]"
    text = signature.define("param_groups", signature.in_groups(plan), returns, body)
    return Section(text, ("from typing import Any", "from torch import nn"))


def _build(plan: Plan, profile: Profile, kinds: dict[str, list[Kind]]) -> Section:
    own = signature.in_groups(plan)
    constructor = signature.of_constructor(plan, profile) if "muon" in kinds else {}
    second = signature.of_adamw(plan, profile) if "adamw" in kinds else {}
    settings = signature.in_order(plan, (*own, *constructor.values(), *second.values()))
    imports = ["from torch import nn, optim"]
    body = [enclosed("groups = param_groups(", ["model", *signature.passed(own)], ")", indent=4)]
    body += ["optimizers: list[optim.Optimizer] = []"]
    name = ""
    if "muon" in kinds:
        statement, name = package.imported(package.class_path(profile))
        imports.append(statement)
        arguments = signature.keywords(constructor)
        body += ['if "muon" in groups:']
        if profile.keys.strictness != "none":
            call = enclosed(f"{name}(", ['groups["muon"]', *arguments], ")")
            body += [f"    optimizers.append({call})"]
        else:
            if package.told_of_ranks(profile):
                imports.append("from torch import distributed")
                arguments += ["rank=rank", "world_size=world_size"]
                body += [
                    "    several = distributed.is_available() and distributed.is_initialized()",
                    "    rank = distributed.get_rank() if several else 0",
                    "    world_size = distributed.get_world_size() if several else 1",
                ]
            call = enclosed(f"{name}(", ["**group", *arguments], ")")
            body += [
                "    # It takes no groups: one optimizer for each, a list of parameters and numbers.",
                '    for group in groups["muon"]:',
                f"        optimizers.append({call})",
            ]
    if "adamw" in kinds:
        arguments = ['groups["adamw"]', *signature.keywords(second), f"**{ADAMW_OPTIONS}"]
        made = enclosed("adamw = optim.AdamW(", arguments, ")", indent=8)
        body += ['if "adamw" in groups:', *textwrap.indent(made, INDENT).splitlines()]
        body += ["    optimizers.append(adamw)"]
    both = " and ".join([*([name.removeprefix("optim.")] if name else []), *(["AdamW"] if "adamw" in kinds else [])])
    doc = signature.describe(
        f"{both} over the groups of `param_groups`.",
        "Step all of them, or take `Together` for one object.",
        *(package.remarks(profile) if name else []),
        settings=settings,
        extra=[f"{ADAMW_OPTIONS}: Of AdamW too, such as eps or fused."] if "adamw" in kinds else [],
    )
    extra = [f"**{ADAMW_OPTIONS}: Any"] if "adamw" in kinds else []
    body = [doc, *body, "return optimizers"]
    text = signature.define("build_optimizer", settings, "list[optim.Optimizer]", body, extra=extra)
    return Section(text, tuple(imports))
