"""`paramlint smoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paramlint.cli.failure import note, report, show_traceback
from paramlint.cli.options import ModelOptions, configuration, model_options
from paramlint.errors import ParamlintError

if TYPE_CHECKING:
    from paramlint.cli.screen import Screen
    from paramlint.pipeline import Job
    from paramlint.smoke.process import SmokeRequest
    from paramlint.smoked import Smoke

_HINT = (
    "give --optimizer OBJ (a function of the model), --optimizer NAME for the groups of a plan, or --groups OBJ with "
    "--optimizer NAME"
)


@click.command("smoke")
@model_options("full", "concise", "json", devices=("auto", "cuda", "cpu", "mps"))
@click.option(
    "--groups",
    multiple=True,
    metavar="OBJ",
    help="A function of the model that gives param groups for --optimizer NAME.",
)
@click.option(
    "--optimizer",
    multiple=True,
    metavar="OBJ|NAME",
    help="A function of the model that gives an optimizer, or several; or the name of one, as `paramlint optimizers` "
    "lists them: alone, it is built over the groups of a plan.",
)
@click.option(
    "--loss",
    metavar="OBJ",
    help="A function of the outputs, or of model and inputs, that gives the loss to go back from.",
)
@click.option("--steps", type=click.IntRange(1, 100), default=1, show_default=True, help="Steps to make, at least.")
@click.option(
    "--nproc",
    type=click.IntRange(1, 64),
    default=1,
    metavar="K",
    help="Step in K processes too, under DDP and under FSDP2, and compare. Each takes the memory of a step, the first "
    "one twice that; --memory-limit is that of each.",
)
@click.pass_context
def command(
    ctx: click.Context,
    options: ModelOptions,
    groups: tuple[str, ...],
    optimizer: tuple[str, ...],
    loss: str | None,
    steps: int,
    nproc: int,
) -> None:
    """One real step of TARGET with its optimizer: that everything moves as it should, and nothing else does.

    The model is built with its own initialisation, run forward and backward on example inputs, and stepped. Every check
    is a line with a figure: gradients, moves, frozen parameters, sizes and singular values of updates, state, resuming,
    closures, bfloat16, time. Exit code 1 if one fails.

    It takes up to 5 times the memory of the weights, 3 times that of the optimizer's state, the activations of a small
    batch, and 400 MB for torch. A model that is too large is cut to two blocks a list, where it can be, and that is
    said.

    TARGET builds a model: pkg.module:callable, path/file.py:callable, hf:<model type> or timm:<name>; or it is the
    name of a target in the configuration. Without one, all of these. OBJ is path/file.py:name, pkg.module:name, or
    :name beside the target. Your code is imported and run, in a process of its own with the network shut.
    """
    from paramlint.cli.jobs import jobs, named_profile, progress
    from paramlint.cli.screen import screen
    from paramlint.smoke import process

    out = screen(options.color, options.output_file)
    config = configuration(options)
    profile = named_profile([text for text in optimizer if ":" not in text], config.knowledge, or_object=True)
    objects = tuple(text for text in optimizer if ":" in text)
    if groups and not profile:
        raise click.UsageError(f"--groups are for an optimizer, and none is named: {_HINT}.")
    if groups and objects:
        raise click.UsageError("--groups and --optimizer OBJ exclude each other: an optimizer has its groups already.")
    found: list[Smoke] = []
    failures: dict[str, ParamlintError] = {}
    for job in jobs(options, config, profile=profile):
        try:
            request = _request(job, options, groups, objects, loss, steps, nproc)
            with progress(f"stepping {job.target}", options):
                smoke = process.run(request)
        except ParamlintError as error:
            report(error)
            failures[job.label] = error
            continue
        found.append(smoke)
        if not options.quiet:
            for said in smoke.notes:
                note(said)
        show_traceback(smoke.traceback)
    out.write(_text(found, failures, options, out))
    ctx.exit(2 if failures else int(any(smoke.failed for smoke in found)))


def _request(
    job: Job,
    options: ModelOptions,
    groups: tuple[str, ...],
    objects: tuple[str, ...],
    loss: str | None,
    steps: int,
    nproc: int,
) -> SmokeRequest:
    """
    Raises:
        ParamlintError: nothing says what is to be stepped.
    """
    from dataclasses import replace

    from paramlint.pipeline import request
    from paramlint.smoke.process import SmokeRequest

    configured = () if groups or objects or job.profile else job.objects
    if not (groups or objects or configured or job.profile):
        raise ParamlintError("nothing says what is stepped", where=job.label, hint=_HINT)
    return SmokeRequest(
        build=replace(request(job), objects=(), device="cpu"),
        optimizers=objects or configured,
        groups=groups,
        profile=job.profile or "",
        loss=loss or "",
        device=options.device,
        steps=steps,
        processes=nproc,
        policy=job.policy,
        roles=job.roles,
        evidence=job.evidence,
        label=job.label,
    )


def _text(found: list[Smoke], failures: dict[str, ParamlintError], options: ModelOptions, out: Screen) -> str:
    from paramlint.report import smoke as reporting

    if options.output_format == "json":
        return reporting.document(found, failures)
    if options.output_format == "concise":
        return out.lines(line for smoke in found for line in reporting.concise(smoke))
    return "\n".join(out.lines(reporting.full(smoke, verbose=options.verbose)) for smoke in found)
