"""Asks a worker process for a smoke step. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paramlint.model import process
from paramlint.model.process import Request
from paramlint.serial import decode, encode
from paramlint.smoked import Smoke
from paramlint.target import parse, parse_object


@dataclass(frozen=True)
class SmokeRequest:
    """What a smoke step is made of, beside the model that `build` names (with its inputs and its limits).

    `optimizers` are texts of objects that give optimizers, `groups` of those that give param groups for `profile`.
    With neither, the groups are those of a plan for `profile`. `policy`, `roles` and `evidence` are those of
    `paramlint.pipeline.Job`; `fused` and `style` those of `paramlint codegen`. `device` is "auto", "cuda", "cpu" or
    "mps". At least `steps` steps are made; with `processes` above 1, one more in so many processes.
    """

    build: Request
    optimizers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    profile: str = ""
    loss: str = ""
    device: str = "auto"
    steps: int = 1
    processes: int = 1
    policy: str = "default"
    roles: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    fused: str = "split"
    label: str = ""


def run(request: SmokeRequest) -> Smoke:
    """Makes the step in a process of its own, which is gone afterwards with all that it held.

    Raises:
        ParamlintError: the model, its optimizer or its inputs cannot be had, or do not fit the device.
    """
    target = parse(request.build.target)
    for text in filter(None, (*request.optimizers, *request.groups, request.loss, request.build.inputs)):
        parse_object(text, target)
    answer = process.ask(request.build, "paramlint.smoke.worker", payload(request))
    return decode(Smoke, answer)


def payload(request: SmokeRequest) -> object:
    """The request as the worker reads it: all of it, and the arguments of the target as they were written."""
    return {"smoke": encode(request), "kwargs": encode(request.build.kwargs)}
