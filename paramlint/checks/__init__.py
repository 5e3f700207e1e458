"""The rules' logic: what is wrong with the groups of a model. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

from paramlint.checks import (
    contested,
    coverage,
    frozen,
    fused,
    groups,
    guess,
    identity,
    in_muon,
    left_to_adam,
    ndim,
    siblings,
    states,
    transposed,
)
from paramlint.checks.context import Context, context
from paramlint.checks.making import folded
from paramlint.checks.refusal import explained, unexplained_refusals
from paramlint.finding import Finding
from paramlint.group import Proposal
from paramlint.knowledge import Knowledge
from paramlint.parameter import Inventory
from paramlint.registry import by_code

__all__ = ["CHECKS", "examine", "run", "unexplained_refusals"]

CHECKS: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    coverage.check,
    identity.duplicates,
    identity.foreign,
    frozen.check,
    groups.empty,
    groups.unordered,
    states.late,
    siblings.check,
    states.sharded,
    in_muon.check,
    ndim.check,
    fused.check,
    contested.check,
    left_to_adam.check,
    transposed.check,
    guess.check,
)


def run(
    inventory: Inventory,
    proposal: Proposal | None,
    knowledge: Knowledge,
    policy: str = "default",
    *,
    profile: str | None = None,
) -> tuple[Finding, ...]:
    """All findings on a model and its groups, one for each cause, sorted by severity, code and model order.

    `policy` and `profile` are names; `profile` settles optimizers that were not recognised, or only by the looks of
    their groups. Without a proposal only the rules that need no groups speak.

    Raises:
        ParamlintError: no such policy or profile.
    """
    return examine(context(inventory, proposal, knowledge, policy, profile))


def examine(ctx: Context) -> tuple[Finding, ...]:
    """All findings, as `run` gives them, on a context that is there already."""
    findings = folded(chain.from_iterable(check(ctx) for check in CHECKS), ctx.order)
    if ctx.proposal is not None:
        findings = explained(findings, ctx.proposal)
    return tuple(f if f.location else _located(f, ctx.inventory, ctx.proposal) for f in findings)


def _located(f: Finding, inventory: Inventory, proposal: Proposal | None) -> Finding:
    """Findings about groups are where the groups are made, those about the model alone where the model is."""
    about_groups = "groups" in by_code()[f.code].needs and proposal is not None
    return replace(f, location=proposal.location if about_groups and proposal else inventory.location)
