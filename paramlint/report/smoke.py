"""What `paramlint smoke` says: a line for each check, and one JSON document described by smoke_schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paramlint.errors import ParamlintError
from paramlint.folding import fold
from paramlint.report.json import head, written
from paramlint.report.lines import Line, Style, line
from paramlint.report.text import LISTED
from paramlint.report.wording import counted
from paramlint.serial import encode
from paramlint.smoked import Smoke, SmokeCheck

SCHEMA = Path(__file__).with_name("smoke_schema.json")
_WORDS: dict[str, tuple[str, Style]] = {"pass": ("ok", "help"), "fail": ("FAIL", "error"), "skip": ("skip", "faint")}


def full(smoke: Smoke, *, verbose: bool = False) -> Iterator[Line]:
    """A heading, a line for each check, and what is behind those that failed; all details with `verbose`."""
    yield heading(smoke)
    if smoke.shrunk:
        yield line(("  shrunk: ", "note"), smoke.shrunk, hang=10)
    yield line()
    width = max((len(c.name) for c in smoke.checks), default=0)
    for check in smoke.checks:
        yield _check(check, width)
        if check.verdict == "fail" or verbose:
            yield from _behind(check)
    yield line()
    yield summary(smoke)


def concise(smoke: Smoke) -> Iterator[Line]:
    """`target: FAIL name code: figure: parameters`, one line for each check that failed."""
    for check in smoke.failed:
        names = [f.pattern for f in fold(check.parameters)]
        more = f", ... and {len(names) - LISTED} more" if len(names) > LISTED else ""
        subject = f": {', '.join(names[:LISTED])}{more}" if names else ""
        code = f" {check.code}" if check.code else ""
        yield line((smoke.target, "name"), ": ", ("FAIL", "error"), f" {check.name}{code}: {check.figure}{subject}")


def heading(smoke: Smoke) -> Line:
    model = smoke.model.rpartition(".")[2]
    many = f" in {smoke.processes} processes" if smoke.processes > 1 else ""
    inputs = f", {smoke.inputs}" if smoke.inputs else ""
    return line((smoke.target, "name"), f" ({model}) on {smoke.device}{many}{inputs}", hang=4)


def summary(smoke: Smoke) -> Line:
    """How many checks passed, failed and were left out; and the memory that it took."""
    verdicts = [c.verdict for c in smoke.checks]
    passed, skipped = verdicts.count("pass"), verdicts.count("skip")
    peak = f"; peak memory {smoke.peak / 2**30:.2f} GiB" if smoke.peak else ""
    left = f", {skipped} skipped" if skipped else ""
    if smoke.failed:
        failed = counted(len(smoke.failed), "check")
        return line((f"{failed} failed", "error"), f", {passed} passed{left}{peak}", hang=4)
    return line(("All checks passed", "help"), f": {passed} passed{left}{peak}", hang=4)


def document(found: Sequence[Smoke], failures: Mapping[str, ParamlintError] | None = None) -> str:
    """All smoke runs, and the targets that none could be made for."""
    return written(
        {
            **head(),
            "summary": {
                "targets": len(found),
                "failed": len(failures or {}),
                "checks_failed": sum(len(s.failed) for s in found),
            },
            "targets": [_target(s) for s in found],
            "failures": [
                {"target": target, "where": e.where, "message": e.message, "hint": e.hint}
                for target, e in (failures or {}).items()
            ],
        }
    )


def _check(check: SmokeCheck, width: int) -> Line:
    word, style = _WORDS[check.verdict]
    code: tuple[str, Style] = (f"{check.code} " if check.code else "", "error")
    return line((f"{word:<4}", style), f"  {check.name:<{width}}  ", code, check.figure, hang=8 + width)


def _behind(check: SmokeCheck) -> Iterator[Line]:
    patterns = fold(check.parameters)
    for folded in patterns[:LISTED] if check.verdict == "fail" else ():
        yield line(f"        {folded.pattern}", (f"  ×{len(folded)}" if len(folded) > 1 else "", "faint"))
    if check.verdict == "fail" and len(patterns) > LISTED:
        yield line((f"        ... and {sum(map(len, patterns[LISTED:]))} more", "faint"))
    for detail in check.details:
        yield line(("      | ", "faint"), detail, hang=8)
    if check.help and check.verdict == "fail":
        yield line(("      help: ", "help"), check.help, hang=12)


def _target(smoke: Smoke) -> dict[str, Any]:
    return {
        "target": smoke.target,
        "model": smoke.model,
        "device": smoke.device,
        "processes": smoke.processes,
        "inputs": smoke.inputs,
        "shrunk": smoke.shrunk,
        "checks": [
            {
                "name": c.name,
                "verdict": c.verdict,
                "figure": c.figure,
                "code": c.code or None,
                "parameters": list(c.parameters),
                "details": list(c.details),
                "help": c.help,
            }
            for c in smoke.checks
        ],
        "seconds": dict(smoke.times),
        "peak_bytes": smoke.peak,
        "facts": {key: encode(value) for key, value in smoke.facts.items()},
        "notes": list(smoke.notes),
    }
