"""Findings are made one parameter at a time, and folded into one for each cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from paramlint.checks.context import Context, Placement
from paramlint.finding import SEVERITIES, Finding, Severity
from paramlint.parameter import Location, Parameter
from paramlint.registry import by_code

GUESSED = ", at a guess"
SETTLE = "a guess: a role given by name in the configuration (`roles`) settles it"

#: How many facts a fold takes over from the parameters after the first.
_MORE_FACTS = 3


def of_role(
    code: str,
    parameter: Parameter,
    message: str,
    help: str,
    *,
    place: Placement | None = None,
    severity: Severity | None = None,
    details: Iterable[str] = (),
) -> Finding:
    """A finding that rests on the parameter's role: at most a warning, and told apart, where the role is a guess."""
    said = severity or by_code()[code].severity
    facts = (f"{parameter.role}: {parameter.why}", *details)
    if parameter.confidence == "guess":
        said = "warning" if said == "error" else said
        message, facts = message + GUESSED, (*facts, SETTLE)
    return Finding(code, said, message, help, (parameter.name,), place.label if place else None, None, facts)


def sources(ctx: Context, role: str) -> tuple[str, ...]:
    """What the policy chose for a role, and the sources it rests on."""
    ruling = ctx.ruling(role)
    if ruling is None:
        return ()
    said = {"muon": "Muon", "adam": "Adam", "either": "either half"}[ruling.to]
    note = f" ({ruling.note})" if ruling.note else ""
    return (f"policy {ctx.policy.name}: {role} goes to {said}{note}", *ruling.source)


def folded(findings: Iterable[Finding], order: Mapping[str, int]) -> tuple[Finding, ...]:
    """One finding for each code, group, severity, message and place, over all its parameters in model order.

    Sorted by severity, code, and first parameter. The first parameter's facts are kept whole; a few that only later
    ones bring are added.
    """
    causes: dict[tuple[str, str | None, str, str, Location | None], list[Finding]] = {}
    for f in findings:
        causes.setdefault((f.code, f.group, f.severity, f.message, f.location), []).append(f)
    merged = tuple(_one(same, order) for same in causes.values())
    return tuple(sorted(merged, key=lambda f: _place(f, order)))


def _one(same: list[Finding], order: Mapping[str, int]) -> Finding:
    same = sorted(same, key=lambda f: _place(f, order))
    first = same[0]
    names = dict.fromkeys(name for f in same for name in f.parameters)
    later = (d for d in dict.fromkeys(d for f in same[1:] for d in f.details) if d not in first.details)
    extra = [d for d, _ in zip(later, range(_MORE_FACTS), strict=False)]
    return replace(
        first,
        parameters=tuple(sorted(names, key=lambda n: order.get(n, len(order)))),
        details=(*dict.fromkeys(first.details), *extra),
    )


def _place(f: Finding, order: Mapping[str, int]) -> tuple[int, str, int, str, str, int, int]:
    first = min((order.get(n, len(order)) for n in f.parameters), default=len(order))
    line, column = (f.location.line, f.location.column) if f.location else (0, 0)
    return (SEVERITIES.index(f.severity), f.code, first, f.group or "", f.message, line, column)


def judged(ctx: Context, half: str) -> Iterator[tuple[Placement, Parameter]]:
    """Every trainable parameter with a known shape and any elements that this half updates, with its place."""
    for place in ctx.placements:
        p = place.parameter
        if place.half == half and p and p.trainable and p.state in ("ok", "quantized") and p.numel:
            yield place, p
