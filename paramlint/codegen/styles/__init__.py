"""How a generated module tells the kinds of parameters apart: three styles, one interface.

Each gives `kinds_of(model)`: the label of the kind of every trainable parameter, by its name in `named_parameters()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from paramlint.codegen.styles import call, names, rules
from paramlint.codegen.text import Section
from paramlint.parameter import Inventory, Plain
from paramlint.planned import Plan

Style = Literal["rules", "names", "call"]

__all__ = ["Style", "section"]


def section(
    style: Style, plan: Plan, inventory: Inventory, *, call_options: Mapping[str, Plain] | None = None
) -> Section:
    """The code of `kinds_of` in one style.

    Args:
        style: "rules" (module types, tensor identity and a few names), "names" (every name, and a fingerprint of the
            model) or "call" (paramlint itself).
        inventory: that of the plan.
        call_options: what style "call" passes to `paramlint.plan` beside the model and the optimizer.
    """
    if style == "rules":
        return rules.section(plan, inventory)
    if style == "names":
        return names.section(plan, inventory)
    return call.section(plan, inventory, call_options=call_options)
