"""PML213: roles on which sources disagree, placed against the policy's plan."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.context import HIDDEN, Context, Placement
from paramlint.checks.in_muon import ROWS
from paramlint.checks.making import judged
from paramlint.finding import Finding
from paramlint.parameter import Parameter
from paramlint.profile import Ruling

_SAID = {"muon": "Muon", "adam": "Adam"}


def check(ctx: Context) -> Iterator[Finding]:
    """Silent where the placement is what the policy plans, where Muon would refuse the shape, and where nobody uses
    Muon at all."""
    if not ctx.in_muon:
        return
    for half in ("muon", "adam"):
        for place, p in judged(ctx, half):
            ruling = ctx.ruling(p.role)
            if ruling is None or ruling.plan == half or p.effective_ndim <= 1 or not _contested(p, ruling):
                continue
            if half == "muon" or ctx.muon_takes(p):
                yield _note(ctx, place, p, ruling)


def _contested(p: Parameter, ruling: Ruling) -> bool:
    """Roles with a rule of their own are contested only where the policy allows both."""
    if p.role in ("unused", "unknown"):
        return False
    return ruling.to == "either" or not (p.role in ROWS or p.role in HIDDEN)


def _note(ctx: Context, place: Placement, p: Parameter, ruling: Ruling) -> Finding:
    chose = "allows both" if ruling.to == "either" else "goes the other way"
    return Finding(
        "PML213",
        "note",
        f"{p.role} in {place.label}, updated by {_SAID[place.half]}: sources disagree; "
        f"policy {ctx.policy.name} {chose} and plans {_SAID[ruling.plan]}",
        "nothing, if this is meant; another policy settles it the other way",
        (p.name,),
        place.label,
        None,
        (
            f"{p.role}: {p.why}",
            *(f"for Muon: {s}" for s in ruling.muon),
            *(f"for Adam: {s}" for s in ruling.adam),
            *((ruling.note,) if ruling.note else ()),
        ),
    )
