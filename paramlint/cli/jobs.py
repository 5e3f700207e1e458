"""What to look at: the command line over the configuration, and the looking itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from paramlint import selection
from paramlint.cli.failure import note, obeys, report
from paramlint.cli.options import ModelOptions
from paramlint.config import Config, Settings, TargetConfig, load
from paramlint.errors import ParamlintError
from paramlint.pipeline import ASSUMED, Job, analyse
from paramlint.report import traced
from paramlint.report.visible import visible
from paramlint.run import Run
from paramlint.selection import Selection

if TYPE_CHECKING:
    from paramlint.knowledge import Knowledge


def named_profile(names: Sequence[str], folders: Sequence[Path], *, or_object: bool = False) -> str | None:
    """The profile that `--optimizer` names; with `or_object`, the option takes objects too.

    Raises:
        ParamlintError: there is none of that name.
        click.UsageError: two are named.
    """
    if not names:
        return None
    from paramlint import knowledge

    known = knowledge.load(folders)
    try:
        found = list(dict.fromkeys(known.profile(name).name for name in names))
    except ParamlintError as e:
        hint = f"{e.hint.rstrip('?')}, or for an object :{names[0]}?" if or_object else e.hint
        raise ParamlintError(e.message, where="--optimizer", hint=hint) from None
    if len(found) > 1:
        raise click.UsageError(f"--optimizer names two optimizers, {found[0]} and {found[1]}; give objects for that")
    return found[0]


def jobs(
    options: ModelOptions,
    config: Config,
    *,
    objects: tuple[str, ...] = (),
    profile: str | None = None,
    chosen: Selection | None = None,
) -> list[Job]:
    """One job for the target named, or one for each target of the configuration.

    Raises:
        click.UsageError: no target is named and the configuration has none.
    """
    if options.target is not None:
        found = config.target(options.target)
        entries = [found or TargetConfig(options.target, options.target)]
    else:
        entries = list(config.targets.values())
        if not entries:
            where = f"{config.path.name} has none" if config.path else "no configuration file was found"
            raise click.UsageError(
                f"Missing argument 'TARGET': {where}. Say what builds the model, such as train.py:build."
            )
    return [_job(entry, options, config, objects, profile, chosen or Selection()) for entry in entries]


def _job(
    entry: TargetConfig,
    options: ModelOptions,
    config: Config,
    objects: tuple[str, ...],
    profile: str | None,
    chosen: Selection,
) -> Job:
    project, own = config.settings, entry.settings
    return Job(
        label=options.target or entry.name,
        target=entry.target,
        kwargs={**entry.kwargs, **options.kwargs},
        objects=objects or own.objects or project.objects,
        profile=profile or own.profile or project.profile,
        policy=options.policy or own.policy or project.policy or "default",
        roles=_roles(project, own),
        evidence=options.evidence,
        inputs=options.inputs or own.inputs or project.inputs,
        trace=next((t for t in (options.trace, own.trace, project.trace) if t is not None), True),
        codes=selection.codes((project.selection, own.selection, chosen)),
        knowledge=config.knowledge,
        timeout=options.timeout or own.timeout or project.timeout,
        memory_limit=options.memory_limit or own.memory_limit or project.memory_limit,
        allow_network=options.allow_network,
        device=options.device,
        show_output=options.verbose,
    )


def _roles(project: Settings, own: Settings) -> dict[str, str]:
    """The last pattern that matches decides: a target's own come after the project's."""
    return {**{k: v for k, v in project.roles.items() if k not in own.roles}, **own.roles}


def look(
    all_jobs: Sequence[Job], options: ModelOptions, *, checks: bool
) -> tuple[list[Run], Mapping[str, ParamlintError]]:
    """All runs, and the errors of the targets that could not be looked at, which are reported here."""
    runs, failures = [], {}
    for job in all_jobs:
        start = time.monotonic()
        try:
            with progress(f"building {job.target}", options):
                run = analyse(job, checks=checks)
        except ParamlintError as e:
            report(e)
            failures[job.label] = e
            continue
        for text in run.refused:
            # the groups were read, but whoever runs this gets no optimizer
            failures[job.label] = ParamlintError(text, where=job.label, hint="mend that first")
            report(failures[job.label])
        if not run.refused or run.findings:
            runs.append(run)
        if options.verbose:
            note(f"{job.label}: {_done(run, time.monotonic() - start)}")
            for text in traced.passes(run.inventory):
                note(f"{job.label}: {text}")
        if not options.quiet:
            for text in run.notes:
                if text.endswith(ASSUMED) and run.proposal and not run.findings and not options.verbose:
                    continue  # nothing hangs on it, and the summary names the optimizer
                note(f"{job.label}: {text}" if len(all_jobs) > 1 else text)
    return runs, failures


def say_untraced(runs: Sequence[Run], options: ModelOptions) -> None:
    """A note for each run whose trace came to nothing: its roles rest on less than they could."""
    for run in () if options.quiet else runs:
        if text := traced.failure(run.inventory):
            note(f"{run.target}: {text}" if len(runs) > 1 else text)


def _done(run: Run, seconds: float) -> str:
    groups = f"; groups {run.proposal.source}" if run.proposal else ""
    profile = f"; profile {run.profile}" if run.profile else ""
    return (
        f"{run.inventory.model} built on {run.inventory.built_on} and read in {seconds:.1f} s"
        f"; policy {run.policy}{profile}{groups}; fingerprint {run.inventory.fingerprint}"
    )


@contextmanager
def progress(text: str, options: ModelOptions) -> Iterator[None]:
    """A line on a terminal's stderr that goes away again."""
    shown = obeys() and not options.quiet and not options.verbose
    if shown:
        click.echo(f"{visible(text)} ...", nl=False, err=True)
    try:
        yield
    finally:
        if shown:
            click.echo("\r\x1b[2K", nl=False, err=True)


def known() -> Knowledge:
    """What is known of optimizers and policies here: ours, with the project's folders laid over it."""
    from paramlint import knowledge

    return knowledge.load(load().knowledge)
