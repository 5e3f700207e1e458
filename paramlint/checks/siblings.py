"""PML108: the same parameter of repeated blocks, updated by different halves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from paramlint.checks.context import Context, Placement
from paramlint.checks.making import judged
from paramlint.finding import Finding
from paramlint.routing import Half

_SAID: dict[Half, str] = {"muon": "Muon", "adam": "Adam", "none": "neither half"}


def check(ctx: Context) -> Iterator[Finding]:
    """Only the half counts: layer-wise learning rates put siblings in different groups on purpose.

    Siblings have one name but for integers, one role and one shape. The odd ones out must be fewer than the rest.
    """
    families: dict[tuple[str, str, tuple[int, ...]], dict[str, Placement]] = {}
    for half in ("muon", "adam"):
        for place, p in judged(ctx, half):
            pattern = ".".join("*" if part.isdigit() else part for part in p.name.split("."))
            if "*" in pattern:
                families.setdefault((pattern, p.role, p.shape), {})[p.name] = place
    for (pattern, role, _), family in families.items():
        counts = Counter(place.half for place in family.values())
        if len(counts) < 2:
            continue
        (most, many), (_, few) = counts.most_common(2)
        if few >= many:
            continue
        for name, place in family.items():
            if place.half != most:
                yield Finding(
                    "PML108",
                    "warning",
                    f"{few} of {few + many} siblings in {place.label}, updated by {_SAID[place.half]}; "
                    f"the others by {_SAID[most]}",
                    "give all of them the same half; look for a name test that matches too much or too little",
                    (name,),
                    place.label,
                    details=(f"the same {role} of repeated blocks: {pattern}",),
                )
