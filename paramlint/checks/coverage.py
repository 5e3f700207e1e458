"""PML101: a trainable parameter that no optimizer has."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.context import Context
from paramlint.finding import Finding


def check(ctx: Context) -> Iterator[Finding]:
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
