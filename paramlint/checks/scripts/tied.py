"""PML517: a head that stays out of Muon only because it is tied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.placing import Placing, in_muon
from paramlint.finding import Finding
from paramlint.parameter import Inventory, Parameter


def check(ctx: ScriptContext) -> Iterator[Finding]:
    """PML517."""
    if ctx.inventory is None:
        return
    shared = [p for p in ctx.inventory.parameters if p.role == "tied-embedding" and p.aliases]
    for read in ctx.reads if shared else ():
        now, then = Placing(ctx, read, ctx.inventory), Placing(ctx, read, _untied(ctx.inventory, shared))
        for p in shared:
            yield from _untied_to_muon(ctx, now, then, p)


def _untied(inventory: Inventory, shared: Sequence[Parameter]) -> Inventory:
    """The model with each of the names of these parameters for one of its own."""
    parameters: list[Parameter] = []
    for p in inventory.parameters:
        sites = p.sites if p in shared else ()
        parameters += [replace(p, name=s.name, sites=(s,)) for s in sites] or [p]
    return replace(inventory, parameters=tuple(parameters))


def _untied_to_muon(ctx: ScriptContext, now: Placing, then: Placing, p: Parameter) -> Iterator[Finding]:
    for old, new in zip(now.ways, then.ways, strict=True):
        slots = now.slots(old, p)
        if not slots or in_muon(slots):
            continue
        for alias in p.aliases:
            own = then.inventory.find(alias)
            landed = then.slots(new, own) if own else None
            span = next((s.span for s in landed or () if s.half == "muon"), None)
            if span is not None and ctx.here(span):
                found = ctx.finding(
                    "PML517",
                    span,
                    f"it is only because it is tied to `{p.name}` that this does not take the head: `{alias}` of its "
                    "own would go to Muon",
                    f"leave the head out too, as in `id(p) != id(model.{alias})`",
                )
                yield replace(found, parameters=(p.name,))
                return
