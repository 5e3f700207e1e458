"""The rules' logic: what is wrong with the groups of a model. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
    layer_decay,
    left_to_adam,
    ndim,
    siblings,
    states,
    transposed,
)
from paramlint.checks.context import Context, context
from paramlint.checks.making import folded
from paramlint.checks.refusal import explained
from paramlint.finding import Finding
from paramlint.group import Member, Proposal
from paramlint.knowledge import Knowledge
from paramlint.parameter import Inventory, Location
from paramlint.registry import by_code

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
    layer_decay.check,
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
    said = chain.from_iterable(check(ctx) for check in CHECKS)
    members = {(place.label, place.parameter.name): place.member for place in ctx.placements if place.parameter}
    findings = folded((_placed(f, members) for f in said), ctx.order)
    if ctx.proposal is not None:
        findings = explained(findings, ctx.proposal)
    groups = {label: group.where for _, group, label in ctx.groups if group}
    findings = tuple(_reasoned(f, members) for f in findings)
    return tuple(f if f.location else _located(f, ctx.inventory, ctx.proposal, groups) for f in findings)


Members = Mapping[tuple[str, str], Member]


def _placed(f: Finding, members: Members) -> Finding:
    """A finding on a parameter in a group of a script is at the test that let it in."""
    member = _member(f, members)
    return f if member is None or f.location else replace(f, location=member.where)


def _reasoned(f: Finding, members: Members) -> Finding:
    """It begins with why the test let the parameter in, of the first where there are several."""
    member = _member(f, members)
    return f if member is None or not member.let else replace(f, details=(member.let, *f.details))


def _member(f: Finding, members: Members) -> Member | None:
    return members.get((f.group, f.parameters[0])) if f.group and f.parameters else None


def _located(
    f: Finding, inventory: Inventory, proposal: Proposal | None, groups: Mapping[str, Location | None]
) -> Finding:
    """Findings about groups are where the groups are made, those about the model alone where the model is."""
    if "groups" not in by_code()[f.code].needs or proposal is None:
        return replace(f, location=inventory.location)
    return replace(f, location=groups.get(f.group or "") or proposal.location)
