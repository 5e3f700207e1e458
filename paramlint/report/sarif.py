"""Findings as SARIF 2.1.0, with what GitHub code scanning asks for.

The format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
What GitHub reads of it: https://docs.github.com/en/code-security/reference/code-scanning/sarif-support-for-code-scanning
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import abspath, isabs
from pathlib import Path
from typing import Any
from urllib.parse import quote

from paramlint import __version__
from paramlint.errors import ParamlintError
from paramlint.finding import Severity
from paramlint.registry import by_code, page
from paramlint.report.json import written
from paramlint.report.placed import Placed, placed
from paramlint.run import Files, Run

_BASE = "%SRCROOT%"
_PROBLEMS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "recommendation"}
#: The longest description that GitHub takes.
_LONGEST = 1024


def document(runs: Sequence[Run], files: Files | None, failures: Mapping[str, ParamlintError] | None = None) -> str:
    """One SARIF run: all findings, the rules behind them, and what could not be looked at."""
    found = list(placed(runs, files))
    codes = sorted({p.finding.code for p in found})
    return written(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {
                        "driver": {
                            "name": "paramlint",
                            "version": __version__,
                            "semanticVersion": __version__,
                            "rules": [_rule(code) for code in codes],
                        }
                    },
                    "columnKind": "unicodeCodePoints",
                    "invocations": [_invocation(failures or {})],
                    "results": [_result(p, codes.index(p.finding.code)) for p in found],
                }
            ],
        }
    )


def _rule(code: str) -> dict[str, Any]:
    rule = by_code()[code]
    try:
        markdown = page(code)
    except OSError:
        markdown = ""
    summary = rule.summary[:1].upper() + rule.summary[1:] + "."
    paragraph = " ".join(markdown.partition("\n")[2].strip().split("\n\n")[0].split())
    help = {"text": f"{summary} `paramlint explain {code}` says more."}
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": summary},
        "fullDescription": {"text": (paragraph or summary)[:_LONGEST]},
        "help": {**help, "markdown": markdown} if markdown else help,
        "defaultConfiguration": {"level": rule.severity},
        "properties": {
            "precision": "high",
            "problem.severity": _PROBLEMS[rule.severity],
            "tags": ["correctness", "pytorch", "optimizer"],
        },
    }


def _result(p: Placed, index: int) -> dict[str, Any]:
    f = p.finding
    text = f"{p.message}\n{f.help}" if f.help else p.message
    result: dict[str, Any] = {
        "ruleId": f.code,
        "ruleIndex": index,
        "level": f.severity,
        "message": {"text": text},
        "partialFingerprints": {"primaryLocationLineHash": p.key},
    }
    if p.path:
        result["locations"] = [
            {"physicalLocation": {"artifactLocation": _artifact(p.path), "region": _region(p.start, p.end)}}
        ]
    if p.edit is not None and f.fix is not None:
        deleted = _region(p.edit.start, p.edit.end)
        replacement = {"deletedRegion": deleted, "insertedContent": {"text": p.edit.text}}
        result["fixes"] = [
            {
                "description": {"text": f.fix.title},
                "artifactChanges": [{"artifactLocation": _artifact(p.path), "replacements": [replacement]}],
            }
        ]
    return result


def _region(start: tuple[int, int], end: tuple[int, int] | None) -> dict[str, int]:
    region = {"startLine": start[0], "startColumn": start[1]}
    return {**region, "endLine": end[0], "endColumn": end[1]} if end is not None else region


def _artifact(path: str) -> dict[str, str]:
    """Relative to the working folder, which is the root of the checkout where reports are uploaded."""
    if isabs(path) or path.startswith("../"):
        return {"uri": Path(abspath(path)).as_uri()}
    return {"uri": quote(path, errors="surrogateescape"), "uriBaseId": _BASE}


def _invocation(failures: Mapping[str, ParamlintError]) -> dict[str, Any]:
    told = [{"level": "error", "message": {"text": f"{target}: {e}"}} for target, e in failures.items()]
    notifications = {"toolExecutionNotifications": told} if told else {}
    return {"executionSuccessful": not failures, **notifications}
