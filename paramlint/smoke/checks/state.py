"""What the optimizer keeps: its bytes, and whether a fresh one goes on from it as the first would have."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from paramlint.planning.state import state_bytes
from paramlint.smoke.optimizers import Made
from paramlint.smoke.step import clear, give, parameters, seeded, stepped
from paramlint.smoke.subject import Subject
from paramlint.smoke.wording import counted, said
from paramlint.smoked import SmokeCheck

_SLACK = 0.01  # of the bytes predicted
_SMALL = 64  # bytes for each parameter: counters


def bytes_(s: Subject) -> SmokeCheck:
    """Measured bytes of state against those of the profile, group by group."""
    live, tensors = s.live(), parameters(s.model)
    predicted: dict[str, int] = {}
    measured: dict[str, int] = {}
    small: dict[str, int] = {}
    unknown = False
    for p in s.trainable:
        place = s.place(p.name)
        if place is None or p.name not in live or p.name not in s.shown or place.half == "none":
            continue
        held = state_bytes(p, place.half, place.profile) if place.profile else None
        if held is None:
            unknown = True
            continue
        tensor = tensors[p.name]
        predicted[place.label] = predicted.get(place.label, 0) + held
        measured[place.label] = measured.get(place.label, 0) + _held(live[p.name][0], tensor)
        small[place.label] = small.get(place.label, 0) + _SMALL
    if not predicted:
        return SmokeCheck("state-bytes", "skip", "no profile says what this optimizer holds")
    total, told = sum(measured.values()), sum(predicted.values())
    known = " (of the groups that are known)" if unknown else ""
    figure = f"{_size(total)} measured, {_size(told)} predicted{known}"
    details = tuple(f"{g}: {_size(measured[g])} measured, {_size(predicted[g])} predicted" for g in predicted)
    off = [g for g in predicted if abs(measured[g] - predicted[g]) > max(predicted[g] * _SLACK, small[g])]
    if not off:
        return SmokeCheck("state-bytes", "pass", figure)
    return SmokeCheck(
        "state-bytes",
        "fail",
        f"{figure}; {', '.join(off)} differ{'s' * (len(off) == 1)}",
        details=details,
        help="the optimizer does not keep what its profile says: another release, or other options",
    )


def resume(s: Subject, twin: nn.Module, made: Made) -> SmokeCheck:
    """A fresh optimizer over a copy of the model takes the state, and both make the next step: bit for bit the same.

    Both are given the same gradients, `s.gradients`, so that the backward's own rounding has no part in it.
    """
    help_ = "state is loaded by position: build groups in the same order every time, from named_parameters()"
    order = _other_order(s, twin, made)
    try:
        for old, new in zip(s.made.tops, made.tops, strict=True):
            new.load_state_dict(copy.deepcopy(old.state_dict()))
        give(s.model, s.gradients)
        give(twin, s.gradients)
        for model, optimizers in ((s.model, s.made.tops), (twin, made.tops)):
            with seeded():
                stepped(optimizers, model, {})
    except Exception as error:
        cause = error.__cause__ or error
        told = f"after load_state_dict: {type(cause).__name__}: {said(cause)}".rstrip(": ")
        return SmokeCheck("resume", "fail", told, tuple(order[:1]), "", (), help_)
    finally:
        clear(s.model)
        clear(twin)
    fresh = parameters(twin)
    differ = [n for n, p in parameters(s.model).items() if not same(p.detach(), fresh[n].detach())]
    if not differ and not order:
        tops = counted(len(s.made.tops), "optimizer")
        return SmokeCheck("resume", "pass", f"{tops} loaded; the next step is the same, bit for bit")
    names = tuple(dict.fromkeys([*order, *differ]))
    figure = (
        f"{counted(len(differ), 'parameter')} differ{'s' * (len(differ) == 1)} after the next step"
        if differ
        else "the order of parameters differs from one call to the next"
    )
    details = ("the order of parameters differs from one call to the next",) if order and differ else ()
    return SmokeCheck("resume", "fail", figure, names, "PML106" if order else "", details, help_)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, NaN being equal to NaN."""
    if torch.equal(a, b):
        return True
    lost = a.isnan()
    return torch.equal(lost, b.isnan()) and torch.equal(a.masked_fill(lost, 0), b.masked_fill(lost, 0))


def _other_order(s: Subject, twin: nn.Module, made: Made) -> list[str]:
    """Parameters that stand elsewhere among the groups of the fresh optimizers, in model order."""
    ours, theirs = list(_positions(s.model, s.made)), list(_positions(twin, made))
    moved = {a for a, b in zip(ours, theirs, strict=False) if a != b} if ours != theirs else set()
    return [name for name in parameters(s.model) if name in moved]


def _positions(model: nn.Module, made: Made) -> Iterator[str]:
    names = {id(p): name for name, p in parameters(model).items()}
    for _, group in made.groups():
        for tensor in group["params"]:
            yield names.get(id(tensor), "")
        yield ""


def _held(optimizer: Any, tensor: Tensor) -> int:
    """Bytes of the tensors in a parameter's state, in lists and dicts too."""
    state = getattr(optimizer, "state", {})
    return _bytes(state.get(tensor, {})) if hasattr(state, "get") else 0


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes, value))
    return 0


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"
