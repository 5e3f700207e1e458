"""Evidence from the shape alone: what is at most one-dimensional in effect is no matrix, whoever owns it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from paramlint.parameter import Evidence, Parameter


def speak(p: Parameter) -> Iterator[Evidence]:
    """Speaks only where at most one dimension is longer than one: `(D,)`, `(C, 1, 1)`, `(1, 1, D)`, `[1, N]`."""
    if p.effective_ndim > 1 or p.state != "ok":
        return
    shape = "x".join(map(str, p.shape)) or "scalar"
    if p.ndim <= 1:
        yield Evidence("shape", "scale", f"a vector ({shape})" if p.ndim else "a scalar")
    elif p.ndim == 2 and max(p.shape) > 1:
        yield Evidence("shape", "row-matrix", f"one row or column only ({shape})")
    elif p.shape[-1] > 1 and p.ndim >= 3:
        yield Evidence("shape", "token", f"one vector ({shape}), broadcast over the dimensions before it")
    else:
        yield Evidence("shape", "scale", f"one-dimensional in effect ({shape})")


def alike(p: Parameter, seen: Collection[tuple[int, ...]]) -> Iterator[Evidence]:
    """A matrix that no trace saw at work, of the shape of matrices that it saw: `seen` has theirs."""
    if p.ndim == 2 and p.effective_ndim == 2 and p.reach == "unreached" and p.shape in seen:
        yield Evidence("shape", "hidden-matrix", "of the shape of hidden matrices that the trace saw at work", "guess")
