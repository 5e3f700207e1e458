"""`paramlint check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from paramlint.cli.failure import note
from paramlint.cli.options import ModelOptions, model_options
from paramlint.finding import SEVERITIES
from paramlint.registry import check_selectors
from paramlint.run import Run
from paramlint.selection import Selection

if TYPE_CHECKING:
    from paramlint.report.lines import Line


@click.command("check")
@model_options("full", "concise", "json")
@click.option(
    "--groups", multiple=True, metavar="OBJ", help="What gives the param groups: a function of the model, or a list."
)
@click.option(
    "--optimizer",
    multiple=True,
    metavar="OBJ|NAME",
    help="What gives an optimizer; or the name of the one that the groups are for, as `paramlint optimizers` lists it.",
)
@click.option("--select", multiple=True, metavar="CODES", help="Rules that speak: codes or prefixes, with commas.")
@click.option("--extend-select", multiple=True, metavar="CODES", help="Rules that speak besides.")
@click.option("--ignore", multiple=True, metavar="CODES", help="Rules that are silent.")
@click.option(
    "--fail-on", type=click.Choice(SEVERITIES), help="The mildest severity that exits with 1; error by default."
)
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever was found.")
@click.option("--statistics", is_flag=True, help="How often each rule spoke, instead of the findings.")
@click.pass_context
def command(
    ctx: click.Context,
    options: ModelOptions,
    groups: tuple[str, ...],
    optimizer: tuple[str, ...],
    select: tuple[str, ...],
    extend_select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str | None,
    exit_zero: bool,
    statistics: bool,
) -> None:
    """Whether an optimizer's param groups agree with what the parameters of TARGET are for.

    TARGET builds a model: pkg.module:callable, path/file.py:callable, hf:<model type> or timm:<name>; or it is the
    name of a target in the configuration. Without one, all of these. OBJ is path/file.py:name, pkg.module:name, or
    :name beside the target. Your code is imported and run, in a process of its own with the network shut; then the
    forward of a stand-in, without your weights.
    """
    from paramlint.cli.jobs import configuration, jobs, look, named_profile, say_untraced
    from paramlint.cli.screen import screen

    out = screen(options.color, options.output_file)
    config = configuration(options)
    objects = tuple(text for text in optimizer if ":" in text)
    profile = named_profile([text for text in optimizer if ":" not in text], config.knowledge, or_object=True)
    chosen = Selection(
        _codes("--select", select) or _none_selected() if select else None,
        _codes("--extend-select", extend_select),
        _codes("--ignore", ignore),
    )
    todo = jobs(options, config, objects=(*groups, *objects), profile=profile, chosen=chosen)
    runs, failures = look(todo, options, checks=True)
    say_untraced(runs, options)
    if options.output_format == "json":
        from paramlint.report.json import document

        out.write(document(runs, failures))
    else:
        out.write(out.lines(_text(runs, options, statistics, several=len(todo) > 1)))
    mildest = SEVERITIES.index(next(s for s in SEVERITIES if s == (fail_on or config.fail_on)))
    failing = any(run.worst is not None and SEVERITIES.index(run.worst) <= mildest for run in runs)
    ctx.exit(2 if failures else int(failing and not exit_zero))


def _codes(option: str, given: Sequence[str]) -> tuple[str, ...]:
    codes = tuple(code.strip() for text in given for code in text.split(",") if code.strip())
    check_selectors(codes, option)
    return codes


def _none_selected() -> NoReturn:
    """`--select "$CODES"` with nothing in it would turn off every rule, and say that all is well."""
    raise click.UsageError("--select names no rule")


def _text(runs: Sequence[Run], options: ModelOptions, statistics: bool, *, several: bool) -> list[Line]:
    from paramlint.report import text
    from paramlint.report.lines import line

    found: list[Line] = []
    full = options.output_format == "full" and not statistics
    for run in runs:
        if full:
            found += [text.heading(run), line()] if several else []
            found += text.full(run)
            if run.proposal is None:
                found += [*text.split(run), line()]
        elif run.proposal is None and not options.quiet:
            note(f"{run.target}: no groups to check; only the rules that need none spoke")
        if options.output_format == "concise" and not statistics:
            found += text.concise(run)
    if statistics:
        found += text.statistics(runs)
    checked = any(run.proposal or run.findings for run in runs)
    if checked and not options.quiet:
        hint = text.explain_hint(runs) if full else None
        found += [text.summary(runs), *([hint] if hint else [])]
    while found and not found[-1].text:
        found.pop()
    return found
