"""One occurrence of a rule: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paramlint.parameter import Location

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What is wrong, with which parameters, where, and what to do.

    `parameters` are names as in the inventory, in its order; () where the finding is about a group or the model.
    `message` says what is wrong without naming the parameters, `help` what to do, `details` the facts behind it
    (evidence, sources), one line each.
    """

    code: str
    severity: Severity
    message: str
    help: str
    parameters: tuple[str, ...] = ()
    group: str | None = None
    location: Location | None = None
    details: tuple[str, ...] = ()
