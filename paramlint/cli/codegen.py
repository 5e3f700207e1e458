"""`paramlint codegen`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from paramlint.cli.failure import note
from paramlint.cli.options import ModelOptions, configuration, model_options
from paramlint.cli.plan_options import PlanOptions, plan_options
from paramlint.errors import ParamlintError

if TYPE_CHECKING:
    from paramlint.generation import Generated, Style


@click.command("codegen")
@model_options()
@plan_options
@click.option(
    "--style",
    type=click.Choice(["rules", "names", "call"]),
    default="rules",
    show_default=True,
    help="How parameters are told apart: by module types and a few names, by every name, or by paramlint.",
)
@click.option(
    "--smoke",
    is_flag=True,
    help="Write a script beside the output file too, NAME_smoke.py, that runs a step of the model and checks it.",
)
@click.option("--force", is_flag=True, help="Overwrite the output file, and the script of --smoke.")
@click.option(
    "--in-place",
    metavar="FILE[:LINE]",
    help="Replace the optimizer that is built there on all parameters of a model.",
)
@click.option("--diff", is_flag=True, help="Show what --in-place would change, and change nothing.")
@click.pass_context
def command(
    ctx: click.Context,
    options: ModelOptions,
    plan: PlanOptions,
    style: Style,
    smoke: bool,
    force: bool,
    in_place: str | None,
    diff: bool,
) -> None:
    """Code that builds the right param groups of TARGET for an optimizer.

    The code defines param_groups(model) and build_optimizer(model), and needs torch and the optimizer's package, not
    paramlint. Before it is shown it is loaded, run on the model, and its groups are checked: no finding, or no code.

    TARGET builds a model: pkg.module:callable, path/file.py:callable, hf:<model type> or timm:<name>; or it is the
    name of a target in the configuration, which may be left out where there is one. Your code is imported and run, in
    a process of its own with the network shut; then the forward of a stand-in, without your weights.
    """
    from paramlint.cli.jobs import progress
    from paramlint.cli.plan_options import job_and_wish
    from paramlint.cli.screen import screen
    from paramlint.generation import generated, smoke_script

    if diff and not in_place:
        raise click.UsageError("--diff is for --in-place")
    if in_place and options.output_file:
        raise click.UsageError("--in-place and --output-file exclude each other")
    script = _script(options.output_file) if smoke else None
    for path in filter(None, (options.output_file, script)):
        if path.exists() and not force:
            raise ParamlintError("exists already", where=str(path), hint="--force overwrites it")
    out = screen(options.color, options.output_file)
    beside = screen(options.color, script)
    job, wish = job_and_wish(options, plan, configuration(options))
    with progress(f"building {job.target}", options):
        made = generated(job, wish, style)
        checks = smoke_script(made, job, options.output_file) if script and options.output_file else ""
    if in_place:
        text = _in_place(in_place, made, diff, options, job.knowledge)
        out.write(text)
    else:
        out.write(made.text)
        if script:
            beside.write(checks)
    if not options.quiet:
        for said in (*made.run.notes, *made.plan.notes):
            note(said)
        note(_summary(made, options.output_file))
        if script:
            note(f"{script}: runs a step of the model and checks it: python {script}")


def _script(path: Path | None) -> Path:
    """Where the script of --smoke goes.

    Raises:
        click.UsageError: there is no file that it could lie beside, and import.
    """
    if path is None or path.suffix != ".py":
        raise click.UsageError("--smoke writes a script beside the output file: name one with -o FILE.py")
    return path.with_name(f"{path.stem}_smoke.py")


def _summary(made: Generated, path: Path | None) -> str:
    model = made.plan.model.rpartition(".")[2]
    groups = len(made.plan.groups)
    count = len(made.plan.trainable)
    where = f"{path}: " if path else ""
    return (
        f"{where}{groups} group{'s' * (groups != 1)} for {made.plan.profile} with all {count} trained parameters of "
        f"{model}; run on the model and checked: no findings"
    )


def _in_place(place: str, made: Generated, diff: bool, options: ModelOptions, folders: tuple[Path, ...]) -> str:
    """Rewrites the file, or gives the diff."""
    from paramlint.codegen import in_place
    from paramlint.knowledge import load

    file, _, line = place.rpartition(":")
    if not file or not line.isdigit():
        file, line = place, ""
    path = Path(file)
    source = in_place.read_source(path)
    known = load(folders)
    module = in_place.Generated(made.text, known.profile(made.plan.profile), made.plan, known)
    result = in_place.rewrite(source, file, int(line) if line else None, module)
    if not options.quiet:
        for said in result.notes:
            note(said)
    if diff:
        return in_place.diff(source, result.text, path)
    in_place.replace_file(path, result.text)
    return ""
