"""What a command found out: the one thing that reports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paramlint.finding import SEVERITIES, Finding, Severity
from paramlint.group import Proposal
from paramlint.parameter import Destination, Inventory


@dataclass(frozen=True)
class Run:
    """One target, checked. `proposal` is None where there were no groups to check.

    `refused` has a line for each optimizer whose constructor did not accept its arguments for a reason that no finding
    gives. `routed` says who updates each trainable parameter, by name: its group does, or should where there are no
    groups.
    """

    target: str
    inventory: Inventory
    proposal: Proposal | None = None
    findings: tuple[Finding, ...] = ()
    policy: str = "default"
    profile: str | None = None
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    routed: Mapping[str, Destination] = field(default_factory=dict)

    def count(self, severity: Severity) -> int:
        return sum(f.severity == severity for f in self.findings)

    @property
    def worst(self) -> Severity | None:
        """The gravest severity among the findings."""
        return min((f.severity for f in self.findings), key=SEVERITIES.index, default=None)
