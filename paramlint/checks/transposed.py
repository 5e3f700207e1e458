"""PML215: a weight stored (in, out) under an lr scale that reads rows as outputs."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose

from paramlint import layout
from paramlint.checks.context import Context, Placement
from paramlint.checks.making import judged
from paramlint.finding import Finding
from paramlint.parameter import Parameter
from paramlint.profile import LrScale


def check(ctx: Context) -> Iterator[Finding]:
    """Silent where both layouts have one factor, and where the lr of the group makes up for the difference."""
    found: list[tuple[Placement, Parameter, LrScale, str]] = []
    untouched: dict[tuple[str, float], set[float]] = {}
    for place, p in judged(ctx, "muon"):
        scale, lr = place.lr_scale, _lr(place)
        if scale is None or p.ndim < 2 or place.action == "error":
            continue
        owner = layout.storing(ctx.owners(p)) if p.ndim == 2 or place.action == "flatten" else None
        turn = layout.turn(scale, p.shape) if owner else 1.0
        if lr is not None:
            untouched.setdefault((place.use.label, turn), set()).add(lr / turn)
        if owner and turn != 1:
            found.append((place, p, scale, owner))
    for place, p, scale, owner in found:
        turn, lr = layout.turn(scale, p.shape), _lr(place)
        others = {
            x for (label, t), all_of in untouched.items() for x in all_of if label == place.use.label and t != turn
        }
        if lr is not None and any(isclose(lr / turn, other, rel_tol=1e-3) for other in others):
            continue  # multiplied by what is missing, as weights of another layout beside it show
        if _unread_lr(place) and len({q.label for q in ctx.in_muon if q.use is place.use}) > 1:
            continue  # the lr of its own group may make up for it
        taken, wanted = layout.factors(scale, p.shape)
        yield Finding(
            "PML215",
            "warning",
            f"stored (in, out) by {owner} in {place.label}: its lr scale takes the inputs for outputs",
            "choose a scale that does not depend on the order (RMS matching), multiply the lr of its group by what "
            "is missing, or move it to the AdamW half",
            (p.name,),
            place.label,
            details=(f"{p.shape}: scaled by {taken:.2f}, as (out, in) it would be {wanted:.2f}",),
        )


def _lr_key(place: Placement) -> str:
    return place.profile.lr_key if place.profile else "lr"


def _unread_lr(place: Placement) -> bool:
    return place.unread(_lr_key(place))


def _lr(place: Placement) -> float | None:
    value = place.option(_lr_key(place))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
