"""What an optimizer raised at its step, in one line: which parameters, and which rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor

from paramlint.model.failure import trimmed
from paramlint.parameter import Parameter
from paramlint.profile import Profile
from paramlint.smoke.copying import twin_of
from paramlint.smoke.culprits import fails_alone
from paramlint.smoke.optimizers import Made
from paramlint.smoke.step import StepFailed, give, parameters
from paramlint.smoke.subject import Subject
from paramlint.smoke.wording import said
from paramlint.smoked import SmokeCheck

_MOST = 400  # parameters that are stepped one by one
_GROUP = re.compile(r"process group", re.IGNORECASE)


def explained(s: Subject, failed: StepFailed) -> tuple[SmokeCheck, str]:
    """The failed check "step", and the traceback. The optimizer is stepped again on a copy of the model, with one
    parameter at a time, until it is known which ones it fails on."""
    error = failed.__cause__ or failed
    cls = type(s.made.tops[failed.index]).__name__
    told = f"{type(error).__name__}: {said(error)}" if said(error) else f"{type(error).__name__} without a text"
    culprits: set[str] = set()
    with suppress(Exception):
        culprits = _culprits(s, failed.gradients, error)
    known = {p.name: p for p in s.inventory.parameters}
    found = [known[n] for n in known if n in culprits]
    code, why, help_ = _why(s, found, error, failed.gradients)
    figure = f"{cls}.step() fails: {told}"
    if found:
        shape = tuple(found[0].shape)
        more = f", and on {len(found) - 1} more" if len(found) > 1 else ""
        figure = f"{cls}.step() fails on {found[0].name} {shape}{more}: {told}"
    details = (why,) if why else ()
    names = tuple(p.name for p in found)
    return SmokeCheck("step", "fail", figure, names, code, details, help_), trimmed(error)


def _why(s: Subject, found: list[Parameter], error: BaseException, grads: Mapping[str, Tensor]) -> tuple[str, str, str]:
    """The rule, the reason and what to do."""
    if _GROUP.search(str(error)):
        return "", "its class wants torch.distributed", "call torch.distributed.init_process_group() first"
    if not found:
        return "", "", "no parameter fails alone: look at the traceback (--traceback)"
    p = found[0]
    place = s.place(p.name)
    profile = place.profile if place else None
    if not p.trainable or p.name not in grads:
        crashing = next((q for q in _kin(s, profile) if q.frozen == "crash"), None)
        known = f"{crashing.title} is known to fail so" if crashing else ""
        reason = f"no gradient{' (frozen)' * (not p.trainable)}" + (f"; {known}" if known else "")
        frozen = not p.trainable
        help_ = "filter on requires_grad when the groups are built" if frozen else "leave what has no gradient out"
        return "PML104" if frozen else "", reason, help_
    refused = place is not None and place.half == "muon" and (place.action == "error" or p.ndim != 2)
    if refused and place is not None:
        return "PML208", _of_its_shape(s, p, profile), "move tensors of this shape to the AdamW half"
    codes = s.codes(p.name)
    return (codes[0] if codes else ""), "", "look at the traceback (--traceback)"


def _of_its_shape(s: Subject, p: Parameter, profile: Profile | None) -> str:
    """What is known of a Muon half and tensors of so many dimensions. A release of the same class may be known to
    refuse what the one that it was taken for accepts: which of them is installed cannot always be told."""
    dims = f"{p.ndim} dimension{'s' * (p.ndim != 1)}"
    if profile is None:
        return f"this has {dims}"
    refusing = next((q for q in _kin(s, profile) if q.ndim.get(str(min(p.ndim, 5))) == "error"), None)
    if refusing is None:
        return f"this has {dims}, and {profile.title} is not known to refuse that"
    bug = next((b for b in refusing.known_bugs if f"{p.ndim}-D" in b and "crash" in b), "")
    return f"{refusing.title}: {bug or f'no tensors of {dims} in its Muon half'}"


def _kin(s: Subject, profile: Profile | None) -> list[Profile]:
    """A profile, and those of other releases of its class."""
    if profile is None:
        return []
    return [profile, *(q for q in s.maker.profiles.values() if q != profile and set(q.classes) & set(profile.classes))]


def _culprits(s: Subject, grads: Mapping[str, Tensor], error: BaseException) -> set[str]:
    """Parameters on which an optimizer fails alone, with the same kind of error. Of one shape and dtype in one
    group, one is asked."""
    model = twin_of(s.model, s.again)
    made = s.maker.make(model)
    names = {id(p): name for name, p in parameters(model).items()}
    verdicts: dict[tuple[Any, ...], bool] = {}
    found: set[str] = set()
    for optimizer, group, tensor in list(_singly(made))[:_MOST]:
        name = names.get(id(tensor))
        if name is None:
            continue
        key = (id(optimizer), id(group), tuple(tensor.shape), tensor.dtype, tensor.requires_grad, name in grads)
        if key not in verdicts:
            give(model, {name: grads[name]} if name in grads else {})
            verdicts[key] = fails_alone(optimizer, group, tensor, error)
        if verdicts[key]:
            found.add(name)
    return found


def _singly(made: Made) -> Iterator[tuple[Any, dict[str, Any], Any]]:
    for optimizer, group in made.groups():
        for tensor in list(group["params"]):
            yield optimizer, group, tensor
