"""Which rows of a matrix the elements of a tensor belong to, told by their addresses.

A product by a matrix of F rows gives a tensor with one element for each row (and token). Views share its storage, so
that the address of an element says its row. A `Layout` is that knowledge for one storage: a box of addresses, written
as digits of a mixed radix, and how many rows a step in each digit moves on. A `Content` is what a view sees of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Digit(NamedTuple):
    """One digit of an address: of its `total` values those from `low` on, `many` of them, hold rows `step` apart."""

    stride: int
    total: int
    low: int
    many: int
    step: int


class Span(NamedTuple):
    """(Part of) a dimension: of `size` indices those from `low` on, `many` of them, hold rows `step` apart."""

    size: int
    low: int
    many: int
    step: int


Lattice = tuple[tuple[int, int], ...]  # (count, step) pairs: the sums of so many steps of each


class Layout:
    """Where rows lie in a storage. `every` are rows that each single element holds, beside its own.

    Made by `layout` alone, so that equal ones are one: models repeat themselves, and what was worked out is kept.
    """

    __slots__ = ("digits", "every", "marks", "row")

    def __init__(self, row: int, digits: tuple[Digit, ...], every: Lattice, marks: int) -> None:
        self.row, self.digits, self.every, self.marks = row, digits, every, marks

    def smeared(self) -> Lattice:
        """The rows of each element where it is not known which is where."""
        return self.every + tuple((d.many, d.step) for d in self.digits if d.step and d.many > 1)


class Content:
    """Where rows lie in a tensor: `spans` holds the parts of each dimension, the outer ones first. Made by `content`.

    `settled` are the dimensions whose index says something of the row.
    """

    __slots__ = ("every", "marks", "row", "settled", "spans")

    def __init__(self, row: int, spans: tuple[tuple[Span, ...], ...], every: Lattice, marks: int) -> None:
        self.row, self.spans, self.every, self.marks = row, spans, every, marks
        self.settled = tuple(d for d, ss in enumerate(spans) if any(s.step or s.many < s.size for s in ss))

    def smeared(self) -> Lattice:
        """The rows of each element where it is not known which is where."""
        return self.every + tuple((s.many, s.step) for spans in self.spans for s in spans if s.step and s.many > 1)

    @property
    def rows(self) -> int:
        """The rows as bits."""
        return bits(self.row, self.smeared())

    def unplaced(self, dims: int) -> Content:
        """The same rows, no longer known where, in a tensor of so many dimensions."""
        return content(self.row, ((),) * dims, self.smeared(), self.marks)


class Block(NamedTuple):
    """Rows of a parameter in a storage."""

    parameter: int
    layout: Layout


class Piece(NamedTuple):
    """Rows of a parameter in a tensor."""

    parameter: int
    content: Content


_KEPT = 1 << 14


@lru_cache(maxsize=_KEPT)
def layout(row: int, digits: tuple[Digit, ...], every: Lattice = (), marks: int = 0) -> Layout:
    return Layout(row, digits, every, marks)


@lru_cache(maxsize=_KEPT)
def content(row: int, spans: tuple[tuple[Span, ...], ...], every: Lattice = (), marks: int = 0) -> Content:
    return Content(row, spans, every, marks)


def marked(c: Content, marks: int) -> Content:
    """The same rows with more marks."""
    return c if c.marks & marks == marks else content(c.row, c.spans, c.every, c.marks | marks)


@lru_cache(maxsize=_KEPT)
def bits(row: int, lattice: Lattice) -> int:
    """The rows of a lattice as bits of one number."""
    found = 1 << row
    for count, step in lattice:
        have = 1
        while have < count:
            take = min(have, count - have)
            found |= found << take * step
            have += take
    return found


Placed = list[list[tuple[int, int, int]]]  # for each dimension, outer parts first: size, digit, step in that digit


def _placed(
    digits: tuple[Digit, ...], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[list[int], Placed] | None:
    """The digits of a tensor's first address, and those that each dimension runs through; None if it is no box."""
    starts, rest = [], offset
    for d in digits:
        i, rest = divmod(rest, d.stride)
        starts.append(i)
    if rest:
        return None
    found: Placed = []
    reach = list(starts)
    for n, stride in zip(shape, strides, strict=True):
        parts: list[tuple[int, int, int]] = []
        found.append(parts)
        if n == 1 or stride == 0:
            continue
        k = next((i for i, d in enumerate(digits) if d.stride <= stride), None)
        if k is None:
            return None
        while n > 1:
            d = digits[k]
            step, odd = divmod(stride, d.stride)
            if odd or step == 0:
                return None
            if k == 0 or starts[k] + (n - 1) * step < d.total:
                parts.insert(0, (n, k, step))
                reach[k] += (n - 1) * step
                break
            low, odd = divmod(d.total, step)
            if odd or low < 1 or n % low or starts[k] or digits[k - 1].stride != d.total * d.stride:
                return None
            if low > 1:
                parts.insert(0, (low, k, step))
                reach[k] += (low - 1) * step
            n, stride, k = n // low, d.total * d.stride, k - 1
    if any(r >= d.total for r, d in zip(reach, digits, strict=True)):
        return None
    return starts, found


@lru_cache(maxsize=_KEPT)
def seen(held: Layout, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Content | None:
    """What a view of a storage sees of rows in it; None if nothing."""
    at = _placed(held.digits, offset, shape, strides)
    if at is None:
        return content(held.row, ((),) * len(shape), held.smeared(), held.marks)
    starts, placed = at
    members: list[list[tuple[int, int, int, int]]] = [[] for _ in held.digits]  # step, size, dimension, part
    for dim, parts in enumerate(placed):
        for i, (n, k, step) in enumerate(parts):
            members[k].append((step, n, dim, i))
    spans = [[Span(n, 0, n, step * held.digits[k].step) for n, k, step in parts] for parts in placed]
    row = held.row
    for d, start, inside in zip(held.digits, starts, members, strict=True):
        high, extent = d.low + d.many, sum((n - 1) * step for step, n, _, _ in inside)
        if start + extent < d.low or start >= high:
            return None
        if start >= d.low and start + extent < high:
            row += (start - d.low) * d.step
            continue
        step, n, dim, i = max(inside)
        inner = extent - (n - 1) * step
        first = max(0, -((start - d.low) // step))
        last = min(n, (high - 1 - inner - start) // step + 1)
        whole = (first == 0 or start + (first - 1) * step + inner < d.low) and (
            last == n or start + last * step >= high
        )
        if not whole:
            return content(held.row, ((),) * len(shape), held.smeared(), held.marks)
        if last <= first:
            return None
        spans[dim][i] = Span(n, first, last - first, step * d.step)
        row += (start + first * step - d.low) * d.step
    return content(row, tuple(tuple(s) for s in spans), held.every, held.marks)


def digits_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[Digit, ...]:
    """The digits of addresses in a storage that was made for such a tensor."""
    dims = sorted(((s, n) for n, s in zip(shape, strides, strict=True) if n > 1 and s > 0), reverse=True)
    return tuple(Digit(s, n, 0, n, 0) for s, n in dims)


@lru_cache(maxsize=_KEPT)
def laid(c: Content, shape: tuple[int, ...], strides: tuple[int, ...]) -> Layout:
    """The rows of a tensor in a new storage, made for it with these strides."""
    digits: list[Digit] = []
    for n, stride, spans in zip(shape, strides, c.spans, strict=True):
        if n == 1 or stride == 0:
            continue
        size = 1
        mine: list[Digit] = []
        for s in reversed(spans):
            d = Digit(stride * size, s.size, s.low, s.many, s.step)
            if mine and mine[-1].many == mine[-1].total and d.step == mine[-1].step * mine[-1].total:
                inner = mine.pop()
                t = inner.total
                d = Digit(inner.stride, t * d.total, t * d.low, t * d.many, inner.step)
            mine.append(d)
            size *= s.size
        digits += mine if size == n else [Digit(stride, n, 0, n, 0)]
    digits.sort(reverse=True)
    return layout(c.row, tuple(digits), c.every, c.marks)


@lru_cache(maxsize=_KEPT)
def written(
    c: Content,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    base: tuple[tuple[int, ...], tuple[int, ...]],
) -> Layout:
    """The rows of a tensor that is put into a view of a storage. `base`: shape and strides that this was made for."""
    if offset == 0 and (shape, strides) == base:
        return laid(c, shape, strides)
    whole = digits_of(*base)
    at = _placed(whole, offset, shape, strides)
    if at is None:
        return laid(c.unplaced(len(base[0])), *base)
    starts, placed = at
    digits = [Digit(d.stride, d.total, start, 1, 0) for d, start in zip(whole, starts, strict=True)]
    split: dict[int, list[Digit]] = {}
    every = list(c.every)
    for parts, spans in zip(placed, c.spans, strict=True):
        known = len(parts) == 1 and parts[0][2] == 1 and digits[parts[0][1]].many == 1
        if known and len(spans) == 1:
            k, s = parts[0][1], spans[0]
            d = digits[k]
            digits[k] = Digit(d.stride, d.total, d.low + s.low, s.many, s.step)
        elif known and len(spans) > 1 and parts[0][0] == whole[parts[0][1]].total:
            k, size = parts[0][1], 1
            split[k] = []
            for s in reversed(spans):
                split[k].insert(0, Digit(whole[k].stride * size, s.size, s.low, s.many, s.step))
                size *= s.size
        else:
            every += [(s.many, s.step) for s in spans if s.step and s.many > 1]
            for n, k, step in parts:
                d = digits[k]
                digits[k] = Digit(d.stride, d.total, d.low, min(d.total - d.low, d.many + (n - 1) * step), 0)
    flat = tuple(x for k, d in enumerate(digits) for x in split.get(k, [d]))
    return layout(c.row, flat, tuple(every), c.marks)


@lru_cache(maxsize=_KEPT)
def carried(c: Content, shape: tuple[int, ...], out: tuple[int, ...]) -> Content:
    """The rows of a tensor of one shape in the result of an operation that leaves features in their places."""
    if shape == out:
        return c
    shift = len(out) - len(shape)
    if shift >= 0 and all(a in (1, b) for a, b in zip(shape, out[shift:], strict=True)):
        pairs = [(d + shift, d) for d in range(len(shape))]
    elif shift == 0 and all(shape[d] == out[d] for d in c.settled):
        pairs = [(d, d) for d in range(len(shape))]
    elif all(d + shift >= 0 and shape[d] == out[d + shift] for d in c.settled):
        pairs = [(d + shift, d) for d in range(len(shape)) if d + shift >= 0]
    elif shift < 0 and all(d < len(out) and shape[d] == out[d] for d in c.settled):
        pairs = [(d, d) for d in range(len(out))]
    else:
        return c.unplaced(len(out))
    spans: list[tuple[Span, ...]] = [()] * len(out)
    for o, d in pairs:
        if shape[d] == out[o]:
            spans[o] = c.spans[d]
    return content(c.row, tuple(spans), c.every, c.marks)
