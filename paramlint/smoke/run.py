"""A smoke step from its request to its result, in this process: what the worker calls."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paramlint import checks as rules
from paramlint.checks.context import context
from paramlint.errors import ParamlintError
from paramlint.knowledge import Knowledge, load
from paramlint.model import groups as live_groups
from paramlint.model import load as loading
from paramlint.parameter import LAYERS, Inventory
from paramlint.routing import as_release
from paramlint.smoke import loss as losses
from paramlint.smoke import named, real, shrink, wording
from paramlint.smoke.checks import further, groups, moves, sizes, state, timing
from paramlint.smoke.copying import Again, twin_of
from paramlint.smoke.errors import explained
from paramlint.smoke.expected import is_finite
from paramlint.smoke.optimizers import Factory, Made, Maker
from paramlint.smoke.process import SmokeRequest
from paramlint.smoke.step import SEED, Loss, StepFailed, backward, clear, gradients, one_step, seeded
from paramlint.smoke.subject import Subject
from paramlint.smoked import Smoke, SmokeCheck
from paramlint.target import parse

#: Steps after which a gradient that is still all zeros is taken to stay so.
_MOST_STEPS = 4


@dataclass
class Model:
    """The model to be stepped, with what is known of it. `notes` are worth saying, `shrunk` says what was left out.

    `kwargs` are those that it was built with in the end, `cut` whether lists of blocks were cut after that. `again`
    builds it once more, on the CPU.
    """

    module: nn.Module
    inventory: Inventory
    inputs: real.Ready
    loss: Loss
    device: torch.device
    shrunk: str = ""
    notes: tuple[str, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    cut: bool = False
    again: Again | None = None


def smoke(request: SmokeRequest) -> Smoke:
    """Builds the model, steps it, and holds what happens against what should.

    Raises:
        ParamlintError: the model, its optimizer or its inputs cannot be had, or do not fit the device.
    """
    known = load(Path(k) for k in request.build.knowledge)
    model, factories = prepared(request, known)
    maker = Maker(factories, known.profiles)
    try:
        return _smoke(request, known, model, maker)
    finally:
        maker.close()
        if model.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def prepared(request: SmokeRequest, known: Knowledge) -> tuple[Model, list[Factory]]:
    """The model on its device, roles judged, with inputs that were tried; and what makes its optimizers.

    Raises:
        ParamlintError: as `smoke`.
    """
    from paramlint.model.facts import inventory as read
    from paramlint.model.trace.found import traced
    from paramlint.roles.judge import judge

    build, target = request.build, parse(request.build.target)
    loading.require_torch(build.target)
    device = real.device_of(request.device)
    kwargs = build.kwargs
    try:
        plain = _built(target, kwargs, "meta")
        facts = read(plain.model, location=plain.location, built_on=plain.built_on)
        kwargs, cut, shrunk = _fitted(request, target, plain, facts, device)
        if cut:
            shrink.cut(plain.model)
        elif shrunk:
            plain = _built(target, kwargs, "meta")
        facts = read(plain.model, location=plain.location, built_on=plain.built_on)
    except ModuleNotFoundError as error:
        raise named.missing(error, known, build.target) from None
    chosen = named.inputs(request, plain.model)
    found = chosen or real.examples(plain.model)
    evidence = request.evidence or LAYERS
    if build.trace and "use" in evidence:
        facts = traced(plain.model, facts, found[0] if chosen else None)
    inventory = judge(facts, known.policy(request.policy), layers=evidence, overrides=request.roles)
    factories = named.factories(request, known, inventory)

    def again() -> nn.Module:
        made: nn.Module = _built(target, kwargs, "cpu").model
        if cut:
            shrink.cut(made)
        return made

    absent = plain.built_on == "meta" or any(p.is_meta for p in plain.model.parameters())
    module = (again() if absent else plain.model).to(device)
    loss = named.loss(request)
    kinds = {p.dtype for p in module.parameters() if p.dtype.is_floating_point}
    floats = next(iter(kinds)) if len(kinds) == 1 else None
    ready = real.ready(module, found, loss, device, own=bool(chosen), floats=floats)
    notes = (*inventory.notes, *ready.notes)
    if not request.loss:
        backward(module, ready.inputs, loss)
        factor = losses.factor_for(gradients(module))
        clear(module)
        if factor > 1:
            loss = losses.scaled(loss, factor)
            notes += (f"the loss is multiplied by {factor:g}: at this initialisation some gradients are under any eps",)
    return Model(module, inventory, ready, loss, device, shrunk, notes, kwargs, cut, again), factories


def _smoke(request: SmokeRequest, known: Knowledge, model: Model, maker: Maker) -> Smoke:
    start = time.monotonic()
    found: list[SmokeCheck] = []
    result = Smoke(
        target=request.label or request.build.target,
        model=model.inventory.model,
        device=real.described(model.device),
        inputs=model.inputs.inputs.label,
        checks=(),
        processes=request.processes,
        shrunk=model.shrunk,
        notes=model.notes,
    )
    made = maker.make(model.module)
    subject = subject_of(request, known, model, maker, made)
    if made.refused:
        return replace(result, checks=(groups.refused(made, subject.findings),))
    found.append(groups.groups(subject))
    seen: list[float] = []
    facts: dict[str, Any] = {}
    times: Mapping[str, float] = {}
    traceback = ""
    try:
        _stepped(subject, seen, request.steps, found)
        found += _compared(subject)
        found += _on_a_copy(subject, found)
        if request.processes > 1:
            found += _distributed(request, model, subject, time.monotonic() - start)
    except StepFailed as failed:
        check, traceback = explained(subject, failed)
        found.append(check)
    if subject.seconds:
        check, times = timing.time(subject.seconds)
        found.append(check)
    facts["steps"] = len(seen)
    facts["optimizers"] = tuple(type(o).__name__ for o in made.inner)
    return replace(result, checks=tuple(found), times=times, peak=_peak(model.device), facts=facts, traceback=traceback)


def subject_of(request: SmokeRequest, known: Knowledge, model: Model, maker: Maker, made: Made) -> Subject:
    """What the checks look at: the model, its optimizers, and who updates which parameter."""
    proposal = live_groups.read(made.given, model.module, model.inventory, known.profiles)
    if request.profile:  # a class of the profile is the release that was named, however it is installed
        proposal = as_release(proposal, known.profile(request.profile))
    ctx = context(model.inventory, proposal, known, request.policy, request.profile or None)
    found = rules.examine(ctx)
    return Subject(
        model.module, model.inputs.inputs, model.loss, maker, made, ctx, found, model.device, again=model.again
    )


def _stepped(s: Subject, seen: list[float], steps: int, found: list[SmokeCheck]) -> None:
    """The steps that are asked for, and more until every gradient was something else than zeros, or will not be."""
    for number in range(max(steps, _MOST_STEPS)):
        updates = one_step(s.model, s.made.tops, s.inputs, s.loss, seed=SEED + number)
        seen.append(updates.loss)
        for name, value in updates.seconds.items():
            s.seconds.setdefault(name, []).append(value)
        moves.remember(s, updates)
        if s.first is None:
            s.first = updates
            found.append(moves.gradients(s, updates))
            found.append(moves.frozen_still(s, updates))
        waiting = any(True for _ in moves.waiting(s, updates))
        if number + 1 >= steps and not waiting:
            break
    found.insert(1, moves.loss_finite(seen))


def _compared(s: Subject) -> list[SmokeCheck]:
    """What the steps did against what they should have done. What they are held against is let go afterwards."""
    matrices = sizes.sampled(s)
    found = [
        moves.covered_moves(s),
        sizes.update_rms(s, matrices),
        sizes.orthogonal(s, matrices),
        state.bytes_(s),
    ]
    s.shown.clear()
    s.first = None
    return found


def _on_a_copy(s: Subject, before: list[SmokeCheck]) -> list[SmokeCheck]:
    """Resuming, and steps of other kinds, on a copy of the model that they may spoil."""
    _, seconds = backward(s.model, s.inputs, s.loss)
    s.gradients = gradients(s.model)
    s.finite = all(map(is_finite, s.gradients.values()))
    try:
        twin = twin_of(s.model, s.again)
    except Exception as error:
        why = f"the model can neither be copied nor built again: {type(error).__name__}: {wording.said(error)}"
        return [SmokeCheck(name, "skip", why) for name in ("resume", "grad-none", "closure", "autocast", "bf16")]
    made = s.maker.make(twin)
    found = [state.resume(s, twin, made)]
    s.made = Made(None)
    if found[0].verdict == "fail":  # its state fits nothing: begin anew
        made = s.maker.make(twin)
    found.append(further.grad_none(s, twin, made))
    found.append(further.closure(s, twin, made))
    found.append(further.autocast(s, twin, made))
    del made
    with suppress(Exception):
        s.seconds["adamw"] = [timing.adamw(twin, s.gradients)]
    s.gradients = {}
    found.append(further.bf16(s, twin))
    for name, value in seconds.items():
        s.seconds.setdefault(name, []).append(value)
    return found


def _distributed(request: SmokeRequest, model: Model, subject: Subject, elapsed: float) -> list[SmokeCheck]:
    from paramlint.smoke.distributed import MODES, distributed
    from paramlint.smoke.recipe import Recipe

    if not subject.finite:
        why = "NaN and infinity, which come up in one process too, cannot be compared"
        return [SmokeCheck(mode, "skip", why) for mode in MODES]
    if model.device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
    fitted = replace(request, build=replace(request.build, kwargs=model.kwargs))
    left = max(0.9 * request.build.timeout - elapsed, 10.0)
    return distributed(Recipe(fitted, model.inventory, model.cut), subject, processes=request.processes, timeout=left)


def _built(target: Any, kwargs: Mapping[str, Any], where: Any) -> loading.Built:
    with seeded():
        return loading.build(target, kwargs, where)


def _fitted(
    request: SmokeRequest, target: Any, plain: loading.Built, facts: Inventory, device: torch.device
) -> tuple[Mapping[str, Any], bool, str]:
    """The arguments to build with, whether lists of blocks are to be cut, and what is left out, in words.

    Raises:
        ParamlintError: the model is too large, and cannot be made small enough.
    """
    kwargs, limit = request.build.kwargs, request.build.memory_limit
    need, free = shrink.needed(facts), real.free_memory(device, limit)
    host = real.free_memory(torch.device("cpu"), limit)
    if free is None or (need <= free and (host is None or shrink.weight_bytes(facts) <= host)):
        return kwargs, False, ""
    limited = limit is not None and device.type == "cpu" and free >= limit
    bound = f"--memory-limit allows {wording.memory(free)}" if limited else f"{wording.memory(free)} are free"
    more = "raise --memory-limit" if limited else "a larger device"
    from paramlint.model.facts import inventory as read

    changed, said = dict(kwargs), ""
    if target.kind == "hf" and hasattr(plain.model, "config"):
        changed, said = shrink.fewer(kwargs, plain.model.config)
        if said:
            smaller = read(_built(target, changed, "meta").model)
    cut = not said and plain.built_on == "meta" and (host is None or shrink.weight_bytes(facts) <= host)
    if cut:
        half = _built(target, changed, "meta").model
        said = shrink.cut(half)
        smaller = read(half)
    if said and shrink.needed(smaller) <= free:
        return changed, cut, f"{said}: a step of all of it needs {wording.memory(need)}, and {bound}"
    least = f"; cut to {wording.memory(shrink.needed(smaller))} ({said}), it is still too large" if said else ""
    raise ParamlintError(
        f"a step needs about {wording.memory(need)} on {device.type}, and {bound}{least}",
        where=request.build.target,
        hint=f"give --kwargs that make the model smaller, or {more}",
    )


def _peak(device: torch.device) -> int:
    """Bytes: of the device's own memory where it has some, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
