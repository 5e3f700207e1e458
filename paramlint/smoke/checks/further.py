"""One step each of another kind: without some gradients, with a closure, in bfloat16, under autocast.

All of them are made on a copy of the model, which they may leave as they like.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from paramlint.parameter import Parameter
from paramlint.smoke.checks.state import same
from paramlint.smoke.expected import is_finite
from paramlint.smoke.optimizers import Made
from paramlint.smoke.step import SEED, Inputs, StepFailed, backward, clear, give, gradients, parameters, seeded, stepped
from paramlint.smoke.subject import Subject
from paramlint.smoke.wording import said
from paramlint.smoked import SmokeCheck

_DECAY = 0.1  # what groups without weight decay get while a gradient is missing


def grad_none(s: Subject, twin: nn.Module, made: Made) -> SmokeCheck:
    """A parameter of each half has no gradient for a step, with weight decay on; frozen ones never have one.

    An optimizer that decays or fails then is no fault of the groups, unless frozen parameters are in them.
    """
    tensors = parameters(twin)
    halves = [[p for p, _ in s.of_half(half) if p.name in s.gradients] for half in ("muon", "adam")]
    if not any(halves):
        return SmokeCheck("grad-none", "skip", "no parameter has a gradient to leave out")
    whole = [[p for p in half if is_finite(tensors[p.name].detach())] for half in halves]  # NaN never seems to move
    chosen = [half[0] for half in whole if half]
    if not chosen:
        return SmokeCheck("grad-none", "skip", "the weights are NaN or infinity after the steps")
    inside = [p for p in s.frozen if p.name in s.context.places]
    names = [p.name for p in chosen]
    watched = [p.name for p in (*chosen, *inside)]
    before = {n: tensors[n].detach().clone() for n in watched}
    give(twin, s.gradients, without=names)
    profiles = [place.profile for n in watched if (place := s.place(n)) and place.profile]
    known = next((p for p in profiles if p.frozen != "skip"), None)
    documented = f", as {known.name} is known to" if known else ""
    try:
        with _few(made), _decaying(made), seeded():
            stepped(made.tops, twin, {})
    except StepFailed as failed:
        cause = failed.__cause__
        figure = f"fails where a gradient is missing ({type(cause).__name__}){documented}"
        return _verdict(figure, inside, said(cause))
    finally:
        clear(twin)
    moved = [n for n in watched if not same(before[n], tensors[n].detach())]
    if moved:
        figure = f"{len(moved)} of {len(watched)} parameters without a gradient decay{documented}"
        return _verdict(figure, [p for p in inside if p.name in moved], f"moved: {', '.join(moved[:3])}")
    told = ", ".join(names)
    return SmokeCheck("grad-none", "pass", f"left alone where a gradient is missing, weight decay on ({told})")


def closure(s: Subject, twin: nn.Module, made: Made) -> SmokeCheck:
    """Every optimizer takes a closure, where its profile says so."""
    refusing = {
        place.profile.name
        for places in s.context.places.values()
        for place in places
        if place.profile and place.profile.closure == "error"
    }

    def evaluate() -> Tensor:
        clear(twin)
        with seeded(SEED), torch.enable_grad():
            value = s.loss(twin, s.inputs)
            value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    try:
        evaluate()
        with _few(made):
            for top in made.tops:
                top.step(evaluate)
    except Exception as error:
        what = f"{type(error).__name__}: {said(error)}"
        if refusing:
            figure = f"not taken, as {', '.join(sorted(refusing))} is known to refuse it"
            return SmokeCheck("closure", "pass", figure, details=(what,))
        return SmokeCheck(
            "closure",
            "fail",
            f"step(closure) fails: {what}",
            help="do not pass one: Lightning and others do, and cannot be used then",
        )
    finally:
        clear(twin)
    return SmokeCheck("closure", "pass", "step(closure) is taken")


def autocast(s: Subject, twin: nn.Module, made: Made) -> SmokeCheck:
    """A step of which the forward ran under autocast to bfloat16."""

    def loss(model: nn.Module, inputs: Inputs) -> Tensor:
        with torch.autocast(s.device.type, dtype=torch.bfloat16):
            return s.loss(model, inputs)

    if lost := _lost("autocast", s):
        return lost
    with _few(made):
        return _finite("autocast", twin, made.tops, s.inputs, loss)


def bf16(s: Subject, twin: nn.Module) -> SmokeCheck:
    """A step of a model whose weights and inputs are bfloat16, with fresh optimizers."""
    kinds = {p.dtype for p in twin.parameters()}
    if kinds == {torch.bfloat16}:
        return SmokeCheck("bf16", "skip", "the model is in bfloat16 as it is built: all steps were")
    if any(kind.is_complex for kind in kinds):
        return SmokeCheck("bf16", "skip", "the model has complex parameters, for which there is no bfloat16")
    if lost := _lost("bf16", s):
        return lost
    clear(twin)
    twin.to(torch.bfloat16)
    try:
        made = s.maker.make(twin)
    except Exception as error:
        return SmokeCheck("bf16", "fail", f"the optimizer does not take bfloat16: {said(error)}")
    return _finite("bf16", twin, made.tops, _lowered(s.inputs), s.loss)


def _lost(name: str, s: Subject) -> SmokeCheck | None:
    """The check is skipped where the same step without it gives no numbers either."""
    return None if s.finite else SmokeCheck(name, "skip", "NaN or infinity come up without it too")


def _finite(name: str, model: nn.Module, optimizers: Sequence[Any], inputs: Inputs, loss: Any) -> SmokeCheck:
    try:
        value, _ = backward(model, inputs, loss)
    except Exception as error:
        clear(model)
        return SmokeCheck(name, "skip", f"the model does not run so here: {type(error).__name__}: {said(error)}")
    bad_gradients = [n for n, g in gradients(model).items() if not is_finite(g)]
    try:
        with seeded():
            stepped(optimizers, model, {})
    except StepFailed as failed:
        cause = failed.__cause__
        return SmokeCheck(name, "fail", f"the optimizer's step fails: {type(cause).__name__}: {said(cause)}")
    finally:
        clear(model)
    bad = [n for n, p in parameters(model).items() if not is_finite(p.detach())]
    if value != value or value in (float("inf"), float("-inf")):
        return SmokeCheck(name, "fail", f"the loss is {value}", help="keep this part of the model in float32")
    if bad_gradients or bad:
        figure = f"{len(bad_gradients)} gradients and {len(bad)} weights have NaN or infinity"
        return SmokeCheck(name, "fail", figure, tuple(dict.fromkeys((*bad_gradients, *bad))))
    return SmokeCheck(name, "pass", f"loss {value:.4g}; no NaN, no infinity")


def _verdict(figure: str, inside: Sequence[Parameter], detail: str) -> SmokeCheck:
    if not inside:
        return SmokeCheck("grad-none", "pass", figure, details=(detail,))
    return SmokeCheck(
        "grad-none",
        "fail",
        f"{figure}, and {len(inside)} frozen parameters are in groups",
        tuple(p.name for p in inside),
        "PML104",
        (detail,),
        "filter on requires_grad when the groups are built",
    )


@contextmanager
def _few(made: Made) -> Iterator[None]:
    """Of every group one trainable parameter of each shape, and all frozen ones: what is asked is of a kind."""
    held = [(group, group["params"]) for _, group in made.groups()]
    for group, tensors in held:
        first = {tuple(t.shape): t for t in reversed(tensors) if t.requires_grad}
        chosen = {id(t) for t in first.values()}
        group["params"] = [t for t in tensors if id(t) in chosen or not t.requires_grad]
    try:
        yield
    finally:
        for group, tensors in held:
            group["params"] = tensors


@contextmanager
def _decaying(made: Made) -> Iterator[None]:
    """Weight decay in every group that has a key for it."""
    changed: list[tuple[dict[str, Any], str, Any]] = []
    for _, group in made.groups():
        for key in ("weight_decay", "wd"):
            if key in group and not group[key]:
                changed.append((group, key, group[key]))
                group[key] = _DECAY
    try:
        yield
    finally:
        for group, key, value in changed:
            group[key] = value


def _lowered(inputs: Inputs) -> Inputs:
    def lower(value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.dtype in (torch.float32, torch.float64)
        return value.to(torch.bfloat16) if floating else value

    return replace(inputs, args=pytree.tree_map(lower, inputs.args), kwargs=pytree.tree_map(lower, dict(inputs.kwargs)))
