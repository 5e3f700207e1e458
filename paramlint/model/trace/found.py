"""An inventory with what a trace says of its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from paramlint.model.inputs.given import example
from paramlint.model.trace.forward import Traced, trace
from paramlint.parameter import Inventory, Parameter


def traced(model: nn.Module, inventory: Inventory, inputs: Any = None) -> Inventory:
    """The inventory of a model with uses, reach and passes. The model itself is not run, and not changed.

    Args:
        model: the model that the inventory was read off.
        inventory: its facts, in the order of `paramlint.model.facts.inventory`.
        inputs: what the forward takes; None to find it out.
    """
    found = trace(model, None if inputs is None else example(inputs, model))
    complete = any(not p.stopped for p in found.passes)
    parameters = tuple(_with_uses(p, i, found, complete) for i, p in enumerate(inventory.parameters))
    return replace(
        inventory, parameters=parameters, passes=tuple(found.passes), notes=(*inventory.notes, *_notes(found))
    )


def _with_uses(p: Parameter, number: int, found: Traced, complete: bool) -> Parameter:
    uses = tuple(found.uses.get(number, ()))
    if uses:
        return replace(p, uses=uses, reach="read")
    if not found.ran:
        return p
    ran = any(site.module in found.ran for site in p.sites)
    return replace(p, reach="unused" if ran and complete else "unreached")


def _notes(found: Traced) -> Iterator[str]:
    if found.passes and all(p.stopped for p in found.passes):
        yield f"no forward pass came to its end ({found.passes[0].stopped}): --inputs gives what it takes"
