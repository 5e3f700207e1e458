"""Weights that are stored (in, out), and fused ones: what their layout means for an optimizer. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod, sqrt

from paramlint import parts
from paramlint.parameter import Parameter
from paramlint.profile import LrScale, Profile

#: Scales that change when rows and columns are swapped: sqrt(max(1, A/B)) and sqrt(A/B).
ONE_SIDED: tuple[LrScale, ...] = ("kj", "spectral")


def storing(classes: Iterable[str]) -> str | None:
    """Of the last components of class names, the one that stores weights (in, out): the `Conv1D` of transformers, and
    transposed convolutions."""
    return next((c for c in classes if c == "Conv1D" or "ConvTranspose" in c), None)


def factor(scale: LrScale, rows: int, columns: int) -> float:
    """What a one-sided scale multiplies lr with for a matrix of so many rows and columns."""
    ratio = rows / columns
    return sqrt(max(1.0, ratio) if scale == "kj" else ratio)


def factors(scale: LrScale, shape: tuple[int, ...]) -> tuple[float, float]:
    """The factor of a one-sided scale for a weight stored (in, out, ...), and what it would be as (out, in, ...)."""
    rest = prod(shape[2:])
    return factor(scale, shape[0], shape[1] * rest), factor(scale, shape[1], shape[0] * rest)


def turn(scale: LrScale, shape: tuple[int, ...]) -> float:
    """What lr has to be multiplied with for a weight stored (in, out, ...) to move as if it were stored (out, in, ...).

    1 for scales that are not one-sided, and for a tensor without elements.
    """
    if scale not in ONE_SIDED or len(shape) < 2 or not prod(shape):
        return 1.0
    taken, wanted = factors(scale, shape)
    return wanted / taken


def split_sizes(p: Parameter, profile: Profile) -> tuple[int, ...]:
    """The row counts by which this optimizer can take a fused matrix apart; () where it cannot.

    Its parts have to be contiguous rows, one after the other: an interleaved matrix has no such sizes, and one stored
    (in, out) has its parts in the columns.
    """
    use = parts.fused_use(p)
    apart = "split_sizes" in profile.fused_split and p.ndim == 2 and sum(p.splits) == p.shape[0] and len(p.splits) > 1
    return p.splits if apart and (use is None or use.repeats == 1) else ()
