"""What a smoke step found out: plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from paramlint.parameter import Plain

#: "skip" is a check that does not apply here, or that this machine cannot make; the figure says why.
Verdict = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class SmokeCheck:
    """One thing that a real step was held against.

    `name` is a word or two with hyphens ("gradients", "frozen-still", "resume"). `figure` is what was measured, in one
    line, with units. `parameters` are those it is about, in model order, where it failed. `code` is the rule that a
    failure belongs to, "" for none. `details` are further facts, one line each; `help` says what to do.
    """

    name: str
    verdict: Verdict
    figure: str
    parameters: tuple[str, ...] = ()
    code: str = ""
    details: tuple[str, ...] = ()
    help: str = ""


@dataclass(frozen=True)
class Smoke:
    """One smoke run. `device` is what it ran on ("cpu", "cuda: NVIDIA H200"), `processes` how many there were.

    `shrunk` says how a model that is too large for the device was made smaller, "" where it was not. `times` are
    seconds of forward, backward and optimizer, and of torch's AdamW over the same parameters; `peak` bytes of memory.
    `traceback` is that of a step that failed.
    """

    target: str
    model: str
    device: str
    inputs: str
    checks: tuple[SmokeCheck, ...]
    processes: int = 1
    shrunk: str = ""
    times: Mapping[str, float] = field(default_factory=dict)
    peak: int = 0
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Plain] = field(default_factory=dict)
    traceback: str = ""

    @property
    def failed(self) -> tuple[SmokeCheck, ...]:
        return tuple(c for c in self.checks if c.verdict == "fail")
