"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from paramlint.cli.failure import want_traceback
from paramlint.cli.screen import Color
from paramlint.errors import ParamlintError
from paramlint.parameter import LAYERS, Plain
from paramlint.record import dataclass

if TYPE_CHECKING:
    from paramlint.config import Config

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]


@dataclass(frozen=True)
class SourceOptions:
    """What `check` takes for source files."""

    stdin_filename: str | None
    force_exclude: bool
    inventory: Path | None
    build: bool
    fix: bool
    unsafe_fixes: bool
    diff: bool


@dataclass(frozen=True)
class ModelOptions:
    """What `params` and `check` both take."""

    target: str | None
    kwargs: Mapping[str, Plain]
    policy: str | None
    evidence: tuple[str, ...]
    inputs: str | None
    trace: bool | None
    timeout: float | None
    memory_limit: int | None
    allow_network: bool
    device: Literal["meta", "cpu"]
    config: Path | None
    isolated: bool
    output_format: str
    output_file: Path | None
    color: Color
    quiet: bool
    verbose: bool


def _object(ctx: click.Context, param: click.Parameter, value: str) -> Any:
    """Callback: a JSON object."""
    wanted = "a JSON object such as '{\"n_layer\": 2}' is wanted"
    try:
        data = json.loads(value)
    except json.JSONDecodeError as e:
        raise click.BadParameter(f"{e.msg} at column {e.colno}; {wanted}") from None
    if not isinstance(data, dict):
        raise click.BadParameter(wanted)
    return data


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Callback: a number of bytes, written such as 8GB."""
    from paramlint.config import size

    try:
        return None if value is None else size(value)
    except ValueError as e:
        raise click.BadParameter(str(e)) from None


def _layers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Callback: evidence layers with commas between them; all where none is given."""
    if value is None:
        return LAYERS
    from paramlint.errors import near

    layers = tuple(dict.fromkeys(layer.strip() for layer in value.split(",") if layer.strip()))
    for layer in layers:
        if layer not in LAYERS:
            hint = near(layer, LAYERS) or f"layers are {', '.join(LAYERS)}"
            raise click.BadParameter(f"no evidence layer {layer!r}; {hint}")
    if not layers:
        raise click.BadParameter(f"it names no layer; layers are {', '.join(LAYERS)}")
    return layers


def _seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Callback: not `nan`, which is in any range."""
    if value is not None and value != value:
        raise click.BadParameter("nan is not a number of seconds")
    return value


def color_option(f: F) -> F:
    option: Decorator[F] = click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        help="Colour: on a terminal without NO_COLOR, always, or never.",
    )
    return option(f)


def traceback_option(*, hidden: bool = False) -> Callable[[F], F]:
    return click.option(
        "--traceback",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        hidden=hidden,
        callback=want_traceback,
        help="Show the whole traceback of an error.",
    )


def format_option(*formats: str) -> Callable[[F], F]:
    return click.option(
        "--output-format", type=click.Choice(formats), default=formats[0], show_default=True, help="What is written."
    )


def configuration(options: ModelOptions) -> Config:
    """The project's configuration, as the options say where it is.

    Raises:
        click.UsageError: they exclude each other.
        ParamlintError: it cannot be read, or something in it is wrong.
    """
    from paramlint.config import Config, load

    if options.isolated and options.config:
        raise click.UsageError("--isolated and --config exclude each other")
    if options.isolated:
        return Config()
    if options.config and not options.config.exists():
        raise ParamlintError("no such file", where=str(options.config))
    return load(options.config)


def source_options(f: Callable[..., None]) -> Callable[..., None]:
    """Adds the options for source files, and hands them to the command as one `SourceOptions`, named `sources`."""
    stack: list[Callable[[Any], Any]] = [
        click.option("--fix", is_flag=True, help="Mend the files, as far as that changes nothing else."),
        click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: also fixes that may change more."),
        click.option("--diff", is_flag=True, help="Show what --fix would change, and change nothing."),
        click.option("--build/--no-build", default=True, help="Whether the models that scripts are tied to are built."),
        click.option(
            "--inventory",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="A snapshot of the model that the scripts are for.",
        ),
        click.option("--stdin-filename", metavar="NAME", help="What `-` is called, and where it lies."),
        click.option("--force-exclude", is_flag=True, help="Leave out excluded files that are named, too."),
    ]
    names = [field.name for field in fields(SourceOptions)]

    @wraps(f)
    def command(*positional: Any, **given: Any) -> None:
        f(*positional, sources=SourceOptions(**{name: given.pop(name) for name in names}), **given)

    for option in reversed(stack):
        command = option(command)
    return command


def model_options(
    *formats: str, devices: tuple[str, ...] = ("meta", "cpu"), several: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the options, and hands them to the command as one `ModelOptions`, its first argument.

    Without formats there is no `--output-format`, and the one of the options is "". The first of `devices` is the
    default. With `several` the command has an argument `targets` besides, and `target` of the options is None.
    """
    path = click.Path(path_type=Path, dir_okay=False)
    stack: list[Callable[[Any], Any]] = [
        click.argument("targets", nargs=-1) if several else click.argument("target", required=False),
        click.option("--kwargs", callback=_object, default="{}", metavar="JSON", help="Arguments of the target."),
        click.option("--policy", metavar="NAME", help="Which roles go to Muon; `paramlint policies` lists them."),
        click.option(
            "--inputs",
            metavar="OBJ",
            help="What the forward takes: a tensor, tuple, dict, or a function that returns one. Found if not given.",
        ),
        click.option("--trace/--no-trace", default=None, help="Whether the forward of a stand-in is run."),
        click.option(
            "--evidence",
            callback=_layers,
            metavar="LAYERS",
            help=f"What may speak for a role, with commas: {', '.join(LAYERS)}. All if not given.",
        ),
        *((format_option(*formats),) if formats else ()),
        click.option("-o", "--output-file", type=path, help="Write there instead of to stdout."),
        click.option(
            "--timeout",
            type=click.FloatRange(0, min_open=True),
            callback=_seconds,
            metavar="S",
            help="Seconds to build in; 300 if not given. The trace has as many, but no more than 60.",
        ),
        click.option("--memory-limit", callback=_size, metavar="SIZE", help="Memory to build in, such as 8GB."),
        click.option("--allow-network", is_flag=True, help="Let the target reach the network."),
        click.option(
            "--device",
            type=click.Choice(devices),
            default=devices[0],
            show_default=True,
            help="Where to build." if "meta" in devices else "Where to step; auto is the best there is.",
        ),
        click.option("--config", type=path, help="A configuration file, instead of the nearest."),
        click.option("--isolated", is_flag=True, help="Read no configuration file."),
        color_option,
        traceback_option(),
        click.option("-q", "--quiet", is_flag=True, help="Results only: no notes, no summary."),
        click.option("-v", "--verbose", is_flag=True, help="Say what is done, and what the target prints."),
    ]
    names = [field.name for field in fields(ModelOptions)]

    def decorate(f: Callable[..., None]) -> Callable[..., None]:
        @wraps(f)
        def command(**given: Any) -> None:
            absent = {"target": None, "output_format": ""}
            options = ModelOptions(**{name: given.pop(name, absent.get(name)) for name in names})
            if options.inputs and (options.trace is False or "use" not in options.evidence):
                raise click.UsageError("--inputs are for the trace, which is left out")
            f(options, **given)

        for option in reversed(stack):
            command = option(command)
        return command

    return decorate
