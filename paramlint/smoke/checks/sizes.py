"""Whether updates have the size and the singular values that the optimizer promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import torch
from torch import Tensor

from paramlint.checks.context import Placement
from paramlint.parameter import Parameter
from paramlint.smoke import expected
from paramlint.smoke.subject import Shown, Subject
from paramlint.smoke.wording import counted
from paramlint.smoked import SmokeCheck

_SAMPLES = 2  # parameters of one role, shape and group
_MATRICES = 3  # of one stack
_SIDE = 2048  # the longest shorter side whose singular values are found on a CPU
_LISTED = 8
#: What a gradient's norm has to be over for eps not to damp an orthogonal update.
_FAINT = 1e-5
#: An Adam half with this share of Muon's lr moves as far in a step as Muon's own matrices, and more.
_SHARE = 1 / 3
#: Up to here an lr is of Adam's size, whosesoever it is.
_ADAMS = 5e-4
_MADE_NAN = "the optimizer makes NaN or infinity of a gradient that has none: look at its eps and the dtype it works in"


@dataclass(frozen=True)
class Matrix:
    """One matrix of an update, over its factor; and what the gradient says it should look like.

    `values` are its singular values, `rank` how many of them have to be about 1, `share` its RMS over the one expected.
    """

    name: str
    role: str
    place: Placement
    values: Tensor
    rank: int
    share: float | None
    index: int = 0

    @property
    def low(self) -> float:
        return float(self.values[self.rank - 1])

    @property
    def high(self) -> float:
        return float(self.values[0])

    @property
    def broken(self) -> bool:
        """Whether the update has NaN or infinity, though the gradient has none."""
        return not expected.is_finite(self.values)

    @property
    def fits(self) -> bool:
        return self.low >= expected.SINGULAR[0] and self.high <= expected.SINGULAR[1]


def sampled(s: Subject) -> list[Matrix]:
    """Matrices of Muon halves, a few of each role, shape and group."""
    found: list[Matrix] = []
    count: dict[tuple[object, ...], int] = {}
    for p, place in s.of_half("muon"):
        shown = _shown(s, p)
        if shown is None or p.ndim < 2 or shown.gradient.is_complex() or not expected.is_plain(place):
            continue
        key = (p.role, p.shape, place.label)
        if count.get(key, 0) < _SAMPLES:
            own = list(_matrices(p, place, shown))
            count[key] = count.get(key, 0) + bool(own)
            found += own
    return found


def update_rms(s: Subject, matrices: Sequence[Matrix]) -> SmokeCheck:
    """Both halves against what they promise, and their step sizes against each other."""
    muon = [m for m in matrices if m.share is not None]
    adam = list(_elementwise(s))
    told, details, wrong = [], [], []
    if muon:
        told.append(f"Muon {_range([m.share or 0 for m in muon])} of what is expected ({len(muon)} matrices)")
        wrong += [m.name for m in muon if not _in_band(m.share or 0)]
    if adam:
        told.append(f"AdamW {_range([share for _, _, share in adam])} ({len(adam)} parameters)")
        wrong += [p.name for p, _, share in adam if not _in_band(share)]
    lost = [*(m.name for m in muon if m.broken), *(p.name for p, _, share in adam if not isfinite(share))]
    if lost:
        told.append(f"{counted(len(set(lost)), 'update')} with NaN or infinity")
    for role in dict.fromkeys(m.role for m in muon):
        details.append(f"{role} (Muon): {_range([m.share or 0 for m in muon if m.role == role])}")
    for role in dict.fromkeys(p.role for p, _, _ in adam):
        details.append(f"{role} (AdamW): {_range([share for p, _, share in adam if p.role == role])}")
    alike = _one_size(s, tuple(details))
    if alike is not None:
        return alike
    if not told:
        return SmokeCheck("update-rms", "skip", _nothing_finite(s) or "no half whose update has a known size")
    if wrong:
        names = tuple(dict.fromkeys(wrong))
        return SmokeCheck(
            "update-rms",
            "fail",
            "; ".join(told),
            names,
            _code(s, names),
            tuple(details),
            _MADE_NAN
            if set(names) <= set(lost)
            else f"the update is outside {expected.BAND[0]:g} to {expected.BAND[1]:g} of what its group says: look at "
            "lr, the lr scale, and how the optimizer takes a tensor of this shape",
        )
    return SmokeCheck("update-rms", "pass", "; ".join(told), details=tuple(details))


def orthogonal(s: Subject, matrices: Sequence[Matrix]) -> SmokeCheck:
    """Singular values of sampled updates: about 1 wherever the gradient has something to orthogonalise."""
    if not matrices:
        inside = [(p, place) for p, place in s.of_half("muon") if p.ndim > 1]
        why = "no matrix is in a Muon half"
        if inside:
            why = "the Muon half does more than orthogonalise, by its profile"
            if any(expected.is_plain(place) for _, place in inside):
                small = "the gradients or lr of its matrices are too small to see their updates by"
                why = _nothing_finite(s) or small
        return SmokeCheck("orthogonal", "skip", why)
    whole = [m for m in matrices if not m.broken]
    names = dict.fromkeys(m.name for m in matrices)
    figure = f"{len(matrices)} sampled matrices of {len(names)} parameters"
    if whole:
        low, high = min(m.low for m in whole), max(m.high for m in whole)
        figure = f"singular values {low:.2f} to {high:.2f} in {figure}"
    if len(whole) < len(matrices):
        figure += f", {len(matrices) - len(whole)} with NaN or infinity"
    details = tuple(_fused(s, matrices))
    bad = [m for m in matrices if not m.fits]
    if not bad:
        return SmokeCheck("orthogonal", "pass", figure, details=details)
    wrong = tuple(dict.fromkeys(m.name for m in bad))
    stacked = next((m for m in bad if m.role == "expert-stack"), None)
    code = "PML209" if stacked and stacked.place.action == "flatten" else _code(s, wrong)
    told = tuple(
        f"{_label(m)}: {'NaN or infinity' if m.broken else f'{m.low:.3f} to {m.high:.3f} over rank {m.rank}'}"
        for m in bad[:_LISTED]
    )
    if stacked:
        help_ = "each expert is a matrix of its own: use an optimizer that batches stacks, or give the stack to AdamW"
    elif all(m.broken for m in bad):
        help_ = _MADE_NAN
    else:
        help_ = "the update is not orthogonalised: it is plain momentum, or the tensor was taken in another shape"
    return SmokeCheck("orthogonal", "fail", figure, wrong, code, (*told, *details), help_)


def _shown(s: Subject, p: Parameter) -> Shown | None:
    """What a step did to a parameter, where its gradient was of numbers: of NaN and infinity nothing follows."""
    shown = s.shown.get(p.name)
    return shown if shown is not None and expected.is_finite(shown.gradient) else None


def _nothing_finite(s: Subject) -> str:
    """The reason why nothing is seen, where that is it."""
    wild = any(not expected.is_finite(shown.gradient) for shown in s.shown.values())
    return "gradients with NaN or infinity say nothing of updates" if wild else ""


def _matrices(p: Parameter, place: Placement, shown: Shown) -> Iterator[Matrix]:
    r = expected.rates(dict(shown.group), place)
    if not r.lr or not _exact(shown.before, r.lr):
        return
    update = expected.update(shown.before, shown.after, r)
    updates = expected.matrices(update, place, p.role)
    grads = expected.matrices(shown.gradient.float(), place, p.role)
    if min(updates.shape[1:]) > _SIDE:
        return
    spread = expected.factors(p.shape, place)
    for index in _strongest(grads):
        strength = float(grads[index].double().norm())
        if strength < _FAINT:
            continue
        shares = expected.singular_values(grads[index]) / strength
        rank = max(1, int((shares >= expected.LIFTED).sum()))
        rows, columns = updates.shape[1:]
        if spread is None:
            values = expected.singular_values(updates[index])
            yield Matrix(p.name, p.role, place, values / values[0].clamp(min=1e-30), rank, None, index)
            continue
        low, high = spread
        size = expected.rms(updates[index])
        least, largest = (norm / sqrt(rows * columns) for norm in expected.ideal_norms(shares))
        chosen = low if abs(size - low * least) <= abs(size - high * least) else high
        values = expected.singular_values(updates[index]) / chosen
        share = expected.share_of(size / chosen, least, largest) if least else None
        yield Matrix(p.name, p.role, place, values, rank, share, index)


def _strongest(grads: Tensor) -> list[int]:
    """Which matrices of a stack are looked at: those with the largest gradients."""
    norms = grads.flatten(1).norm(dim=1)
    return [int(i) for i in norms.topk(min(_MATRICES, len(norms))).indices.sort().values]


def _exact(before: Tensor, lr: float) -> bool:
    """Whether the weight's dtype holds steps of this size: bfloat16 rounds them away."""
    return lr * 0.01 > torch.finfo(before.dtype).eps * expected.rms(before)


def _elementwise(s: Subject) -> Iterator[tuple[Parameter, Placement, float]]:
    """Each parameter of an Adam half, with its RMS over the one expected."""
    for p, place in s.of_half("adam"):
        shown = _shown(s, p)
        if shown is None or not expected.is_adaptive(place):
            continue
        r = expected.rates(dict(shown.group), place)
        ideal = expected.adam_rms(shown.gradient, r.eps)
        if not r.lr or not ideal or not _exact(shown.before, r.lr):
            continue
        update = expected.update(shown.before, shown.after, r)
        yield p, place, expected.rms_where(update, shown.gradient) / ideal


def _one_size(s: Subject, details: tuple[str, ...]) -> SmokeCheck | None:
    """What is wrong where the lr of an Adam half is too near that of Muon's, or the other way round.

    Not where the policy gives a role an lr of its own; nor where Muon's lr is 0, which says nothing of its size.
    """
    rates = {
        p.name: expected.rates(dict(s.shown[p.name].group), place).lr
        for p, place in s.of_half("muon")
        if p.name in s.shown and _is_muon_lr(place)
    }
    largest = max(rates.values(), default=0.0)
    if largest <= 0:
        return None
    large: dict[str, float] = {}
    for p, place in s.of_half("adam"):
        same = place.profile is not None and place.profile.aux_lr == "same"
        if p.name in s.shown and not same and p.role not in s.context.policy.lr and expected.is_adaptive(place):
            lr = expected.rates(dict(s.shown[p.name].group), place).lr
            if lr >= largest * _SHARE:
                large[p.name] = lr
    if not large:
        return None
    if largest <= _ADAMS:
        figure = f"lr {largest:g} of Muon's groups is of AdamW's size ({max(large.values()):g})"
        help_ = "the scale of these updates is made for an lr of about 0.02: with one of Adam's size they are too small"
        return SmokeCheck("update-rms", "fail", figure, tuple(rates), details=details, help=help_)
    figure = f"lr {next(iter(large.values())):g} of an AdamW group is of Muon's size ({largest:g})"
    help_ = "AdamW moves every element by about lr: give its groups an lr of Adam's size, such as 3e-4"
    return SmokeCheck("update-rms", "fail", figure, tuple(large), details=details, help=help_)


def _is_muon_lr(place: Placement) -> bool:
    profile = place.profile
    if profile is None:
        return False
    mode = str(place.option(profile.lr_scale_key)).lower() if profile.lr_scale_key else "default"
    return profile.lr_class.get(mode, profile.lr_class.get("default")) == "muon"


def _fused(s: Subject, matrices: Sequence[Matrix]) -> Iterator[str]:
    """What the parts of a fused matrix got, where it was orthogonalised as one."""
    known = {p.name: p for p in s.inventory.parameters}
    for name in dict.fromkeys(m.name for m in matrices if m.role == "fused-matrix"):
        p, shown, place = known[name], s.shown[name], s.place(name)
        spread = expected.factors(p.shape, place) if place else None
        if place is None or spread is None or p.ndim != 2 or sum(p.splits) != p.shape[0]:
            continue
        update = expected.update(shown.before, shown.after, expected.rates(dict(shown.group), place)) / spread[1]
        parts = [f"{expected.rms(part) * sqrt(max(part.shape)):.2f}" for part in torch.split(update, list(p.splits))]
        yield f"{name}: orthogonalised as one, its parts have {', '.join(parts)} of a matrix of their own (PML212)"


def _code(s: Subject, names: Sequence[str]) -> str:
    return next((code for name in names for code in s.codes(name)), "")


def _label(m: Matrix) -> str:
    return f"{m.name}[{m.index}]" if m.role == "expert-stack" else m.name


def _in_band(share: float) -> bool:
    return expected.BAND[0] <= share <= expected.BAND[1]


def _range(shares: Sequence[float]) -> str:
    numbers = [share for share in shares if isfinite(share)]
    if not numbers:
        return "NaN"
    low, high = min(numbers), max(numbers)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
