"""Findings on models and in files alike, each with its place: what the reports for other tools are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from paramlint.finding import Finding
from paramlint.folding import fold
from paramlint.report.wording import path_of
from paramlint.run import Edit, Files, Run

#: How many folded patterns of parameters a message lists.
LISTED = 6


@dataclass(frozen=True)
class Placed:
    """`path` is relative to the working folder for what lies in it, "" where there is no file. `end` is past the last
    character, None where only the line is known. `key` tells findings apart, and stays where lines above change."""

    finding: Finding
    path: str
    start: tuple[int, int]
    end: tuple[int, int] | None
    key: str
    edit: Edit | None = None

    @property
    def message(self) -> str:
        """What is wrong, with the parameters."""
        patterns = [folded.pattern for folded in fold(self.finding.parameters)]
        more = [f"... and {len(patterns) - LISTED} more"] if len(patterns) > LISTED else []
        names = ", ".join([*patterns[:LISTED], *more])
        named = any(f"`{pattern}`" in self.finding.message for pattern in patterns)  # as in what is said of source
        return f"{self.finding.message}: {names}" if names and not named else self.finding.message


def placed(runs: Sequence[Run], files: Files | None) -> Iterator[Placed]:
    """All findings, those in files first, in the order in which they are reported."""
    seen: dict[str, int] = {}
    for file in files.runs if files is not None else ():
        for f, spot in zip(file.findings, file.spots, strict=True):
            path = file.path.replace("\\", "/")
            start = (f.location.line, f.location.column) if f.location else (1, 1)
            key = _hash(f.code, path, spot.excerpt.strip(), seen)
            yield Placed(f, path, start, spot.end, key, spot.edit)
    for run in runs:
        for f in run.findings:
            path = path_of(f.location).replace("\\", "/") if f.location else ""
            start = (f.location.line, f.location.column) if f.location else (1, 1)
            key = _hash(f.code, run.target, f"{f.message} {' '.join(f.parameters)}", seen)
            yield Placed(f, path, start, None, key)


def _hash(code: str, where: str, what: str, seen: dict[str, int]) -> str:
    digest = sha256("\0".join((code, where, what)).encode(errors="replace")).hexdigest()[:16]
    seen[digest] = seen.get(digest, 0) + 1
    return f"{digest}:{seen[digest]}"
