"""PML214: a hidden matrix left to Adam while its kind goes to Muon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paramlint.checks.context import HIDDEN, Context, Placement
from paramlint.checks.making import judged, of_role
from paramlint.finding import Finding
from paramlint.parameter import Parameter
from paramlint.placement import destination
from paramlint.profile import Profile


def check(ctx: Context) -> Iterator[Finding]:
    """Silent where no hidden weight goes to Muon (a plain AdamW user has chosen), and where Muon refuses the shape."""
    with_muon = [place for place in ctx.in_muon if place.parameter and place.parameter.role in HIDDEN]
    profiles = tuple({place.profile.name: place.profile for place in with_muon if place.profile}.values())
    if not with_muon:
        return
    left = [(place, p) for place, p in judged(ctx, "adam") if _belongs(ctx, p, profiles)]
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


def _belongs(ctx: Context, p: Parameter, profiles: tuple[Profile, ...]) -> bool:
    ruling = ctx.ruling(p.role)
    if p.role not in HIDDEN or ruling is None or ruling.to != "muon" or p.effective_ndim <= 1:
        return False
    if not profiles:
        return p.ndim == 2
    return any(destination(replace(p, destination="muon"), profile) == "muon" for profile in profiles)


def _by_shape(place: Placement) -> bool:
    """The optimizer's own shape rule decided, not the user."""
    profile = place.profile
    if profile is None or profile.call_shape != "shape-routed":
        return False
    return not any(key in place.group.options for key in (profile.flag_key, "use_muon", "use_fallback") if key)
