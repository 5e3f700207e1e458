"""PML214: a hidden matrix left to Adam while its kind goes to Muon."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint import layout
from paramlint.checks.context import HIDDEN, Context, Placement
from paramlint.checks.making import judged, of_role
from paramlint.finding import Finding
from paramlint.parameter import Parameter


def check(ctx: Context) -> Iterator[Finding]:
    """Silent where no hidden weight goes to Muon (a plain AdamW user has chosen), and where Muon refuses the shape."""
    if not any(place.parameter and place.parameter.role in HIDDEN for place in ctx.in_muon):
        return
    both = ctx.unread | {place.parameter.name for place in ctx.in_muon if place.parameter}
    left = [(place, p) for place, p in judged(ctx, "adam") if p.name not in both and _belongs(ctx, p)]
    lost = ctx.share(sum({p.name: p.numel for _, p in left}.values()))
    for place, p in left:
        yield of_role(
            "PML214",
            p,
            f"hidden weight left to Adam in {place.label}, while others of its kind go to Muon",
            "move it to the Muon half, or say why not with a role in the configuration",
            place=place,
            severity="note" if _by_shape(place) else None,
            details=(f"all that is left to Adam so: {lost} of the trainable elements",),
        )


def _belongs(ctx: Context, p: Parameter) -> bool:
    ruling = ctx.ruling(p.role)
    if p.role not in HIDDEN or ruling is None or ruling.to != "muon" or p.effective_ndim <= 1:
        return False
    profiles = [place.profile for place in ctx.in_muon if place.profile]
    if p.role == "fused-matrix" and not any(layout.split_sizes(p, profile) for profile in profiles):
        # whole in Muon it is PML212; where no optimizer here can split it, leaving it to Adam is the other way out
        return False
    return ctx.muon_takes(p)


def _by_shape(place: Placement) -> bool:
    """The optimizer's own shape rule decided, not the user."""
    profile = place.profile
    if profile is None or profile.call_shape != "shape-routed":
        return False
    return not any(key in place.group.options for key in (profile.flag_key, "use_muon", "use_fallback") if key)
