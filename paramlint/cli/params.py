"""`paramlint params`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from paramlint.cli.options import ModelOptions, configuration, model_options
from paramlint.cli.screen import Screen
from paramlint.errors import ParamlintError
from paramlint.parameter import Parameter
from paramlint.run import Run


@click.command("params")
@model_options("table", "full", "concise", "json")
@click.option("--flat", is_flag=True, help="One row for each parameter: do not fold repeated layers.")
@click.option("--why", metavar="NAME", help="All evidence on a parameter, an alias or a folded pattern.")
@click.pass_context
def command(ctx: click.Context, options: ModelOptions, flat: bool, why: str | None) -> None:
    """What each parameter of TARGET is for, and where it goes.

    TARGET builds a model: pkg.module:callable, path/file.py:callable, hf:<model type> or timm:<name>; or it is the
    name of a target in the configuration. Without one, all of these. Your code is imported and run, in a process of
    its own with the network shut; then the forward of a stand-in, without your weights.
    """
    from paramlint.cli.jobs import jobs, look, say_untraced
    from paramlint.cli.screen import screen

    out = screen(options.color, options.output_file)
    config = configuration(options)
    runs, failures = look(jobs(options, config), options, checks=False)
    if why is not None or options.output_format not in ("table", "full"):  # these say it themselves
        say_untraced(runs, options)
    if why is not None:
        text = _why(runs, failures, why, out, options.output_format == "json", config.knowledge)
    elif options.output_format == "json":
        from paramlint.report.json import document

        text = document(runs, failures)
    else:
        text = "\n".join(_shown(run, out, options.output_format, flat, config.knowledge) for run in runs)
    out.write(text)
    ctx.exit(2 if failures else 0)


def _shown(run: Run, out: Screen, form: str, flat: bool, folders: tuple[Path, ...]) -> str:
    from paramlint.report import table

    if form == "concise":
        return table.concise(run, flat=flat)
    if form == "full":
        evidence = _evidence(run, run.inventory.parameters, out, folders)
        return f"{table.heading(run)}\n\n{evidence}{table.footer(run)}"
    return table.text(run, flat=flat) if out.width is None else out.rich(table.terminal(run, out.width, flat=flat))


def _evidence(run: Run, parameters: Sequence[Parameter], out: Screen, folders: tuple[Path, ...]) -> str:
    from paramlint import knowledge
    from paramlint.report.evidence import lines

    return out.lines(lines(parameters, run.inventory, knowledge.load(folders).policy(run.policy)))


def _why(
    runs: Sequence[Run],
    failures: Mapping[str, ParamlintError],
    name: str,
    out: Screen,
    as_json: bool,
    folders: tuple[Path, ...],
) -> str:
    """The parameters of that name in the targets that have it; one of them must."""
    from paramlint.report.evidence import find

    found: list[tuple[Run, list[Parameter]]] = []
    for run in runs:
        try:
            found.append((run, find(run.inventory, name)))
        except ParamlintError:
            if run is runs[-1] and not found:
                raise
    if as_json:
        from paramlint.report.json import document

        return document([run for run, _ in found], failures, only={p.name for _, some in found for p in some})
    return "\n".join(_evidence(run, some, out, folders) for run, some in found)
