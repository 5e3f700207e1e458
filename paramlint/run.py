"""What a command found out: the one thing that reports are made of."""

from __future__ import annotations

from dataclasses import dataclass

from paramlint.finding import SEVERITIES, Finding, Severity
from paramlint.group import Proposal
from paramlint.parameter import Inventory


@dataclass(frozen=True)
class Run:
    """One target, checked. `proposal` is None where there were no groups to check."""

    target: str
    inventory: Inventory
    proposal: Proposal | None = None
    findings: tuple[Finding, ...] = ()
    policy: str = "default"
    profile: str | None = None
    notes: tuple[str, ...] = ()

    def count(self, severity: Severity) -> int:
        return sum(f.severity == severity for f in self.findings)

    @property
    def worst(self) -> Severity | None:
        """The gravest severity among the findings."""
        return min((f.severity for f in self.findings), key=SEVERITIES.index, default=None)
