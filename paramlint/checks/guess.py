"""PML216: only a name speaks for a role, or an unsure place, or nothing does."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.context import Context
from paramlint.checks.making import SETTLE
from paramlint.finding import Finding
from paramlint.parameter import Parameter


def check(ctx: Context) -> Iterator[Finding]:
    """Without groups: every matrix with a guessed role. With groups: only those that Muon gets although nothing speaks
    for it; other guesses that matter are warned of under the rule of their role."""
    for p in ctx.inventory.parameters:
        if not p.trainable or p.confidence != "guess" or p.effective_ndim < 2:
            continue
        if ctx.proposal is not None and not _against(ctx, p):
            continue
        if p.role == "unknown":
            spoken = "nothing says what it is for"
        elif p.evidence[0].layer == "name":
            spoken = f"only its name says that it is: {p.role}"
        else:
            spoken = f"its place suggests no more than that it is: {p.role}"
        yield Finding(
            "PML216",
            "note",
            f"{spoken}; so Muon or Adam is a guess",
            "give the role by name in the configuration (`roles`)",
            (p.name,),
            details=(p.why, SETTLE),
        )


def _against(ctx: Context, p: Parameter) -> bool:
    ruling = ctx.ruling(p.role)
    return (
        p.role == "unknown"
        and ruling is not None
        and ruling.plan == "adam"
        and any(place.half == "muon" for place in ctx.places.get(p.name, ()))
    )
