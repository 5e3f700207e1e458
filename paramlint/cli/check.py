"""`paramlint check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import click

from paramlint.cli.failure import note
from paramlint.cli.options import ModelOptions, SourceOptions, configuration, model_options, source_options
from paramlint.finding import SEVERITIES
from paramlint.registry import check_selectors
from paramlint.run import FileRun, Files, Run
from paramlint.selection import Selection

if TYPE_CHECKING:
    from paramlint.cli.screen import Screen
    from paramlint.cli.sources import Found
    from paramlint.config import Config
    from paramlint.errors import ParamlintError
    from paramlint.report.lines import Line


@click.command("check")
@model_options("full", "concise", "json", "sarif", "github", "gitlab", several=True)
@click.option(
    "--groups", multiple=True, metavar="OBJ", help="What gives the param groups: a function of the model, or a list."
)
@click.option(
    "--optimizer",
    multiple=True,
    metavar="OBJ|NAME",
    help="What gives an optimizer; or the name of the one that the groups are for, as `paramlint optimizers` lists it.",
)
@source_options
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
    targets: tuple[str, ...],
    sources: SourceOptions,
    groups: tuple[str, ...],
    optimizer: tuple[str, ...],
    select: tuple[str, ...],
    extend_select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str | None,
    exit_zero: bool,
    statistics: bool,
) -> None:
    """Whether an optimizer's param groups agree with what the parameters are for: in training scripts, and of models.

    A TARGET that is a file or a folder is read as source and never run: train.py, src/, or - for standard input.
    `# paramlint: target=pkg.module:callable` in a script ties it to a model, which is then built as below, unless
    --no-build is given.

    Any other TARGET builds a model: pkg.module:callable, path/file.py:callable, hf:<model type> or timm:<name>; or it
    is the name of a target in the configuration. Without any, all of these. OBJ is path/file.py:name,
    pkg.module:name, or :name beside the target. Your code is imported and run, in a process of its own with the network
    shut; then the forward of a stand-in, without your weights.
    """
    from paramlint.cli.screen import screen

    out = screen(options.color, options.output_file)
    config = configuration(options)
    chosen = Selection(
        _codes("--select", select) or _none_selected() if select else None,
        _codes("--extend-select", extend_select),
        _codes("--ignore", ignore),
    )
    paths, models = _sorted(targets, sources, config)
    if models is None or models:
        if sources.diff:
            raise click.UsageError("--diff is for source files")
        runs, failures, several = _models(models, options, config, (*groups, *optimizer), chosen)
    else:
        _for_models_alone(groups, optimizer, targets)
        runs, failures, several = [], {}, False
    found = None
    if models is not None:
        from paramlint.cli.sources import look as read

        found = read(paths, sources, options, config, chosen)
        failures = {**found.failures, **failures}
    if sources.diff and found is not None:
        out.write(found.diff)
        _would_fix(found, options)
        ctx.exit(2 if failures else int(bool(found.diff) and not exit_zero))
    files = found.files if found is not None and paths else None
    said = _written(out, runs, files, failures, options, statistics, several=several)
    if found is not None and found.text is not None:
        out.write(found.text)
        click.echo(said, nl=False, err=True)
    else:
        out.write(said)
    mildest = SEVERITIES.index(next(s for s in SEVERITIES if s == (fail_on or config.fail_on)))
    looked: tuple[Run | FileRun, ...] = (*runs, *(files.runs if files is not None else ()))
    failing = any(run.worst is not None and SEVERITIES.index(run.worst) <= mildest for run in looked)
    ctx.exit(2 if failures else int(failing and not exit_zero))


def _codes(option: str, given: Sequence[str]) -> tuple[str, ...]:
    codes = tuple(code.strip() for text in given for code in text.split(",") if code.strip())
    check_selectors(codes, option)
    return codes


def _none_selected() -> NoReturn:
    """`--select "$CODES"` with nothing in it would turn off every rule, and say that all is well."""
    raise click.UsageError("--select names no rule")


def _sorted(targets: Sequence[str], given: SourceOptions, config: Config) -> tuple[list[str], tuple[str, ...] | None]:
    """What of the targets is source, and what builds models; None for all models of the configuration.

    Hooks may come without any file: then there is nothing to do.
    """
    if not targets:
        return [], () if given.force_exclude or not given.build else None
    from paramlint.cli.sources import is_source

    paths = [t for t in targets if is_source(t, config)]
    return paths, tuple(t for t in targets if t not in paths)


def _for_models_alone(groups: Sequence[str], optimizer: Sequence[str], targets: Sequence[str]) -> None:
    for option, given in (("--groups", groups), ("--optimizer", optimizer)):
        if given and targets:
            raise click.UsageError(f"{option} is for models, and {targets[0]} is source: name what builds the model")


def _models(
    targets: tuple[str, ...] | None,
    options: ModelOptions,
    config: Config,
    given: Sequence[str],
    chosen: Selection,
) -> tuple[list[Run], Mapping[str, ParamlintError], bool]:
    """The runs of models, what could not be looked at, and whether there are several targets."""
    from paramlint.cli.jobs import jobs, look, named_profile, say_untraced
    from paramlint.suppress import of_other_parameters

    objects = tuple(text for text in given if ":" in text)
    profile = named_profile([text for text in given if ":" not in text], config.knowledge, or_object=True)
    todo = [
        job
        for target in (targets if targets is not None else (None,))
        for job in jobs(replace(options, target=target), config, objects=objects, profile=profile, chosen=chosen)
    ]
    runs, failures = look(todo, options, checks=True)
    say_untraced(runs, options)
    if config.ignored:
        runs = [replace(run, findings=of_other_parameters(run.findings, config.ignored)) for run in runs]
    return runs, failures, len(todo) > 1


def _would_fix(found: Found, options: ModelOptions) -> None:
    if options.quiet:
        return
    from paramlint.report.wording import counted

    fixed = [len(run.fixed) for run in found.files.runs if run.fixed]
    if fixed:
        note(f"would fix {counted(sum(fixed), 'finding')} in {counted(len(fixed), 'file')}")


def _written(
    out: Screen,
    runs: Sequence[Run],
    files: Files | None,
    failures: Mapping[str, ParamlintError],
    options: ModelOptions,
    statistics: bool,
    *,
    several: bool,
) -> str:
    if options.output_format == "json":
        from paramlint.report import json

        return json.document(runs, failures, files=files)
    if options.output_format == "sarif":
        from paramlint.report import sarif

        return sarif.document(runs, files, failures)
    if options.output_format == "gitlab":
        from paramlint.report import gitlab

        return gitlab.document(runs, files)
    if options.output_format == "github":
        from paramlint.report import github

        return github.commands(runs, files)
    return out.lines(_text(runs, files, options, statistics, several=several))


def _text(
    runs: Sequence[Run], files: Files | None, options: ModelOptions, statistics: bool, *, several: bool
) -> list[Line]:
    if files is not None and not (files.runs or runs) and options.quiet:
        return []  # as most runs of a hook end
    from paramlint.report import text
    from paramlint.report.lines import line

    found: list[Line] = []
    full = options.output_format == "full" and not statistics
    for file in files.runs if files is not None and not statistics else ():
        found += text.full_file(file) if full else text.concise_file(file)
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
        found += text.statistics(runs, files)
    checked = bool(files and files.read) or any(run.proposal or run.findings for run in runs)
    if checked and not options.quiet:
        hint = text.explain_hint(runs, files) if full else None
        found += [text.summary(runs, files), *([hint] if hint else [])]
    while found and not found[-1].text:
        found.pop()
    return found
