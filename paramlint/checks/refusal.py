"""A constructor that refused its arguments: which finding says why, and what nothing explains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from paramlint.finding import Finding
from paramlint.group import OptimizerUse, Proposal

_SHAPE = r"\d-?D\b|\bdim|ndim|size|shape|matri|AssertionError: \d"
#: What a refusal says when the fault is one of ours.
_SAYS = {
    "PML101": r"use_muon|algorithm|__contains__|AssertionError$",
    "PML102": r"more than one parameter group|duplicate",
    "PML103": r"non-leaf|can't optimize|can only optimize",
    "PML105": r"empty parameter list|empty",
    "PML106": r"ordered collection|ordering|\bset\b",
    "PML107": r"Size\(\[0\]\)|ninitialized|shape",
    "PML204": _SHAPE,
    "PML205": _SHAPE,
    "PML208": _SHAPE,
}


def explained(findings: Iterable[Finding], proposal: Proposal) -> tuple[Finding, ...]:
    """The findings, those that explain a refusal with its text as their first detail."""
    return tuple(_with_refusal(f, proposal) for f in findings)


def unexplained_refusals(findings: Iterable[Finding], proposal: Proposal | None) -> tuple[str, ...]:
    """One line for each constructor that refused its arguments for a reason that no finding gives."""
    found = tuple(findings)
    return tuple(
        f"{use.label} did not accept its arguments: {use.refusal}"
        for use in (proposal.optimizers if proposal else ())
        if use.refusal and proposal and not any(_explains(f, use, proposal) for f in found)
    )


def _with_refusal(f: Finding, proposal: Proposal) -> Finding:
    said = tuple(f"{u.label} says: {u.refusal}" for u in proposal.optimizers if _explains(f, u, proposal))
    return replace(f, details=(*said, *f.details)) if said else f


def _explains(f: Finding, use: OptimizerUse, proposal: Proposal) -> bool:
    if not use.refusal or f.code not in _SAYS:
        return False
    labels = {use.label, *(proposal.label(use, g) for g in use.groups)}
    return f.group in labels and re.search(_SAYS[f.code], use.refusal) is not None
