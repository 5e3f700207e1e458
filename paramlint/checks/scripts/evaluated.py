"""The rules on groups, over a known model: what each group of the script has, and which test let it in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from paramlint.checks.scripts.context import ScriptContext
from paramlint.finding import Finding
from paramlint.folding import fold
from paramlint.group import Proposal
from paramlint.parameter import Inventory, Parameter
from paramlint.registry import by_code

#: How many names stand in a message, and how many rows of parameters are told.
_NAMED = 2
_ROWS = 6
_HYPOTHETICAL = "only {0}: the same optimizers can be made without it"


def check(ctx: ScriptContext) -> Iterator[Finding]:
    """PML1xx to PML4xx on the groups that the file gives to optimizers; nothing without an inventory."""
    if ctx.inventory is None:
        return
    from paramlint import checks
    from paramlint.checks.context import context
    from paramlint.checks.scripts.over_model import mended

    for read in ctx.reads:
        made = ctx.proposals(read)
        found = [
            [f for f in checks.examine(context(ctx.inventory, p, ctx.known, "default")) if _of_groups(f)] for p in made
        ]
        for proposal, findings in zip(made, found, strict=True):
            alike = [theirs for other, theirs in zip(made, found, strict=True) if _labels(other) == _labels(proposal)]
            for f in mended(ctx, read, findings):
                if f.severity == "error" and not all(_has(theirs, f) for theirs in alike):
                    # Another setting of the script gives the model's parameters to the right optimizers.
                    where = (_HYPOTHETICAL.format(note) for note in proposal.notes[:1])
                    f = replace(f, severity="warning", details=(*f.details, *where))
                yield _named(f, ctx.inventory)


def _named(f: Finding, inventory: Inventory) -> Finding:
    """A finding that says in its message which parameters it is about, and of what shape and role they are in its
    details: in source nothing else names them."""
    about = [p for name in f.parameters if (p := inventory.find(name)) is not None]
    if not about:
        return f
    rows = fold(about, name=lambda p: p.name, key=lambda p: (p.shape, p.role))
    told = [f"{row.pattern}{f' ×{len(row)}' if len(row) > 1 else ''}" for row in rows]
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    facts = (f"{name}: {_shape(row.items[0])}, {row.items[0].role}" for name, row in zip(told, rows, strict=True))
    message = f"{', '.join(f'`{name}`' for name in told[:_NAMED])}{more}: {f.message}"
    return replace(f, message=message, details=(*islice(facts, _ROWS), *f.details))


def _shape(p: Parameter) -> str:
    return f"({', '.join(map(str, p.shape))}{',' if p.ndim == 1 else ''})"


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
