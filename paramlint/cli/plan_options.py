"""Options of the commands that plan groups."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal

import click

from paramlint.cli.options import ModelOptions
from paramlint.config import Config

if TYPE_CHECKING:
    from paramlint.generation import Wish
    from paramlint.pipeline import Job


@dataclass(frozen=True)
class PlanOptions:
    """What is planned, and how. `layer_decay` is None for one lr in all layers, a number that the lr of each layer is
    multiplied with once more than that of the next, or the factor of every layer; `layers` says where layers come
    from."""

    optimizer: str | None
    fused: Literal["split", "whole", "adam"]
    layer_decay: float | list[float] | None
    layers: str


def _decay(ctx: click.Context, param: click.Parameter, value: str | None) -> float | list[float] | None:
    """Callback: a number, or several with commas or as a JSON list."""
    if value is None:
        return None
    text = value.strip()
    try:
        given = json.loads(text if text.startswith("[") or "," not in text else f"[{text.rstrip(',')}]")
    except json.JSONDecodeError:
        given = None
    several = given if isinstance(given, list) else [given]
    if not several or not all(type(n) in (int, float) and math.isfinite(n) and n >= 0 for n in several):
        raise click.BadParameter(f"{value!r} is neither a number such as 0.75 nor a list such as 0.5,0.75,1.0")
    if isinstance(given, list):
        return [float(n) for n in given]
    if not 0 < given <= 1:
        raise click.BadParameter(f"{value} is not over 0 and up to 1")
    return float(given)


def plan_options(f: Callable[..., None]) -> Callable[..., None]:
    """Adds the options, and hands them to the command as one `PlanOptions`, after its other positional arguments."""
    stack: list[Callable[[Any], Any]] = [
        click.option(
            "--optimizer",
            metavar="NAME",
            help="The optimizer that the groups are for; `paramlint optimizers` lists them.",
        ),
        click.option(
            "--fused",
            type=click.Choice(["split", "whole", "adam"]),
            default="split",
            show_default=True,
            help="Fused matrices (q, k and v in one): split where the optimizer can, else left to AdamW; "
            "orthogonalised as one; or left to AdamW.",
        ),
        click.option(
            "--layer-decay",
            callback=_decay,
            metavar="D",
            help="Smaller lr in earlier layers: 0.75 for as many times that of the next, or a list of one factor a "
            "layer, such as 0.5,0.75,1.0.",
        ),
        click.option(
            "--layers",
            metavar="SOURCE",
            help="Where layers come from: structure (if not given), beit, convnext, or a function OBJ of a parameter's "
            "name.",
        ),
    ]

    @wraps(f)
    def command(*args: Any, **given: Any) -> None:
        layers = given.pop("layers")
        if layers is not None and given["layer_decay"] is None:
            raise click.UsageError("--layers are for --layer-decay, which is not given")
        names = ("optimizer", "fused", "layer_decay")
        options = PlanOptions(**{name: given.pop(name) for name in names}, layers=layers or "structure")
        f(*args, options, **given)

    for option in reversed(stack):
        command = option(command)
    return command


def jobs_and_wish(options: ModelOptions, wanted: PlanOptions, config: Config) -> tuple[list[Job], Wish]:
    """One job for the target named, or one for each target of the configuration, all with an optimizer.

    Raises:
        ParamlintError: no optimizer of that name.
        click.UsageError: no optimizer is named; or no target.
    """
    from paramlint.cli.jobs import jobs, named_profile
    from paramlint.generation import Wish

    todo = jobs(
        options, config, profile=named_profile([wanted.optimizer] if wanted.optimizer else [], config.knowledge)
    )
    if any(job.profile is None for job in todo):
        raise click.UsageError("Missing option '--optimizer': say what the groups are for, such as torch-muon.")
    return todo, Wish(wanted.fused, wanted.layer_decay, wanted.layers)


def job_and_wish(options: ModelOptions, wanted: PlanOptions, config: Config) -> tuple[Job, Wish]:
    """As `jobs_and_wish`, for a command that works on one target.

    Raises:
        click.UsageError: no target is named, and the configuration has several.
    """
    todo, wish = jobs_and_wish(options, wanted, config)
    if len(todo) > 1:
        raise click.UsageError(f"Missing argument 'TARGET': one of {', '.join(job.label for job in todo)}.")
    return todo[0], wish
