"""PML212: several matrices stored as one, orthogonalised as one."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint import parts
from paramlint.checks.context import Context, Placement
from paramlint.checks.making import judged, of_role, sources
from paramlint.finding import Finding

#: Group options by which some implementation splits a fused matrix.
_SPLITTERS = ("split_sizes", "num_heads")


def check(ctx: Context) -> Iterator[Finding]:
    """Silent where the group, or the optimizer, is told how to split."""
    for place, p in judged(ctx, "muon"):
        ruling = ctx.ruling(p.role)
        if p.role != "fused-matrix" or ruling is None or place.action == "error" or _split(place):
            continue
        sizes = f"parts: {parts.told(p)}" if p.splits else "sizes of the parts not known"
        use = parts.fused_use(p)
        options = place.profile.fused_split if place.profile else ()
        if ruling.to == "adam":
            help = "move it to the AdamW half, as the policy says, or store its parts as separate matrices"
        elif use is not None and use.repeats > 1:
            help = "its parts are interleaved: store them as separate matrices, or gather the rows of each first"
        elif options:
            help = f"give the group {' or '.join(options)}, or store the parts as separate matrices"
        else:
            help = "store the parts as separate matrices, or split the update before orthogonalising it"
        yield of_role(
            "PML212",
            p,
            f"fused matrix in {place.label}, orthogonalised as one",
            help,
            place=place,
            details=(sizes, *sources(ctx, p.role)),
        )


def _split(place: Placement) -> bool:
    known = place.profile.fused_split if place.profile else ()
    return any(place.option(key) or place.unread(key) for key in (*_SPLITTERS, *known))
