"""Mends the sizes of example inputs: each operation and layer that failed tells what it wanted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from paramlint.model.inputs.attempt import Attempt, leaves, owners, resized, with_leaf, with_shape, with_size
from paramlint.model.inputs.declared import Sizes
from paramlint.model.inputs.failure import Failure
from paramlint.model.inputs.flow import Wish, sources, wishes
from paramlint.model.inputs.known import TOKENS, width_of
from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Node

_COMMON = (8, 16, 24, 28, 32, 48, 56, 64, 84, 96, 112, 128, 160, 192, 224, 240, 256, 299, 320, 384, 448, 512)
_LARGEST = 1 << 20
Demand = tuple[int, int, int]  # node, dimension, the size it should have had


def candidates(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Examples with one size changed, the likeliest first."""
    yield from _batches(failure, example)
    demands = dict.fromkeys((*_of_layer(failure), *_of_operation(failure)))
    ways = [_granted(failure, example, demand) for demand in demands]
    while ways:  # by turns: of several sizes that do not fit only one may be wrong
        for way in list(ways):
            found = next(way, None)
            if found is None:
                ways.remove(way)
            else:
                yield found
    yield from _several(failure, example)
    for demand in _of_message(failure):
        yield from _granted(failure, example, demand)


def _several(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """More numbers for each sample, where each of them is made into a vector."""
    node = failure.operation
    if node is None or node.op not in kinds.PRODUCTS:
        return
    for number, dim, want in _of_product(node):
        have = failure.graph.nodes[number].shape[dim]
        if want % have or not 2 <= want // have <= 64:
            continue
        tensors = leaves(example)
        for i in sources(failure.graph, number):
            if tensors[i].ndim == 1:
                yield with_shape(example, i, (tensors[i].shape[0], want // have))
            elif tensors[i].ndim == 2 and i:
                yield with_size(example, i, 1, tensors[i].shape[1] * (want // have))


def _batches(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Contexts for each frame, where frames are samples: (2 x 4, n) does not go with (2, 4 x n)."""
    node = failure.operation
    shapes = [r.shape for r in node.reads if len(r.shape) > 2] if node is not None else []
    if len(shapes) != 2 or math.prod(shapes[0]) != math.prod(shapes[1]):
        return
    few, many = sorted((shapes[0][0], shapes[1][0]))
    for i, t in enumerate(leaves(example)):
        if i and few < many and t.ndim == 3 and t.shape[0] == few:
            yield with_size(example, i, 0, many)


def asked(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Arguments of the shape that the message tells: "`position_ids` must be of shape (tokens, 3)"."""
    said = failure.said(
        r"[`'\"]?(\w+)[`'\"]? (?:must|should|has to|needs to|is expected)[^()\[\]]*[(\[]([\w\s,.*]+)[)\]]"
    )
    if said and "," in said[2]:
        dims = [d.strip() for d in said[2].split(",") if d.strip()]
        for i, (owner, t) in enumerate(zip(owners(example), leaves(example), strict=True)):
            if owner == said[1]:
                old = list(t.shape)[-len(dims) :]
                old = [TOKENS] * (len(dims) - len(old)) + old
                shape = tuple(int(d) if d.isdecimal() else n for d, n in zip(dims, old, strict=True))
                yield with_shape(example, i, shape)
    said = failure.said(r"divisible by (\d+)|multiple of (\d+)")
    if said:
        step = int(said[1] or said[2])
        for i, t in enumerate(leaves(example)):
            if t.ndim >= 4 and 0 < step <= 512:
                for times in (1, 2, 4, 8, 16):
                    yield _sides(example, i, step * times)
            elif t.ndim == 3 and 0 < step <= 1 << 16:
                yield with_size(example, i, 1, -(-t.shape[1] // step) * step)
                yield with_size(example, i, 2, -(-t.shape[2] // step) * step)


def _granted(failure: Failure, example: Attempt, demand: Demand) -> Iterator[Attempt]:
    found = list(wishes(failure.graph, *demand))
    # the first argument is the data that others are to fit
    for wish in sorted(found, key=lambda w: (w.dim == 0, w.given == 0, w.hops)):
        yield from changed(example, wish)
    if len({w.given for w in found}) > 1:  # those that are put side by side
        for wish in found:
            example = with_size(example, wish.given, wish.dim, wish.size) if wish.size <= _LARGEST else example
        yield example


def alike(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Two arguments that the message names given one shape."""
    if not failure.said("equal|same|match|agree"):
        return
    named = [i for i, o in enumerate(owners(example)) if isinstance(o, str) and re.search(rf"\b{o}\b", failure.text)]
    tensors = leaves(example)
    for i in named[1:]:
        if tensors[i].shape != tensors[named[0]].shape:
            yield with_shape(example, i, tuple(tensors[named[0]].shape))


def changed(example: Attempt, wish: Wish) -> Iterator[Attempt]:
    """The example with a wish fulfilled. Sides of images change together, to common sizes first."""
    tensor = leaves(example)[wish.given]
    if wish.size > _LARGEST or wish.dim >= tensor.ndim:
        return
    spatial = wish.dim >= 2 and tensor.ndim >= 4 and tensor.dtype.is_floating_point
    if spatial and tensor.shape[-1] == tensor.shape[-2] and wish.dim >= tensor.ndim - 2:
        exact = wish.size
        for size in dict.fromkeys((min(_COMMON, key=lambda c: abs(c - exact)), exact)):
            if size * 4 > exact and size < exact * 4:
                yield _sides(example, wish.given, size)
    yield with_size(example, wish.given, wish.dim, wish.size)


def _sides(example: Attempt, index: int, size: int) -> Attempt:
    return with_leaf(example, index, lambda t: resized(resized(t, t.ndim - 1, size), t.ndim - 2, size))


def other_sizes(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Images of other common sizes, sequences of other lengths: where nothing better is known."""
    yield from _smaller(failure, example)
    declared = Sizes(failure.known)
    for i, (owner, t) in enumerate(zip(owners(example), leaves(example), strict=True)):
        if t.ndim == 5 and t.dtype.is_floating_point:
            for size in (1, 9, 5, 33, 4, 16):
                yield _frames(example, i, declared.frames_at(str(owner), 5), size)
    for i, t in enumerate(leaves(example)):
        if t.ndim >= 4 and t.shape[-1] == t.shape[-2] and t.dtype.is_floating_point:
            for size in (224, 256, 64, 128, 32, 28, 512, 384, 96, 299, 16, 1024):
                if size != t.shape[-1]:
                    yield _sides(example, i, size)
    if not any(
        n in failure.text.lower() for n in ("size", "shape", "dim", "length", "small", "divi", "split", "kernel")
    ):
        return
    for i, t in enumerate(leaves(example)):
        if t.ndim == 3 and t.dtype.is_floating_point:
            for dim in (2, 1):
                for size in (64, 256, 1024, 4096, 16000):
                    if t.shape[dim] < size:
                        yield with_size(example, i, dim, size)


def _frames(example: Attempt, index: int, dim: int, size: int) -> Attempt:
    """A video of another length, and what was given for each of its frames."""
    before = leaves(example)[index].shape[dim]
    for i, t in enumerate(leaves(example)):
        if t.ndim == 2 and t.shape[1] == before:
            example = with_size(example, i, 1, size)
    return with_size(example, index, dim, size)


def _smaller(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Smaller images, for operations that are only tried on little data."""
    if not failure.said("too large to be tried"):
        return
    for i, t in enumerate(leaves(example)):
        for a, b in pairwise(range(1, t.ndim)):
            if t.ndim > 3 and t.shape[a] == t.shape[b] >= 32 and t.dtype.is_floating_point:
                for size in (64, 32, 16):
                    if size < t.shape[a]:
                        yield with_size(with_size(example, i, a, size), i, b, size)


def _of_layer(failure: Failure) -> Iterator[Demand]:
    """What the innermost layer that was entered reads, against what it was given."""
    for frame in reversed(failure.frames):
        module = frame.module
        if module is None or (module is failure.model and "input" not in frame.local):
            continue
        given = frame.local.get("input", frame.local.get("x", frame.local.get("hidden_states")))
        number = failure.node(given)
        if number is None:
            continue
        dim = channel(module, given.ndim)
        if dim is None:
            continue
        want = width_of(module)
        if 0 <= dim < given.ndim and given.shape[dim] != want:
            yield number, dim, want
        return


def channel(module: nn.Module, rank: int) -> int | None:
    """Which dimension of its input a layer of torch's own reads as channels."""
    if isinstance(module, _ConvNd):
        return 1 if rank == module.weight.ndim else 0 if rank == module.weight.ndim - 1 else None
    if isinstance(module, (nn.Linear, nn.LayerNorm, nn.RNNBase, nn.RNNCellBase)):
        return rank - 1
    if isinstance(module, nn.GroupNorm):
        return 1
    if isinstance(module, _BatchNorm):
        return 1 if rank >= 2 else None
    return None


def _of_operation(failure: Failure) -> Iterator[Demand]:
    """What the operation that raised wanted of its operands."""
    node = failure.operation
    if node is None or not node.reads:
        for number, tensor in at_hand(failure):
            yield from _reshaping(failure, number, tuple(tensor.shape))
        return
    op = node.op
    if op in kinds.CONVOLUTIONS and len(node.reads) > 1:
        data, weight = node.reads[0].shape, node.reads[1].shape
        said = failure.said(r"to have (\d+) channels, but got")
        if len(data) > 1:
            groups = int(node.details.get("groups") or 1)
            fits = weight[0] if node.details.get("transposed") else weight[1] * groups
            if said or data[1] != fits:
                yield node.parents[0], 1, int(said[1]) if said else fits
        if failure.said("kernel size"):
            for d in range(2, len(data)):
                yield node.parents[0], d, max(data[d] * 2, weight[d])
    elif op in kinds.PRODUCTS:
        yield from _of_product(node)
    elif op in ("cat", "stack", "concat"):
        yield from _equal(node, list(range(len(node.reads))))
    elif kinds.attends(op):
        yield from _equal(node, [0, 1, 2], from_left=True)
        if len(node.reads) > 3:
            yield from _like_scores(node)
    elif op in ("view", "_unsafe_view", "reshape"):
        yield from _reshaping(failure, node.parents[0], node.reads[0].shape)
    elif "pad" in op:
        said = failure.said(r"padding \((\d+), (\d+)\) at dimension (\d+)")
        if said and int(said[3]) < len(node.reads[0].shape):
            yield node.parents[0], int(said[3]), max(16000, 2 * (int(said[1]) + int(said[2])))
    elif "pool" in op and failure.said("too small"):
        shape = node.reads[0].shape
        for d in sorted(range(2, len(shape)), key=lambda d: shape[d]):
            yield node.parents[0], d, shape[d] * 4
    elif len(node.reads) > 1:
        yield from _equal(node, [0, 1])
        if len(node.reads) > 2:
            yield from _equal(node, [0, 2])


def _of_product(node: Node) -> Iterator[Demand]:
    first, second = kinds.PRODUCTS[node.op]
    at = {o: i for i, o in enumerate(node.operands)}
    if first not in at or second not in at:
        return
    i, j = at[first], at[second]
    a, b = node.reads[i].shape, node.reads[j].shape
    if not a or not b:
        return
    row = max(0, len(b) - 2)
    if a[-1] != b[row]:
        yield node.parents[i], len(a) - 1, b[row]
        yield node.parents[j], row, a[-1]
    if len(a) == 3 == len(b) and a[0] != b[0]:
        yield node.parents[j], 0, a[0]
        yield node.parents[i], 0, b[0]


def _equal(node: Node, which: list[int], *, from_left: bool = False) -> Iterator[Demand]:
    """Sizes that should have been the same: those of later operands are to fit the first, then the reverse."""
    if max(which) >= len(node.reads):
        return
    first = node.reads[which[0]].shape
    backward: list[Demand] = []
    along = node.details.get("dim")
    for i in which[1:]:
        shape = node.reads[i].shape
        for k in range(1, min(len(first), len(shape)) + 1):
            a, b = (k - 1, k - 1) if from_left else (len(first) - k, len(shape) - k)
            if first[a] == shape[b] or (along is not None and a == int(along) % len(first)):
                continue
            yield node.parents[i], b, first[a]
            backward.append((node.parents[which[0]], a, shape[b]))
    yield from backward


def _like_scores(node: Node) -> Iterator[Demand]:
    """A mask beside query and key."""
    query, key, mask = node.reads[0].shape, node.reads[1].shape, node.reads[3].shape
    if mask and mask[-1] not in (1, key[-2]):
        yield node.parents[3], len(mask) - 1, key[-2]
    if len(mask) > 1 and mask[-2] not in (1, query[-2]):
        yield node.parents[3], len(mask) - 2, query[-2]


def _reshaping(failure: Failure, number: int, shape: tuple[int, ...]) -> Iterator[Demand]:
    said = failure.said(r"shape '\[([-\d, ]*)\]' is invalid for input of size (\d+)")
    if not said:
        return
    target = [int(d) for d in said[1].split(",") if d.strip()]
    size = int(said[2])
    if math.prod(shape) != size:
        return
    known = math.prod(d for d in target if d > 0)
    for d in range(len(shape) - 1, -1, -1):
        rest = size // max(1, shape[d])
        if -1 not in target:
            if rest and known % rest == 0:
                yield number, d, known // rest
        elif known <= 1 << 22:
            if target[-1] < 0 and d < len(shape) - 1 and rest == shape[-1]:
                yield number, d, known
            step = known // math.gcd(known, rest)
            yield number, d, -(-shape[d] // step) * step


def _of_message(failure: Failure) -> Iterator[Demand]:
    """Two sizes in the message, one of which a tensor at hand has."""
    pairs: list[tuple[int, int]] = []
    for pattern in (
        r"tensor a \((\d+)\) must match the size of tensor b \((\d+)\)",
        r"has size (\d+) for operand \d+ which does not broadcast with previously seen size (\d+)",
        r"expected size (\d+) but got size (\d+)",
        r"must be equal to input_size\. Expected (\d+), got (\d+)",
        r"should contain (\d+) elements not (\d+)",
        r"expect\w*\D{1,40}?(\d+)\D{1,40}?(?:got|received|but|not|found)\D{1,40}?(\d+)",
        r"(?:was|is)? ?expecting embedding dimension of (\d+), but got (\d+)",
        r"\((\d+)\)\D+\((\d+)\)",
        r"(\d+)\D+(?:!=|not equal to|doesn't match|does not match|must match)\D*(\d+)",
    ):
        for m in (failure.said(pattern),):
            if m:
                pairs.append((int(m[1]), int(m[2])))
    shapes = [[int(n) for n in re.findall(r"\d+", m)] for m in re.findall(r"[\[(]([\d, ]+)[\])]", failure.text)]
    for a, b in pairwise(shapes):
        if len(a) == len(b) > 1:
            pairs += [pair for pair in zip(b, a, strict=True) if pair[0] != pair[1]]
    beyond = failure.said(r"index (\d+) is out of bounds for dimension \d+ with size (\d+)")
    if beyond:
        pairs.append((int(beyond[1]) + 1, int(beyond[2])))
    for want, got in dict.fromkeys(pairs):
        if want == got:
            continue
        for number, t in at_hand(failure):
            for d in range(t.ndim - 1, -1, -1):
                if t.shape[d] == got:
                    yield number, d, want
        for number, t in at_hand(failure):
            for d in range(t.ndim - 1, -1, -1):
                if t.shape[d] == want:
                    yield number, d, got


def at_hand(failure: Failure) -> list[tuple[int, torch.Tensor]]:
    """The tensors that the message names, then those in the statement that failed, then in those that called it."""
    found: dict[int, torch.Tensor] = {}
    said: set[int] = set()
    for frame in reversed(failure.frames):
        spoken = [n for n in frame.local if n in failure.text and re.search(rf"\b{n}\b", failure.text)]
        for name in (*frame.names, *(spoken if frame.own else ())):
            value: Any = frame.local.get(name)
            for v in value if isinstance(value, (list, tuple)) else (value,):
                number = failure.node(v)
                if number is not None:
                    found.setdefault(number, v)
                    if re.search(rf"\b{name}\b", failure.text):
                        said.add(number)
        if frame.own and frame.function == "forward" and len(found) > 3:
            break
    return sorted(found.items(), key=lambda item: item[0] not in said)
