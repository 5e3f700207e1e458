"""What the rules say of the very groups that are stepped."""

from __future__ import annotations

from collections.abc import Sequence

from paramlint.finding import Finding
from paramlint.smoke.optimizers import Made
from paramlint.smoke.subject import Subject
from paramlint.smoke.wording import counted
from paramlint.smoked import SmokeCheck


def groups(s: Subject) -> SmokeCheck:
    """Findings of severity error; the first one names the rule."""
    wrong = [f for f in s.findings if f.severity == "error"]
    count = sum(1 for _ in s.made.groups())
    optimizers = ", ".join(dict.fromkeys(type(o).__name__ for o in s.made.inner))
    if not wrong:
        milder = [f for f in s.findings if f.severity == "warning"]
        said = f", {counted(len(milder), 'warning')}" if milder else ""
        figure = f"{counted(count, 'group')} of {optimizers}, no errors{said}"
        return SmokeCheck("groups", "pass", figure, details=tuple(_told(f) for f in milder))
    return _failed(wrong, f"{counted(len(wrong), 'error')} in {counted(count, 'group')} of {optimizers}")


def refused(made: Made, findings: Sequence[Finding]) -> SmokeCheck:
    """A constructor that did not take its arguments: nothing can be stepped."""
    wrong = [f for f in findings if f.severity == "error"]
    if not wrong:
        return SmokeCheck("groups", "fail", f"the constructor refuses them: {made.refused}")
    return _failed(wrong, f"the constructor refuses them: {made.refused}")


def _failed(wrong: Sequence[Finding], figure: str) -> SmokeCheck:
    first = wrong[0]
    names = tuple(dict.fromkeys(n for f in wrong for n in f.parameters))
    details = tuple(_told(f) for f in wrong)
    return SmokeCheck("groups", "fail", figure, names, first.code, details, first.help)


def _told(f: Finding) -> str:
    more = f" and {len(f.parameters) - 1} more" if len(f.parameters) > 1 else ""
    subject = f"{f.parameters[0]}{more}: " if f.parameters else ""
    return f"{f.code} {subject}{f.message}"
