"""PML104: a frozen parameter in a group."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.context import Context, Placement
from paramlint.finding import Finding, Severity

_DECAYS = "KellerJordan/Muon replaces a missing gradient by zeros and then decays: https://github.com/KellerJordan/Muon/issues/54"


def check(ctx: Context) -> Iterator[Finding]:
    """Most optimizers skip what has no gradient; some decay it all the same, which is an error."""
    for place in ctx.placements:
        if place.parameter is None or (place.member.trainable and place.parameter.trainable):
            continue
        severity, message, details = _verdict(place)
        yield Finding(
            "PML104",
            severity,
            message,
            "filter on requires_grad when the groups are built",
            (place.parameter.name,),
            place.label,
            details=details,
        )


def _verdict(place: Placement) -> tuple[Severity, str, tuple[str, ...]]:
    profile, decay = place.profile, _decay(place)
    if profile and profile.frozen == "decay" and decay:
        message = f"frozen, but {place.label} decays it all the same ({profile.decay_key} {decay:g})"
        return "error", message, (_DECAYS,) if profile.name.startswith("keller") else profile.source[:1]
    if profile and profile.frozen == "crash":
        why = (profile.grad_none,) if profile.grad_none else ()
        return "error", f"frozen, and {place.label} fails on a parameter without a gradient", why
    return "warning", f"frozen (requires_grad=False) in {place.label}", ()


def _decay(place: Placement) -> float:
    """Weight decay of this group: its own, else the optimizer's, else the profile's default for this half. 0 where it
    is not known."""
    if place.profile is None:
        return 0.0
    key = place.profile.decay_key
    if place.unread(key):
        return 0.0
    defaults = place.profile.muon_defaults if place.half == "muon" else place.profile.adam_defaults
    for options in (place.group.options, place.use.options, defaults, place.profile.defaults):
        value = options.get(key)
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0
