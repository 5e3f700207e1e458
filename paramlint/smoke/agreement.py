"""How far an update over several processes may be from that of one process, and how far it is.

Every process has the same batch, so that the average of their gradients is the gradient of one process, but for the
order in which numbers are added.

- **Elementwise half**: 1e-5 of the update, in RMS. Adam's first update is g / (|g| + eps): a relative change of g by a
  few units in the last place of float32 (1.2e-7) changes it by no more than that. For other dtypes it is as many units
  in the last place (84), and 2 % at most.
- **Muon half**: 10 % of the update along the gradient: the RMS of D G^T over that of U G^T, for an update U, its
  difference D and the gradient G (G^T D where G has more rows than columns). Newton-Schulz runs in bfloat16 and lifts
  small singular values by up to 3.4445^5 = 485: where the gradient has none, as with fewer tokens than rows, it lifts
  rounding errors, and two runs that add in another order differ there by up to 45 % of the whole update. Along the
  gradient they differ by 0.3 to 4 % (measured on matrices of 16 to 1024 rows, of full and low rank, their columns
  summed in two or four parts; 7 % with 8 rows), but shards that are orthogonalised one by one, or an elementwise
  update, by 24 % and more.
- One unit in the last place of the stored weight comes on top: an update is what a weight moved by, and is rounded
  with it.
- A gradient that is a millionth of the largest one is the rounding error of a sum that cancels (as is that of an
  attention's key bias). What is made of it is no update, and differences in it are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import Literal

import torch
from torch import Tensor

from paramlint.smoke.expected import parts
from paramlint.smoke.step import Updates

MUON = 0.1
ELEMENTWISE = 1e-5
_COARSE = 0.02
_NOISE = 1e-6

Stage = Literal["wrap", "optimizers", "groups", "forward", "step", "other", "done"]
#: Where all ranks know of each other that they stopped, or that none did: they can go on to something else.
TOGETHER: tuple[Stage, ...] = ("optimizers", "groups", "done")


@dataclass(frozen=True)
class Difference:
    """One parameter's update against that of a single process.

    `update` is the RMS of the difference over the RMS of the update, both along the gradient for the Muon half;
    `gradient` the RMS of the difference of gradients over that of the gradient. `noise`: its gradient is nothing but
    rounding error.
    """

    name: str
    update: float
    allowed: float
    gradient: float = 0.0
    noise: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is more than it may be. NaN is."""
        return not self.update <= self.allowed and not self.noise


@dataclass(frozen=True)
class Outcome:
    """What one rank says of one way to run: how far it came, and what stopped it there.

    `parameters` are those that the error is about. The rest is said by rank 0: `differences`, one for each parameter;
    `ranks`, the largest absolute difference between two ranks afterwards, of parameters that differ; `regrouped`, lines
    about groups that are others than without a wrapper; `remarks`, other lines; `seconds` of the step.
    """

    mode: str
    rank: int
    stage: Stage = "done"
    error: str = ""
    parameters: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    ranks: Mapping[str, float] | None = None
    regrouped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0


def differences(alone: Updates, together: Updates, muon: frozenset[str]) -> tuple[Difference, ...]:
    """Of every parameter, in model order. `muon` are those that are orthogonalised, or may be."""
    sizes = {name: _rms(g) for name, g in alone.gradients.items()}
    largest = max(sizes.values(), default=0.0)
    found = []
    for name, before in alone.before.items():
        wanted = alone.after[name]
        update, off = parts(wanted) - parts(before), parts(together.after[name]) - parts(wanted)
        moved = _rms(update)
        unit = torch.finfo(wanted.dtype).eps if wanted.is_floating_point() or wanted.is_complex() else 0.0
        allowed = unit * _rms(wanted) / moved if moved else 0.0
        if name in muon and not wanted.is_complex():
            allowed += MUON
            share = _along(off, update, alone.gradients.get(name))
        else:
            allowed += min(ELEMENTWISE * unit / torch.finfo(torch.float32).eps, _COARSE)
            share = _share(_rms(off), moved)
        noise = 0.0 < sizes.get(name, 0.0) < _NOISE * largest
        found.append(Difference(name, share, allowed, _gradient(alone, together, name), noise))
    return tuple(found)


def _along(off: Tensor, update: Tensor, gradient: Tensor | None) -> float:
    """The share of a difference in an update, both seen along the gradient. Of more than two dimensions some classes
    make a batch of matrices and some one matrix: the smaller share counts."""
    if gradient is None or update.ndim < 2 or not bool(gradient.any()):
        return _share(_rms(off), _rms(update))
    views = [update.shape] if update.ndim == 2 else [torch.Size((update.shape[0], -1)), update.shape]
    shares = []
    for shape in views:
        g, d, u = (t.float().reshape(shape) for t in (gradient, off, update))
        if g.shape[-2] <= g.shape[-1]:
            d, u = d @ g.mT, u @ g.mT
        else:
            d, u = g.mT @ d, g.mT @ u
        shares.append(_share(_rms(d), _rms(u)))
    return min(shares)


def _gradient(alone: Updates, together: Updates, name: str) -> float:
    one, other = alone.gradients.get(name), together.gradients.get(name)
    if one is None or other is None:
        return 0.0 if one is other else inf
    return _share(_rms(parts(other) - parts(one)), _rms(one))


def _share(part: float, whole: float) -> float:
    return part / whole if whole and isfinite(whole) else 0.0 if part == 0.0 else inf


def _rms(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(parts(tensor))) / sqrt(max(tensor.numel(), 1))
