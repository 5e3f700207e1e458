"""Findings as a GitLab Code Quality report: https://docs.gitlab.com/ci/testing/code_quality/"""

from __future__ import annotations

from collections.abc import Sequence

from paramlint.finding import Severity
from paramlint.report.json import written
from paramlint.report.placed import Placed, placed
from paramlint.run import Files, Run

_SEVERITIES: dict[Severity, str] = {"error": "major", "warning": "minor", "note": "info"}


def document(runs: Sequence[Run], files: Files | None) -> str:
    """A JSON array. A finding without a file is left out: GitLab has no place for it."""
    return written([_issue(p) for p in placed(runs, files) if p.path])


def _issue(p: Placed) -> dict[str, object]:
    line, column = p.start
    end = p.end or p.start
    return {
        "description": p.message,
        "check_name": p.finding.code,
        "fingerprint": p.key,
        "severity": _SEVERITIES[p.finding.severity],
        "location": {
            "path": p.path,
            "positions": {"begin": {"line": line, "column": column}, "end": {"line": end[0], "column": end[1]}},
        },
    }
