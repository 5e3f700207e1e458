"""The rules on groups, over a known model: what each group of the script has, and which test let it in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paramlint.checks.scripts.context import ScriptContext
from paramlint.finding import Finding
from paramlint.group import Proposal
from paramlint.registry import by_code

_HYPOTHETICAL = "only {0}: the same optimizers can be made without it"


def check(ctx: ScriptContext) -> Iterator[Finding]:
    """PML1xx to PML4xx on the groups that the file gives to optimizers; nothing without an inventory."""
    if ctx.inventory is None:
        return
    from paramlint import checks
    from paramlint.checks.context import context
    from paramlint.source.proposed import proposals

    for read in ctx.reads:
        made = proposals(read.build, ctx.inventory, ctx.known, sources={ctx.file.path: ctx.file.text})
        found = [
            [f for f in checks.examine(context(ctx.inventory, p, ctx.known, "default")) if _of_groups(f)] for p in made
        ]
        for proposal, findings in zip(made, found, strict=True):
            alike = [theirs for other, theirs in zip(made, found, strict=True) if _labels(other) == _labels(proposal)]
            for f in findings:
                if f.severity == "error" and not all(_has(theirs, f) for theirs in alike):
                    # Another setting of the script gives the model's parameters to the right optimizers.
                    where = (_HYPOTHETICAL.format(note) for note in proposal.notes[:1])
                    f = replace(f, severity="warning", details=(*f.details, *where))
                yield f


def _of_groups(f: Finding) -> bool:
    return "groups" in by_code()[f.code].needs


def _labels(proposal: Proposal) -> tuple[str, ...]:
    return tuple(use.label for use in proposal.optimizers)


def _has(findings: list[Finding], f: Finding) -> bool:
    names = set(f.parameters)
    return (
        any(o.code == f.code and names & set(o.parameters) for o in findings)
        if names
        else any(o.code == f.code for o in findings)
    )
