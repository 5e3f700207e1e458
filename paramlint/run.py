"""What a command found out: the one thing that reports are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from paramlint.finding import SEVERITIES, Finding, Severity
from paramlint.record import dataclass

if TYPE_CHECKING:
    from paramlint.group import Proposal
    from paramlint.parameter import Destination, Inventory


@dataclass(frozen=True)
class Edit:
    """A change of a source: what starts at `start` and ends before `end` (line and column, from 1) becomes `text`."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


@dataclass(frozen=True)
class Spot:
    """The piece of source that a finding is about, as reports show it.

    `end` is its line and column past the last character, `excerpt` the line that it begins on. `edit` is what the fix
    of the finding would change, where that was asked for.
    """

    end: tuple[int, int]
    excerpt: str = ""
    edit: Edit | None = None


@dataclass(frozen=True)
class FileRun:
    """One source file, read and checked.

    `path` is what reports call it. `findings` are in the order of the source, with a spot for each. `fixed` are those
    that are no longer there, since their fixes were made.
    """

    path: str
    findings: tuple[Finding, ...] = ()
    spots: tuple[Spot, ...] = ()
    fixed: tuple[Finding, ...] = ()

    def count(self, severity: Severity) -> int:
        return sum(f.severity == severity for f in self.findings)

    @property
    def worst(self) -> Severity | None:
        """The gravest severity among the findings."""
        return _worst(self.findings)


@dataclass(frozen=True)
class Files:
    """All source files of one call: the runs of those with something to say, and how many were read."""

    runs: tuple[FileRun, ...] = ()
    read: int = 0


def _worst(findings: Iterable[Finding]) -> Severity | None:
    return min((f.severity for f in findings), key=SEVERITIES.index, default=None)


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
        return _worst(self.findings)
