"""One occurrence of a rule: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from paramlint.parameter import Location, Plain
from paramlint.record import dataclass

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Fix:
    """How the source of a finding can be mended.

    `kind` names a rewriting (see `paramlint.rewrite`), done to the expression or statement that starts at `start` and
    ends before `end` (line and column, both from 1, columns in characters); `data` has what the rewriting needs.
    A safe fix changes nothing but the mistake. `title` says what it does, in an imperative line.
    """

    kind: str
    start: tuple[int, int]
    end: tuple[int, int]
    safe: bool
    title: str
    data: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """What is wrong, with which parameters, where, and what to do.

    `parameters` are names as in the inventory, in its order; () where the finding is about a group or the model.
    `message` says what is wrong without naming the parameters, `help` what to do, `details` the facts behind it
    (evidence, sources), one line each. `fix` mends it, where it was read in a source file.
    """

    code: str
    severity: Severity
    message: str
    help: str
    parameters: tuple[str, ...] = ()
    group: str | None = None
    location: Location | None = None
    details: tuple[str, ...] = ()
    fix: Fix | None = None
