"""PML101: a trainable parameter that no optimizer has, or that the one which has it does not update."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.context import Context, Placement
from paramlint.finding import Finding


def check(ctx: Context) -> Iterator[Finding]:
    yield from _in_no_group(ctx)
    for place in ctx.placements:
        p, key = place.parameter, place.profile.flag_key if place.profile else None
        if place.half == "none" and p and p.trainable and key and not place.unread(key):
            yield _in_no_half(place, p.name)


def _in_no_half(place: Placement, name: str) -> Finding:
    """A flag that its optimizer insists on is missing, or has a value that it does not know."""
    profile = place.profile
    assert profile is not None and profile.flag_key is not None  # only a flag leaves a group with no half
    key, value = profile.flag_key, place.option(profile.flag_key)
    said = f"has no {key}" if value is None else f"has {key}={value!r}"
    known = " or ".join(f"{key}={v!r}" for v in (*profile.flag_muon, *profile.flag_adam))
    return Finding(
        "PML101",
        "error",
        f"in {place.label}, which {said}: {profile.name} refuses it, and nothing is trained",
        f"give the group {known}",
        (name,),
        place.label,
    )


def _in_no_group(ctx: Context) -> Iterator[Finding]:
    """One finding for all, with the share of each role: a forgotten bias and a forgotten trunk are not the same."""
    lost: dict[str, int] = {}
    for p in ctx.uncovered:
        lost[p.role] = lost.get(p.role, 0) + p.numel
    roles = sorted(lost, key=lambda role: (-lost[role], role))
    details = tuple(f"{role}: {ctx.share(lost[role])} of the trainable elements" for role in roles)
    for p in ctx.uncovered:
        yield Finding(
            "PML101",
            "error",
            "trainable, but in no group of any optimizer: never trained",
            "add it to a group, or set requires_grad=False if it is not meant to be trained",
            (p.name,),
            details=details,
        )
