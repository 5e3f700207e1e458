"""An inventory with what a trace says of its parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from paramlint.errors import ParamlintError
from paramlint.model.inputs.given import example
from paramlint.model.trace.forward import PATIENCE, Traced, said, trace
from paramlint.model.trace.watch import random_state
from paramlint.parameter import Inventory, Parameter, Pass


def traced(model: nn.Module, inventory: Inventory, inputs: Any = None, patience: float = PATIENCE) -> Inventory:
    """The inventory of a model with uses, reach and passes. The model itself is not run, and not changed.

    A trace that fails is a pass that stopped: the inventory is never lost.

    Args:
        model: the model that the inventory was read off.
        inventory: its facts, in the order of `paramlint.model.facts.inventory`.
        inputs: what the forward takes; None to find it out.
        patience: in seconds, for all passes together; one that has begun is let come to its end.

    Raises:
        ParamlintError: inputs that are none, or on which no pass comes to its end.
    """
    given = None
    if inputs is not None:
        with random_state():
            given = example(inputs, model)
    try:
        found = trace(model, given, patience)
    except Exception as error:
        found = Traced(passes=[Pass("", stopped=said(error))])
    if not found.passes:
        found.passes.append(Pass("", stopped="no inputs are known for its forward: --inputs gives them"))
    if given is not None and all(p.stopped for p in found.passes):
        raise _refused(found.passes)
    complete = any(not p.stopped and not p.answered and not p.part for p in found.passes)
    parameters = tuple(_with_uses(p, i, found, complete) for i, p in enumerate(inventory.parameters))
    return replace(inventory, parameters=parameters, passes=tuple(found.passes), appeared=found.appeared)


def _with_uses(p: Parameter, number: int, found: Traced, complete: bool) -> Parameter:
    uses = tuple(found.uses.get(number, ()))
    if uses:
        return replace(p, uses=uses, reach="read")
    if not found.ran:
        return p
    ran = any(site.module in found.ran for site in p.sites)
    return replace(p, reach="unused" if ran and complete else "unreached")


def _refused(passes: list[Pass]) -> ParamlintError:
    last = passes[-1] if passes else Pass("", stopped="nothing ran")
    on = f" on {last.inputs}" if last.inputs else ""
    return ParamlintError(
        f"the forward stops{on}: {last.stopped}",
        hint="give what it takes, leave the inputs out to have them found, or turn the trace off",
    )
