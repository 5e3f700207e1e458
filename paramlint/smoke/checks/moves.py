"""Whether the loss is a number, every trainable parameter has a gradient and moves, and no frozen one does."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import torch

from paramlint.parameter import Parameter
from paramlint.smoke.expected import is_finite, parts
from paramlint.smoke.step import Updates, backward, clear
from paramlint.smoke.subject import Subject
from paramlint.smoked import SmokeCheck


def loss_finite(losses: Sequence[float]) -> SmokeCheck:
    """Over all steps that were made."""
    told = " -> ".join(f"{x:.4g}" for x in losses)
    if all(map(math.isfinite, losses)):
        return SmokeCheck("loss-finite", "pass", told)
    return SmokeCheck(
        "loss-finite", "fail", told, help="look at the initialisation, or give inputs of a usual size with --inputs"
    )


def gradients(s: Subject, first: Updates) -> SmokeCheck:
    """Those without a gradient may be: where the trace says that nothing read them on these inputs."""
    wanted = [p for p in s.trainable if p.name in s.context.places or s.context.proposal is None]
    without = [p for p in wanted if p.name not in first.gradients]
    wild = [p for p in wanted if p.name in first.gradients and not is_finite(first.gradients[p.name])]
    idle = _idle(s) if without else set()
    unread = [p for p in without if p.reach in ("unused", "unreached") or p.name in idle]
    lost = [p for p in without if p not in unread]
    figure = f"{len(wanted) - len(without)} of {len(wanted)} trainable parameters have one"
    details = tuple(f"{p.name}: no gradient; {_reach(p, idle)}" for p in unread)
    if wild:
        return SmokeCheck(
            "gradients",
            "fail",
            f"{len(wild)} have NaN or infinity",
            _names(wild),
            details=details,
            help="the backward overflows or divides by 0 on these inputs",
        )
    if lost:
        return SmokeCheck(
            "gradients",
            "fail",
            figure,
            _names(lost),
            details=details,
            help="the loss does not reach them: detach(), no_grad(), or an output that the loss leaves out",
        )
    return SmokeCheck("gradients", "pass", figure, details=details)


def covered_moves(s: Subject) -> SmokeCheck:
    """Every trainable parameter is in a group, and its first gradient that is not all zeros moves it."""
    uncovered = list(s.context.uncovered)
    still = [p for p in s.trainable if p.name in s.shown and _still(s, p.name)]
    never = [n for n in (s.first.gradients if s.first else ()) if n in s.context.places and n not in s.shown]
    moved = sum(not _still(s, name) for name in s.shown)
    figure = f"{moved} of {len(s.trainable)} moved"
    why = "its gradient is all zeros in every step: what it is multiplied with is 0, or nothing comes through"
    details = tuple(f"{name}: {why}" for name in never)
    if uncovered:
        return SmokeCheck(
            "covered-moves",
            "fail",
            f"{figure}; {len(uncovered)} in no group",
            _names(uncovered),
            "PML101",
            details,
            "put it into a group, or set requires_grad=False",
        )
    if still:
        lr = [p.name for p in still if not _lr(s, p.name)]
        help_ = (
            "their lr is 0: leave schedulers that warm up out of the function" if lr else "their optimizer skips them"
        )
        return SmokeCheck("covered-moves", "fail", figure, _names(still), details=details, help=help_)
    return SmokeCheck("covered-moves", "pass", figure, details=details)


def frozen_still(s: Subject, first: Updates) -> SmokeCheck:
    """No frozen parameter moves, whatever groups it is in."""
    frozen = s.frozen
    if not frozen:
        return SmokeCheck("frozen-still", "skip", "the model has no frozen parameters")
    moved = [p for p in frozen if first.moved(p.name)]
    figure = f"{len(frozen) - len(moved)} of {len(frozen)} frozen parameters stayed as they were"
    if not moved:
        return SmokeCheck("frozen-still", "pass", figure)
    details = tuple(_shrank(first, p.name) for p in moved[:3])
    return SmokeCheck(
        "frozen-still",
        "fail",
        figure,
        _names(moved),
        "PML104",
        details,
        "filter on requires_grad when the groups are built",
    )


def remember(s: Subject, updates: Updates) -> None:
    """Keeps, of each parameter, the first step with a gradient that is not all zeros."""
    from paramlint.smoke.subject import Shown

    live = s.live()
    for name, gradient in updates.gradients.items():
        if name not in s.shown and name in live and bool(gradient.count_nonzero()):
            group = {k: v for k, v in live[name][1].items() if k != "params"}
            s.shown[name] = Shown(updates.before[name], gradient, updates.after[name], group)


def waiting(s: Subject, updates: Updates) -> Iterator[str]:
    """Parameters whose gradient was all zeros in every step so far: what they are multiplied with began at 0."""
    for p in s.trainable:
        if p.name in updates.gradients and p.name in s.context.places and p.name not in s.shown:
            yield p.name


def _still(s: Subject, name: str) -> bool:
    return torch.equal(s.shown[name].before, s.shown[name].after)


def _lr(s: Subject, name: str) -> float:
    from paramlint.smoke.expected import rates

    place = s.place(name)
    return rates(dict(s.shown[name].group), place).lr if place else 0.0


def _idle(s: Subject) -> set[str]:
    """Parameters of modules that did not run on these inputs: experts that no token came to."""
    from paramlint.model.trace.watch import entered

    ran: set[str] = set()
    with entered(s.model, ran):
        backward(s.model, s.inputs, s.loss)
    clear(s.model)
    return {p.name for p in s.trainable if not any(site.module in ran for site in p.sites)}


def _reach(p: Parameter, idle: Collection[str] = ()) -> str:
    if p.name in idle:
        return "its module did not run on these inputs"
    return {
        "unused": "its module ran, and nothing read it",
        "unreached": "its module never ran on these inputs",
    }.get(p.reach, "the trace does not say why")


def _shrank(first: Updates, name: str) -> str:
    before, after = parts(first.before[name]), parts(first.after[name])
    norm = float(before.norm())
    share = f", {float((after - before).norm()) / norm:.2g} of its norm" if norm else ""
    return f"{name}: moved by up to {float((after - before).abs().max()):.2g}{share}, in one step"


def _names(found: Sequence[Parameter]) -> tuple[str, ...]:
    return tuple(p.name for p in found)
