"""Generated code is shown only when its groups have been made and found to be those of the plan."""

from __future__ import annotations

from math import isclose

from paramlint import checks
from paramlint.checks.context import context
from paramlint.errors import ParamlintError
from paramlint.finding import Finding
from paramlint.group import Proposal
from paramlint.knowledge import Knowledge
from paramlint.parameter import Inventory, Plain
from paramlint.planned import Plan, values
from paramlint.planning.sorting import Fused
from paramlint.profile import Profile
from paramlint.routing import as_release, is_class_of

_REPORT = "this is a fault of paramlint: please report it, with the model"


def prove(
    plan: Plan, inventory: Inventory, known: Knowledge, proposal: Proposal, *, fused: Fused = "split", made_by: str = ""
) -> None:
    """Holds what generated code made of the model against the plan, and against every rule.

    Args:
        proposal: what `param_groups` or `build_optimizer` of the generated module gave.
        fused: with "whole", fused matrices in Muon were asked for, and PML212 has nothing to say.
        made_by: the name of that function.

    Raises:
        ParamlintError: a finding; groups that hold other parameters than planned, or other learning rates.
    """
    proposal = as_release(proposal, known.profile(plan.profile))
    findings = checks.run(inventory, proposal, known, plan.policy, profile=plan.profile)
    left = [f for f in findings if not (f.code == "PML212" and fused == "whole")]
    if left:
        raise ParamlintError(f"the code is not shown: {_told(left)}", where=made_by, hint=_hint(left))
    odd = _misplaced(plan, known, inventory, proposal) or _regrouped(plan, known, proposal)
    if odd:
        raise ParamlintError(f"the code is not shown: {odd}", where=made_by, hint=_REPORT)


def other_release(proposal: Proposal, profile: Profile) -> str:
    """The name of the profile that the installed release of an optimizer is, where the plan is for another one; ""
    where it is that one, or a stand-in, of which no release is installed."""
    real = (u for u in proposal.optimizers if is_class_of(u, profile) and not u.recorded)
    others = (u.profile for u in real if u.profile != profile.name)
    return next((name for name in others if name), "")


def _misplaced(plan: Plan, known: Knowledge, inventory: Inventory, proposal: Proposal) -> str:
    """The first parameter that another half updates than planned."""
    places = context(inventory, proposal, known, plan.policy, plan.profile).places
    for planned in plan.groups:
        for name in planned.parameters:
            for place in places[name]:
                if place.half != planned.kind.half:
                    return f"{name} is updated by {place.half}, and {planned.kind.half} is planned"
    return ""


def _regrouped(plan: Plan, known: Knowledge, proposal: Proposal) -> str:
    """The first group that holds other parameters than planned, or has another lr or weight decay.

    Not asked of optimizers that mark parameters and make their groups themselves.
    """
    if known.profile(plan.profile).call_shape == "attribute":
        return ""
    planned = {frozenset(g.parameters): g for g in plan.groups}
    for group in (g for use in proposal.optimizers for g in use.groups if g.members):
        found = planned.pop(frozenset(m.name or "" for m in group.members), None)
        if found is None:
            return f"a group with {group.members[0].name} holds other parameters than planned"
        for key, value in values(plan, found).items():
            if key in group.options and not _equal(group.options[key], value):
                return f"{key} of {found.label} is {group.options[key]}, and {value} is planned"
    return f"no group is {next(iter(planned.values())).label}" if planned else ""


def _equal(a: Plain, b: Plain) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return isclose(a, b, rel_tol=1e-6)
    return a == b


def _told(findings: list[Finding]) -> str:
    first = findings[0]
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    names = f" ({first.parameters[0]}{', ...' if len(first.parameters) > 1 else ''})" if first.parameters else ""
    return f"{first.code} {first.message}{names}{more}"


def _hint(findings: list[Finding]) -> str:
    """Findings on the model alone are the user's to settle; on groups that paramlint planned they are not."""
    return findings[0].help if findings[0].code in ("PML107", "PML110", "PML216") else _REPORT
