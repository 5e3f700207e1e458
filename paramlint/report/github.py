"""Findings as commands to a GitHub workflow, which shows them beside the lines.

Only the first ten of a severity in a step are shown, so that the gravest come first, and how many there are in all.
"""

from __future__ import annotations

from collections.abc import Sequence

from paramlint.finding import SEVERITIES, Severity
from paramlint.registry import by_code
from paramlint.report import text
from paramlint.report.placed import Placed, placed
from paramlint.run import Files, Run

_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}


def commands(runs: Sequence[Run], files: Files | None) -> str:
    """One command a line, and the summary."""
    found = sorted(placed(runs, files), key=lambda p: SEVERITIES.index(p.finding.severity))
    lines = [_command(p) for p in found]
    if lines:
        lines.append(text.summary(runs, files).text)
    return "".join(f"{line}\n" for line in lines)


def _command(p: Placed) -> str:
    f = p.finding
    properties: dict[str, object] = {"title": f"paramlint {f.code} ({by_code()[f.code].name})"}
    if p.path:
        properties |= {"file": p.path, "line": p.start[0]}
        if p.end is not None and p.end[0] == p.start[0]:
            # columns are only for what stands in one line; the last one is itself part of it
            properties |= {"col": p.start[1], "endLine": p.end[0], "endColumn": max(p.end[1] - 1, p.start[1])}
        elif p.end is not None:
            properties |= {"endLine": p.end[0]}
    given = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    said = f"{p.message}. {f.help[:1].upper()}{f.help[1:]}" if f.help else p.message
    return f"::{_COMMANDS[f.severity]} {given}::{_data(said)}"


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
