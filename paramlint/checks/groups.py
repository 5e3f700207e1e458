"""PML105 and PML106: groups that are empty, or whose order is not stable."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.context import Context
from paramlint.finding import Finding

_UNORDERED = ("set", "frozenset")


def empty(ctx: Context) -> Iterator[Finding]:
    """PML105. An optimizer whose groups are all empty is said once. Silent where a parameter may be in a group that it
    was not seen in."""
    if ctx.unread:
        return
    hollow = dict.fromkeys(
        use.label if not any(g.members for g in use.groups) else label
        for use, group, label in ctx.groups
        if group is None or not group.members
    )
    for label in hollow:
        yield Finding(
            "PML105",
            "warning",
            f"{label} has no parameters",
            "drop it, or look at the test that should have filled it; a generator is empty the second time",
            (),
            label,
        )


def unordered(ctx: Context) -> Iterator[Finding]:
    """PML106. A set of fewer than two parameters has only one order."""
    for use, group, label in ctx.groups:
        container = next((c for c in (group.container if group else "", use.container) if c in _UNORDERED), None)
        if container and group and len(group.members) > 1:
            yield Finding(
                "PML106",
                "error",
                f"{label} takes its parameters from a {container}: their order changes from run to run",
                "use a list, or a dict keyed by id(), in the order of model.named_parameters()",
                (),
                label,
                details=("optimizer state is saved by position: a resume attaches it to other tensors",),
            )
