"""`kinds_of` by paramlint itself, when it is called."""

from __future__ import annotations

from collections.abc import Mapping

from paramlint.codegen.text import Section, enclosed, literal
from paramlint.parameter import Inventory, Plain
from paramlint.planned import Plan

_BODY = '''\
{kinds}


def kinds_of(model: nn.Module) -> dict[str, str]:
    """The kind of every trainable parameter, by name, as paramlint plans it now.

    Raises:
        ValueError: a parameter of a kind that no group is for.
    """
    {planned}
    kinds: dict[str, str] = {{}}
    for name, p in model.named_parameters():
        if p.requires_grad:
            kind = planned.labels[plain_name(name)]
            if kind not in KINDS:
                raise ValueError(f"{{name}} is of kind {{kind}}, which has no group here")
            kinds[name] = kind
    return kinds
'''


def section(plan: Plan, inventory: Inventory, *, call_options: Mapping[str, Plain] | None = None) -> Section:
    """`kinds_of`, and the kinds that the plan has groups for.

    Args:
        call_options: arguments of `paramlint.plan` beside the model and the optimizer.
    """
    options = {"optimizer": plan.profile, **(call_options or {})}
    arguments = ["model", *(f"{key}={literal(value)}" for key, value in options.items())]
    body = _BODY.format(
        kinds=enclosed("KINDS = (", [literal(k.label) for k in plan.kinds], "," * (len(plan.kinds) == 1) + ")"),
        planned=enclosed("planned = plan(", arguments, ")", indent=4).replace("\n", "\n    "),
    )
    return Section(body.rstrip("\n"), ("from paramlint import plan", "from torch import nn"))
