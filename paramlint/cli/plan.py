"""`paramlint plan`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from paramlint.cli.failure import note, report
from paramlint.cli.options import ModelOptions, configuration, model_options
from paramlint.cli.plan_options import PlanOptions, jobs_and_wish, plan_options
from paramlint.errors import ParamlintError

if TYPE_CHECKING:
    from paramlint.cli.screen import Screen
    from paramlint.generation import Wish
    from paramlint.pipeline import Job
    from paramlint.planned import Plan
    from paramlint.report.plan_figures import Figures
    from paramlint.run import Run

_COUNT = re.compile(r"(\d[\d_,]*(?:\.\d+)?)\s*(?:([kmgb])(i?))?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "b": 3}


def _tokens(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """Callback: a number of tokens, written such as 524288, 0.5M, 512k or 512Ki."""
    match = _COUNT.fullmatch(value.strip())
    if match is not None:
        number = float(re.sub("[_,]", "", match[1]))
        count = round(number * float(1024 if match[3] else 1000) ** _POWERS[(match[2] or "").lower()])
        if count > 0:
            return count
    raise click.BadParameter(f"{value!r} is not a number of tokens such as 524288 or 0.5M")


@click.command("plan")
@model_options("table", "full", "concise", "json")
@plan_options
@click.option(
    "--tokens-per-step",
    callback=_tokens,
    default="524288",
    show_default=True,
    metavar="N",
    help="Tokens in a step of the optimizer, such as 0.5M: what Newton-Schulz is compared with.",
)
@click.pass_context
def command(ctx: click.Context, options: ModelOptions, wanted: PlanOptions, tokens_per_step: int) -> None:
    """The groups that an optimizer should have for TARGET, and what they cost.

    For each group its parameters, options, and the memory of its state beside plain AdamW's; for all of them what
    Newton-Schulz adds to the arithmetic of a step.

    TARGET builds a model: pkg.module:callable, path/file.py:callable, hf:<model type> or timm:<name>; or it is the
    name of a target in the configuration. Without one, all of these. Your code is imported and run, in a process of
    its own with the network shut; then the forward of a stand-in, without your weights.
    """
    from paramlint import knowledge
    from paramlint.cli.jobs import say_untraced
    from paramlint.cli.screen import screen
    from paramlint.report.plan import concise
    from paramlint.report.plan_figures import figures

    out = screen(options.color, options.output_file)
    config = configuration(options)
    todo, wish = jobs_and_wish(options, wanted, config)
    made, failures = _made(todo, wish, options)
    say_untraced([run for run, _ in made], options)
    known = knowledge.load(config.knowledge)
    found = [figures(run, plan, known.profile(plan.profile), tokens_per_step) for run, plan in made]
    if options.output_format == "json":
        from paramlint.report.plan_json import document

        text = document(found, failures)
    elif options.output_format == "concise":
        text = "".join(concise(one) for one in found)
    else:
        text = "\n".join(_shown(one, out, full=options.output_format == "full") for one in found)
    out.write(text)
    ctx.exit(2 if failures else 0)


def _made(
    todo: Sequence[Job], wish: Wish, options: ModelOptions
) -> tuple[list[tuple[Run, Plan]], dict[str, ParamlintError]]:
    """All plans, and the errors of the targets that have none, which are reported here."""
    from paramlint.cli.jobs import progress
    from paramlint.generation import planned
    from paramlint.report import traced

    made, failures = [], {}
    for job in todo:
        try:
            with progress(f"building {job.target}", options):
                run, plan = planned(job, wish)
        except ParamlintError as e:
            report(e)
            failures[job.label] = e
            continue
        made.append((run, plan))
        for text in traced.passes(run.inventory) if options.verbose else ():
            note(f"{job.label}: {text}")
        for text in () if options.quiet else (*run.notes, *plan.notes):
            note(f"{job.label}: {text}" if len(todo) > 1 else text)
    return made, failures


def _shown(found: Figures, out: Screen, *, full: bool) -> str:
    from paramlint.report import plan

    text = plan.text(found) if out.width is None else out.rich(plan.terminal(found, out.width))
    return text + "\n" + out.lines(plan.members(found)) if full and found.groups else text
