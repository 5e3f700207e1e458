"""From what the user named to a `Run`: build in a worker, judge the roles, run the checks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from paramlint.parameter import LAYERS, Destination, Inventory, Plain
from paramlint.registry import by_code
from paramlint.run import Run

if TYPE_CHECKING:
    from paramlint.checks.context import Context
    from paramlint.knowledge import Knowledge
    from paramlint.layer_function import Answers
    from paramlint.model.process import Keeper, Request, Response


#: How the note on an optimizer that was recognised by the looks of its groups ends.
ASSUMED = "--optimizer NAME says otherwise"


@dataclass(frozen=True)
class Job:
    """One target, and how to look at it.

    `label` is what reports call it. `objects` are texts of objects that give groups or optimizers. `profile` and
    `policy` are names. `roles` maps name patterns to roles, the last that matches decides. `evidence` are the layers
    that may speak, and `codes` the rules. With `trace`, and `use` among the layers, a stand-in of the model is run, on
    the object that `inputs` names, or on inputs that are found where it is None. `timeout` is in seconds,
    `memory_limit` in bytes; None for the usual ones.
    """

    label: str
    target: str
    kwargs: Mapping[str, Plain] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    profile: str | None = None
    policy: str = "default"
    roles: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[str, ...] = LAYERS
    inputs: str | None = None
    trace: bool = True
    codes: frozenset[str] = frozenset(by_code())
    knowledge: tuple[Path, ...] = ()
    timeout: float | None = None
    memory_limit: int | None = None
    allow_network: bool = False
    device: Literal["meta", "cpu"] = "meta"
    show_output: bool = False


def analyse(job: Job, *, checks: bool = True) -> Run:
    """Builds the target and finds out all there is; without `checks` only the roles.

    Raises:
        ParamlintError: a name that does not exist, or a target that cannot be built.
    """
    from paramlint import knowledge

    run, _ = looked(job)
    return examine(run, knowledge.load(job.knowledge), job.codes) if checks else run


def looked(job: Job, layers: str | None = None, keeper: Keeper | None = None) -> tuple[Run, Answers | None]:
    """The run without findings, and what the function that `layers` names says of every parameter. `keeper` holds the
    worker for another request.

    Raises:
        ParamlintError: as `analyse`.
    """
    from paramlint import knowledge
    from paramlint.model import process
    from paramlint.roles.judge import judge

    known = knowledge.load(job.knowledge)
    policy = known.policy(job.policy)
    profile = known.profile(job.profile) if job.profile else None
    asked = replace(request(job), layers=layers or "")
    response = process.run(asked, keeper) if keeper else process.run(asked)
    inventory = judge(response.inventory, policy, layers=job.evidence, overrides=job.roles)
    run = Run(
        target=job.label,
        inventory=inventory,
        proposal=response.proposal,
        policy=policy.name,
        profile=profile.name if profile else None,
        notes=tuple(_notes(response, job.roles, profile is not None)),
    )
    return run, response.layers


def examine(run: Run, known: Knowledge, codes: Collection[str] = frozenset(by_code())) -> Run:
    """The run with the findings of these rules, and with who updates each parameter."""
    from paramlint import checks
    from paramlint.checks.context import context

    ctx = context(run.inventory, run.proposal, known, run.policy, run.profile)
    findings = checks.examine(ctx)
    return replace(
        run,
        findings=tuple(f for f in findings if f.code in codes),
        routed=_routed(run, ctx, known),
        refused=checks.unexplained_refusals(findings, run.proposal),
    )


def _routed(run: Run, ctx: Context, known: Knowledge) -> dict[str, Destination]:
    """Who updates each trainable parameter: by its group, or as it should be where there are no groups."""
    from paramlint.placement import destination

    trained = [p for p in run.inventory.parameters if p.trainable]
    if run.proposal is None:
        profile = known.profile(run.profile) if run.profile else None
        return {p.name: destination(p, profile) for p in trained}
    halves = {p.name: place.half for p in trained for place in ctx.places.get(p.name, ())[:1]}
    return {name: half for name, half in halves.items() if half != "none"}


def _notes(response: Response, roles: Mapping[str, str], settled: bool) -> Iterator[str]:
    """What is worth saying once. Where the user named the optimizer, no note needs to ask for it."""
    said = [*response.inventory.notes, *(response.proposal.notes if response.proposal else ()), *response.notes]
    for text in dict.fromkeys(said):
        if not (settled and text.endswith(ASSUMED)):
            yield text
    yield from _unmatched(response.inventory, roles)


def _unmatched(inventory: Inventory, roles: Mapping[str, str]) -> Iterator[str]:
    """A pattern that matches nothing is a mistake that nobody would see."""
    names = [name for p in inventory.parameters for name in (p.name, *p.aliases)]
    for pattern in roles:
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"the role pattern {pattern!r} of the configuration matches no parameter"


def request(job: Job) -> Request:
    """What the worker is asked for a job."""
    from paramlint.model.process import Request

    request = Request(
        target=job.target,
        kwargs=job.kwargs,
        objects=job.objects,
        knowledge=tuple(map(str, job.knowledge)),
        inputs=job.inputs or "",
        trace=job.trace and "use" in job.evidence,
        memory_limit=job.memory_limit,
        allow_network=job.allow_network,
        device=job.device,
        show_output=job.show_output,
    )
    return request if job.timeout is None else replace(request, timeout=job.timeout)
