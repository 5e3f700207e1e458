"""Operations that move rows and do nothing else, followed exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod

from paramlint.model.trace.graph import Geometry, Node
from paramlint.model.trace.parts_layout import Block, Piece, carried, laid, marked, seen

_RESHAPES = frozenset("_unsafe_view view reshape _reshape_alias view_copy flatten unsqueeze squeeze".split())
Moves = list[tuple[list[Piece], Geometry]]  # pieces, and the part of the result that they are put into


def looked(blocks: Iterable[Block], g: Geometry) -> Iterator[Piece]:
    """What a view sees of a storage."""
    for b in blocks:
        if (c := seen(b.layout, g.offset, g.shape, g.strides)) is not None:
            yield Piece(b.parameter, c)


def carry(p: Piece, shape: tuple[int, ...], out: tuple[int, ...], mark: int = 0) -> Piece:
    """The rows of an operand where they are in the result."""
    return Piece(p.parameter, carried(marked(p.content, mark), shape, out))


def reshaped(op: str, shape: tuple[int, ...], outs: Sequence[Geometry], pieces: Sequence[Piece]) -> Moves | None:
    """A view that is recorded as a copy: another shape for the same elements, or several slices of one tensor."""
    whole = _dense(shape)
    views: list[tuple[Geometry, Geometry]] = []
    if len(outs) == 1:
        if prod(outs[0].shape) != prod(shape) or outs[0].shape == shape or op not in _RESHAPES:
            return None
        views.append((_dense(outs[0].shape), outs[0]))
    else:
        at = 0
        dim = next((d for d in range(len(shape)) if outs[0].shape[d : d + 1] != shape[d : d + 1]), 0)
        kept = len(outs[0].shape) == len(shape)  # else unbound
        for g in outs:
            strides = whole.strides if kept else (*whole.strides[:dim], *whole.strides[dim + 1 :])
            views.append((Geometry(0, at * whole.strides[dim], g.shape, strides), g))
            at += g.shape[dim] if kept else 1
    blocks = _blocks(pieces, whole)
    return [(list(looked(blocks, view)), out) for view, out in views]


def picked(node: Node, pieces: Sequence[Piece]) -> Moves | None:
    """Slices of a tensor that constants pick, one beside another."""
    found: Sequence[tuple[int, tuple[int, ...] | None]] = node.details.get("picked") or ()
    out, shape = node.outputs[0], node.reads[0].shape
    if len(found) != 1 or len(out.shape) != len(shape):
        return None
    dim, values = found[0]
    if values is None or out.shape[dim] != len(values):
        return None
    whole = _dense(shape)
    blocks = _blocks(pieces, whole)
    return [
        (list(looked(blocks, _slice(whole, dim, value % shape[dim]))), _slice(out, dim, at))
        for at, value in enumerate(values)
    ]


def _blocks(pieces: Sequence[Piece], g: Geometry) -> list[Block]:
    return [Block(p.parameter, laid(p.content, g.shape, g.strides)) for p in pieces]


def _dense(shape: tuple[int, ...]) -> Geometry:
    strides: list[int] = []
    size = 1
    for n in reversed(shape):
        strides.insert(0, size)
        size *= n
    return Geometry(-1, 0, shape, tuple(strides))


def _slice(g: Geometry, dim: int, at: int) -> Geometry:
    """The view of a tensor at one index of a dimension, which is left out."""
    shape, strides = (*g.shape[:dim], *g.shape[dim + 1 :]), (*g.strides[:dim], *g.strides[dim + 1 :])
    return Geometry(g.storage, g.offset + at * g.strides[dim], shape, strides)
