"""Which input a size inside a pass came from, and what it should have been for that size to be another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Geometry, Graph, Node

_MOST = 20_000  # steps back


class Wish(NamedTuple):
    """Dimension `dim` of input `given` should have `size`. `hops` counts the operations in between."""

    given: int
    dim: int
    size: int
    hops: int


def wishes(graph: Graph, number: int, dim: int, want: int) -> Iterator[Wish]:
    """The inputs that dimension `dim` of a node may come from, the nearest first.

    Args:
        graph: a pass that failed.
        number: of the node.
        dim: of its first output, from the left.
        want: the size that it should have had.
    """
    seen: set[tuple[int, int]] = set()
    queue = [(number, dim, want, 0)]
    while queue and len(seen) < _MOST:
        number, dim, want, hops = queue.pop(0)
        node = graph.nodes[number]
        if (number, dim) in seen or dim >= len(node.shape) or want < 1:
            continue
        seen.add((number, dim))
        if node.leaf:
            if node.leaf == "input" and node.shape[dim] != want:
                yield Wish(node.index, dim, want, hops)
            continue
        for parent, d, w in _before(graph, node, dim, want):
            queue.append((parent, d, w, hops + 1))


def sources(graph: Graph, number: int) -> Iterator[int]:
    """The inputs that a node was made of, the nearest first, not looking through products with parameters."""
    seen: set[int] = set()
    queue = [number]
    while queue and len(seen) < _MOST:
        number = queue.pop(0)
        if number in seen:
            continue
        seen.add(number)
        node = graph.nodes[number]
        if node.leaf == "input":
            yield node.index
        elif not node.leaf:
            queue.extend(node.parents)


def _before(graph: Graph, node: Node, dim: int, want: int) -> Iterator[tuple[int, int, int]]:
    """The same dimension one operation earlier: parent, dimension of it, size it should have had."""
    op, out = node.op, node.outputs[0]
    size = out.shape[dim]
    if op in kinds.CONVOLUTIONS:
        if dim == 0:
            yield node.parents[0], 0, want
        elif dim > 1:
            before = node.reads[0].shape[dim]
            yield node.parents[0], dim, max(1, before * want // max(1, size))
        return
    if op in kinds.PRODUCTS:
        yield from _before_product(node, dim, want)
        return
    if op.startswith("embedding") and len(node.parents) > 1:
        if dim < len(node.reads[1].shape):
            yield node.parents[1], dim, want
        return
    if op in kinds.JOINS and op in ("cat", "concat"):
        along = int(node.details.get("dim") or 0) % len(out.shape)
        for parent, geometry in zip(node.parents, node.reads, strict=True):
            if len(geometry.shape) == len(out.shape):
                own = geometry.shape[dim]
                if dim != along:
                    yield parent, dim, want
                else:
                    yield parent, dim, own + want - size if own + want > size else max(1, own * want // max(1, size))
        return
    for parent, geometry in zip(node.parents, node.reads, strict=True):
        for d, w in _in(geometry, out, op, dim, want):
            yield parent, d, w


def _before_product(node: Node, dim: int, want: int) -> Iterator[tuple[int, int, int]]:
    first, second = kinds.PRODUCTS[node.op]
    at = {o: i for i, o in enumerate(node.operands)}
    rank = len(node.shape)
    if first not in at or second not in at:
        return
    if dim < rank - 1:
        yield node.parents[at[first]], dim, want
        if dim < rank - 2:
            yield node.parents[at[second]], dim, want
    elif rank > 2:
        yield node.parents[at[second]], dim, want


def _in(before: Geometry, out: Geometry, op: str, dim: int, want: int) -> Iterator[tuple[int, int]]:
    """Where a dimension of an output lies in an operand, and the size it should have there."""
    size = out.shape[dim]
    if before.shape == out.shape and op not in ("transpose", "permute", "t"):
        yield dim, want
        return
    if op == "repeat":
        at = dim - len(out.shape) + len(before.shape)
        if at >= 0 and before.shape[at] and want % (size // before.shape[at]) == 0:
            yield at, want // (size // before.shape[at])
        return
    if op in kinds.VIEWS:
        if op in ("view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy"):
            yield from _regrouped(before.shape, out.shape, dim, want)
            return
        if before.storage == out.storage and dim < len(out.strides):
            stride = out.strides[dim]
            for d, (n, s) in enumerate(zip(before.shape, before.strides, strict=False)):
                if s == stride and stride and (n == size or op in ("slice", "split", "chunk", "narrow", "unfold")):
                    yield d, want if n == size else max(1, n * want // max(1, size))
            return
    same = [d for d, n in enumerate(before.shape) if n == size and n > 1]
    right = dim - len(out.shape) + len(before.shape)
    if right in same:
        yield right, want
    elif len(same) == 1:
        yield same[0], want
    elif op not in kinds.VIEWS and len(before.shape) == len(out.shape) and before.shape[dim] > 1:
        # pooling, padding, interpolation: in proportion
        yield dim, max(1, before.shape[dim] * want // max(1, size))


def _regrouped(before: tuple[int, ...], after: tuple[int, ...], dim: int, want: int) -> Iterator[tuple[int, int]]:
    """Dimensions merged or split by a reshape."""
    i = j = 0
    while i < len(before) and j < len(after):
        a, b, left, right = before[i], after[j], [i], [j]
        while a != b:
            if a < b and i + 1 < len(before):
                i += 1
                a *= before[i]
                left.append(i)
            elif a > b and j + 1 < len(after):
                j += 1
                b *= after[j]
                right.append(j)
            else:
                return
        i, j = i + 1, j + 1
        if dim not in right:
            continue
        size = after[dim]
        if len(left) == 1:
            rest = before[left[0]] // max(1, size)
            yield left[0], want * rest
            return
        wide = [d for d in left if before[d] > 1]
        square = len(wide) == 2 and before[wide[0]] == before[wide[1]] > 3
        if square and len(right) == 1:
            # a grid: both sides of it grow alike
            yield wide[-1], max(1, round(before[wide[-1]] * (want / max(1, size)) ** 0.5))
        for d in wide:
            others = 1
            for e in left:
                others *= before[e] if e != d else 1
            total = want
            for e in right:
                total *= after[e] if e != dim else 1
            if total % max(1, others) == 0:
                yield d, total // others
        return
