"""PML215: a weight stored (in, out) under an lr scale that reads rows as outputs."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod, sqrt

from paramlint.checks.context import Context, Placement
from paramlint.checks.making import judged
from paramlint.finding import Finding

#: Scales that change when rows and columns are swapped: sqrt(max(1, A/B)) and sqrt(A/B).
_ONE_SIDED = ("kj", "spectral")


def check(ctx: Context) -> Iterator[Finding]:
    for place, p in judged(ctx, "muon"):
        scale = _scale(place)
        if scale not in _ONE_SIDED or p.ndim < 2 or p.shape[0] == p.shape[1] or place.action == "error":
            continue
        owner = next((c for c in ctx.owners(p) if c == "Conv1D" or "ConvTranspose" in c), None)
        if owner is None or (p.ndim > 2 and place.action != "flatten"):
            continue
        rest = prod(p.shape[2:])
        rows, columns = p.shape[0], p.shape[1] * rest
        turned = p.shape[1], p.shape[0] * rest
        yield Finding(
            "PML215",
            "warning",
            f"stored (in, out) by {owner} in {place.label}: its lr scale takes the inputs for outputs",
            "choose a scale that does not depend on the order (RMS matching), or move it to the AdamW half",
            (p.name,),
            place.label,
            details=(
                f"{p.shape}: scaled by {_factor(scale, rows, columns):.2f}, "
                f"as (out, in) it would be {_factor(scale, *turned):.2f}",
            ),
        )


def _factor(scale: str, rows: int, columns: int) -> float:
    ratio = rows / columns
    return sqrt(max(1.0, ratio) if scale == "kj" else ratio)


def _scale(place: Placement) -> str | None:
    """The lr scale in force: that of the mode which the group or the optimizer chose, or else the default."""
    profile = place.profile
    if profile is None:
        return None
    for options in (place.group.options, place.use.options):
        if profile.lr_scale_key and profile.lr_scale_key in options:
            mode = str(options[profile.lr_scale_key]).lower()
            return profile.lr_scale.get(mode, profile.lr_scale.get("default"))
    return profile.lr_scale.get("default")
