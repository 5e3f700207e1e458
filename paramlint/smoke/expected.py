"""How large the first update of a parameter should be, by what its optimizer says of itself.

An update is what is added to the weight, over -lr, without the part of weight decay. Of an orthogonalised matrix of
`A` rows and `B` columns all singular values are about 1, times the lr scale of the profile: its RMS is
`scale * sqrt(r / (A B))`, `r` being the rank of the gradient. Five Newton-Schulz steps leave singular values between
about 0.7 and 1.2 (Keller Jordan, https://kellerjordan.github.io/posts/muon/). Adam's first update is the sign of the
gradient, but for its eps: g / (|g| + eps) (Kingma and Ba, https://arxiv.org/abs/1412.6980).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, prod, sqrt
from typing import Any

import torch
from torch import Tensor

from paramlint import layout
from paramlint.checks.context import Placement
from paramlint.profile import LrScale

#: What may lie around an expected RMS, and around a singular value of 1.
BAND = (0.5, 1.5)
SINGULAR = (0.5, 1.4)
#: Singular values of a gradient, as shares of its norm, that five steps bring into the band.
LIFTED = 0.02
_QUINTIC = (3.4445, -4.775, 2.0315)
_STEPS = 5
_ROUNDING = 0.8
_TINY = 1e-38  # where eps is 0, 0 / 0 has to be 0
#: What a profile's Muon half holds where its update is orthogonal, and not scaled by a second moment besides.
_MOMENTUM_ALONE = (("full",), ("float32",), ("bfloat16",))


@dataclass(frozen=True)
class Rates:
    """The numbers of a live group that its update depends on."""

    lr: float
    decay: float
    eps: float


def rates(group: dict[str, Any], place: Placement) -> Rates:
    """Those of the group as it is now. Decay that goes into the gradient is none of the update."""
    lr_key = place.profile.lr_key if place.profile else "lr"
    decay_key = place.profile.decay_key if place.profile else "weight_decay"
    decoupled = group.get("decoupled_weight_decay", group.get("weight_decouple", True))
    decay = _number(group.get(decay_key, group.get("weight_decay", 0.0)))
    return Rates(_number(group.get(lr_key, group.get("lr", 0.0))), decay if decoupled else 0.0, _eps(group))


def update(before: Tensor, after: Tensor, r: Rates) -> Tensor:
    """-(after - before + lr wd before) / lr, as `parts`; lr must not be 0."""
    old = parts(before)
    return (parts(after) - old).add_(old, alpha=r.lr * r.decay).div_(-r.lr)


def parts(tensor: Tensor) -> Tensor:
    """A tensor in float32; of complex numbers both parts, in a last dimension of two. Adam takes them apart too."""
    return torch.view_as_real(tensor.resolve_conj()).float() if tensor.is_complex() else tensor.float()


def is_finite(tensor: Tensor) -> bool:
    """Whether there is neither NaN nor infinity in it."""
    return bool(torch.isfinite(tensor).all())


def rms(tensor: Tensor) -> float:
    return float(parts(tensor).norm()) / sqrt(max(tensor.numel(), 1))


def is_plain(place: Placement) -> bool:
    """Whether the Muon half is orthogonalised momentum and nothing more."""
    return place.profile is not None and place.profile.state.get("muon") in _MOMENTUM_ALONE


def is_adaptive(place: Placement) -> bool:
    """Whether the elementwise half divides by a second moment: its first update is a sign."""
    return place.profile is not None and len(place.profile.state.get("adam", ())) >= 2


def matrices(tensor: Tensor, place: Placement, role: str) -> Tensor:
    """The matrices that a Muon half should see in a tensor, (count, rows, columns).

    A stack of experts is so many matrices, whatever the optimizer makes of it; of anything else the profile says.
    """
    if tensor.ndim <= 2:
        return tensor.reshape(1, *tensor.shape) if tensor.ndim == 2 else tensor.reshape(1, 1, -1)
    if role == "expert-stack" or place.action == "batch":
        return tensor.reshape(-1, *tensor.shape[-2:])
    return tensor.reshape(1, tensor.shape[0], -1)


def factors(shape: tuple[int, ...], place: Placement) -> tuple[float, float] | None:
    """What the profile multiplies an orthogonal matrix with, for a tensor of this shape, as least and most; None where
    it does not say.

    One that flattens does so before it looks at the shape; a batch has the factor of each of its matrices. For a
    filter both are allowed: some take rows and columns from its last two dimensions, and flatten it all the same.
    """
    scale = place.lr_scale
    if scale is None or len(shape) < 2:
        return None
    last, flat = _factor(scale, *shape[-2:]), _factor(scale, shape[0], prod(shape[1:]))
    if len(shape) == 2 or place.action == "batch":
        return last, last
    return min(last, flat), max(last, flat)


def _factor(scale: LrScale, rows: int, columns: int) -> float:
    if scale in layout.ONE_SIDED:
        return layout.factor(scale, rows, columns)
    longer = max(rows, columns)
    return 0.2 * sqrt(longer) if scale == "rms" else sqrt(longer) if scale == "sqrt-max" else 1.0


def lifted(shares: Tensor) -> Tensor:
    """What Newton-Schulz makes of singular values that are given as shares of the matrix's norm."""
    a, b, c = _QUINTIC
    x: Tensor = shares.double()
    for _ in range(_STEPS):
        x = a * x + b * x**3 + c * x**5
    return x


def ideal_norms(shares: Tensor) -> tuple[float, float]:
    """The least and the largest Frobenius norm that five steps should give a matrix whose gradient has these singular
    values, as shares of its norm.

    Iterations run in bfloat16: what is left over from rounding is lifted too, and fills the rest of the rank with up to
    `_ROUNDING` of the norm that the gradient's own directions have (measured: 0.2 of it at rank 30 of 256, 0.7 to 0.9
    at rank 2 of 48 and less).
    """
    own = lifted(shares)
    rank = int((shares >= LIFTED).sum())
    rest = _ROUNDING**2 * rank * (1 - rank / len(shares))
    least = float(own.square().sum())
    return sqrt(least), sqrt(least + rest)


def share_of(size: float, least: float, largest: float) -> float:
    """A size over what is expected: 1 from the least to the largest. Of NaN that is NaN."""
    if least <= size <= largest:
        return 1.0
    return size / (least if size < least else largest)


def singular_values(matrix: Tensor) -> Tensor:
    """Largest first, in float64 on the CPU, by way of the smaller Gram matrix where the sides differ much.

    Those of a matrix with NaN or infinity cannot be found, and are NaN.
    """
    m = matrix.detach().double().cpu()
    if not is_finite(m):
        return torch.full((min(m.shape),), nan, dtype=m.dtype)
    if m.shape[0] > m.shape[1]:
        m = m.T
    if m.shape[1] > 2 * m.shape[0]:
        # values under 1e-8 of the largest are lost in the squares: nothing here asks for them
        squares: Tensor = torch.linalg.eigvalsh(m @ m.T)
        return squares.clamp_(min=0).sqrt_().flip(0)
    values: Tensor = torch.linalg.svdvals(m)
    return values


def adam_rms(gradient: Tensor, eps: float) -> float:
    """RMS of g / (|g| + eps) over entries that are not 0."""
    g = parts(gradient).abs()
    count = int(g.count_nonzero())
    return float((g / (g + max(eps, _TINY))).norm()) / sqrt(count) if count else 0.0


def rms_where(tensor: Tensor, gradient: Tensor) -> float:
    """RMS over the entries whose gradient is not 0; both as `parts`."""
    there = parts(gradient) != 0
    count = int(there.count_nonzero())
    return float((tensor * there).norm()) / sqrt(count) if count else 0.0


def _eps(group: dict[str, Any]) -> float:
    value = group.get("adamw_eps", group.get("eps", 1e-8))
    return _number(value[0] if isinstance(value, (list, tuple)) and value else value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
