"""From a job to generated code: analyse, plan, write, run what was written, and hold it against the plan."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from paramlint.errors import ParamlintError
from paramlint.parameter import Inventory, Plain
from paramlint.pipeline import Job, looked, request
from paramlint.planned import Layers, Plan
from paramlint.run import Run

if TYPE_CHECKING:
    from paramlint.group import Proposal
    from paramlint.knowledge import Knowledge
    from paramlint.model.process import Keeper

Style = Literal["rules", "names", "call"]


@dataclass(frozen=True)
class Wish:
    """What a plan should be like, beside the target and the optimizer of a `Job`.

    `layer_decay` is the factor on lr from each layer to the one before it, or that of every layer; `layers` where the
    layers come from: "structure", a preset, or the text of an object that is a function of a parameter's name.
    """

    fused: Literal["split", "whole", "adam"] = "split"
    layer_decay: float | Sequence[float] | None = None
    layers: str = "structure"


@dataclass(frozen=True)
class Generated:
    """A proved module, and what it was made from."""

    text: str
    plan: Plan
    run: Run


def planned(job: Job, wish: Wish, keeper: Keeper | None = None) -> tuple[Run, Plan]:
    """The model, and the groups that its optimizer should have. `keeper` holds the worker for another request.

    Raises:
        ParamlintError: no optimizer is named, the target cannot be built, or no such plan is possible.
    """
    from paramlint import knowledge
    from paramlint.planning import plan

    if job.profile is None:
        raise ParamlintError("no optimizer is named", hint="give --optimizer NAME; `paramlint optimizers` lists them")
    known = knowledge.load(job.knowledge)
    known.profile(job.profile)
    asked = wish.layers if wish.layer_decay is not None and ":" in wish.layers else None
    run, answers = looked(replace(job, objects=()), asked, keeper)
    layers: Layers | None = None
    scales: tuple[float, ...] = ()
    if wish.layer_decay is not None:
        from paramlint.planning.layers import decayed

        layers, scales = decayed(run.inventory, wish.layers if answers is None else answers, wish.layer_decay)
    made = plan(
        run.inventory,
        known,
        job.profile,
        policy=run.policy,
        target=job.target,
        layers=layers,
        scales=scales,
        fused=wish.fused,
    )
    return replace(run, routed={n: g.kind.half for g in made.groups for n in g.parameters}), made


def generated(job: Job, wish: Wish, style: Style = "rules") -> Generated:
    """The module for a job, after it was loaded, run on the model, and its groups checked.

    Raises:
        ParamlintError: as `planned`; no code can be written for this optimizer; or the proof failed.
    """
    from paramlint import knowledge
    from paramlint.codegen.generate import generate
    from paramlint.model.process import Keeper

    with Keeper() as keeper:
        run, plan = planned(job, wish, keeper)
        known = knowledge.load(job.knowledge)
        profile = known.profile(plan.profile)
        text = generate(plan, run.inventory, profile, style=style, call_options=_call_options(job, wish))
        notes = _prove(text, job, run.inventory, plan, known, wish, keeper)
    return Generated(text, plan, replace(run, notes=(*run.notes, *notes)))


def smoke_script(made: Generated, job: Job, path: Path) -> str:
    """The script that goes beside `path`, where the module is to be: one checked step of the job's model.

    Raises:
        ParamlintError: no inputs of the model are known, or its optimizer steps only inside its own framework.
    """
    from paramlint import knowledge
    from paramlint.codegen import smoke_script as script

    profile = knowledge.load(job.knowledge).profile(made.plan.profile)
    inventory, folder = made.run.inventory, path.parent
    return script.smoke_script(made.plan, inventory, job.target, job.kwargs, path.stem, profile=profile, folder=folder)


def _prove(
    text: str, job: Job, inventory: Inventory, plan: Plan, known: Knowledge, wish: Wish, keeper: Keeper
) -> tuple[str, ...]:
    """Notes on what is installed here, if it is another release than the code is for."""
    from paramlint.codegen.proof import other_release, prove
    from paramlint.model import process

    functions = ["param_groups"]
    profile = known.profile(plan.profile)
    if profile.call_shape != "attribute":  # those want their whole framework
        functions.append("build_optimizer")

    def proposed(objects: tuple[str, ...]) -> tuple[Proposal, ...]:
        asked = replace(request(job), objects=objects, stand_in=profile.name, trace=False, inputs="")
        found = process.run(asked, keeper).apart
        for name, proposal in zip(functions, found, strict=True):
            prove(plan, inventory, known, proposal, fused=wish.fused, made_by=name)
        return found

    with tempfile.TemporaryDirectory(prefix="paramlint-") as folder:
        path = Path(folder) / "generated_groups.py"
        path.write_text(text, encoding="utf-8")
        objects = tuple(f"{path}:{name}" for name in functions)
        try:
            proposals = proposed(objects)
        except ParamlintError:
            if not keeper.again:
                raise
            keeper.end()  # what the target left behind in that process may be at fault, and not the code
            proposals = proposed(objects)
    other = other_release(proposals[-1], profile)
    if not other:
        return ()
    return (f"what is installed here is {other}, and this code is for {profile.name} ({profile.install})",)


def _call_options(job: Job, wish: Wish) -> Mapping[str, Plain]:
    """What `paramlint.plan` has to be told to come to the same plan."""
    said: dict[str, Plain] = {}
    if job.policy != "default":
        said["policy"] = job.policy
    if job.roles:
        said["overrides"] = dict(job.roles)
    if wish.fused != "split":
        said["fused"] = wish.fused
    if job.knowledge:
        said["knowledge"] = tuple(map(str, job.knowledge))
    if not job.trace or "use" not in job.evidence:
        said["trace"] = False
    return said
