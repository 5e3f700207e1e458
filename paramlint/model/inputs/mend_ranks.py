"""Mends how many dimensions inputs have, and what is in them: numbers, integers or flags."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from paramlint.model.inputs.attempt import Attempt, leaves, owners, with_leaf, with_shape
from paramlint.model.inputs.declared import Sizes, unpacked
from paramlint.model.inputs.failure import Failure
from paramlint.model.inputs.flow import sources
from paramlint.model.inputs.known import FRAMES, STACK, TOKENS, Known
from paramlint.model.inputs.mend_shapes import at_hand

_RANKS = (
    r"number of sizes provided \((\d+)\)",
    r"expected (\d)d(?:, \d+d)* (?:or \d+d )?.*got",
    r"expected (\d) dims",
    r"unpack \(expected (\d+)",
    r"len\(dims\) = (\d+)",
    r"(\d+) values? to unpack",
    r"expected (\d)d? (?:dim|tensor|input)",
    r"must be (?:a )?(\d)-?d",
    r"tensor with (\d) dim",
    r"only supports? (\d)-?d",
    r"has to have (\d) dim",
)


def candidates(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Examples with one tensor of another rank, where layer or message says which."""
    yield from _taken_apart(failure, example)
    yield from _mended(failure, example, _demands(failure))


def _taken_apart(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """With the dimensions that the statement names which could not take them from a shape."""
    frame = failure.deepest
    found = unpacked(frame.line) if frame is not None and failure.said("values to unpack") else None
    if frame is None or found is None:
        return
    name, dims = found
    number = failure.node(frame.local.get(name))
    if number is None:
        return
    sizes, tensors, names = Sizes(failure.known), leaves(example), owners(example)
    for index in dict.fromkeys(sources(failure.graph, number)):
        old = tuple(tensors[index].shape)
        if old == failure.graph.nodes[number].shape:
            bound = sizes.bound({k: v for k, v in example.kwargs.items() if k != names[index]})
            yield with_shape(example, index, sizes.shape(str(names[index]), dims, old, bound))


def unlikely(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Examples with one tensor of another rank, where that is only one of the things that may be wrong."""
    yield from _mended(failure, example, _unlikely(failure))


def _mended(failure: Failure, example: Attempt, demands: Iterator[tuple[int, int]]) -> Iterator[Attempt]:
    for number, want in demands:
        have = len(failure.graph.nodes[number].shape)
        for index in dict.fromkeys(sources(failure.graph, number)):
            tensor = leaves(example)[index]
            target = tensor.ndim + want - have
            if target != tensor.ndim and 0 < target <= 6:
                yield from of_rank(failure, example, index, target)


def of_rank(failure: Failure, example: Attempt, index: int, rank: int) -> Iterator[Attempt]:
    """One tensor of the example with that many dimensions."""
    shape = tuple(leaves(example)[index].shape)
    found = reranked(shape, rank, failure.known)
    ways = [found] if found is not None else []
    if len(shape) == 1 and rank == 2 and index and leaves(example)[0].ndim == 5:
        at = Sizes(failure.known).frames_at(str(owners(example)[0]), 5)
        ways.insert(0, (*shape, leaves(example)[0].shape[at]))  # a number for each frame
    if len(shape) == 3 and rank == 4:
        # vectors of several layers, or several vectors for a token
        stacked = (shape[0], shape[1], STACK, shape[2])
        ways.insert(0 if index else 1, stacked)
    elif len(shape) == 4 and rank == 5:
        ways.append((shape[0], FRAMES, *shape[1:]))
    elif len(shape) == 3 and rank == 5 and index:
        ways.append((shape[0], FRAMES, STACK, shape[1], shape[2]))
    for way in ways:
        yield with_shape(example, index, way)


def reranked(shape: tuple[int, ...], rank: int, known: Known) -> tuple[int, ...] | None:
    """The shape with dimensions added or taken: batch first, channels where layers of that rank have them."""
    have = len(shape)
    side = known.side
    channels = shape[-1] if have in (2, 3) else shape[1] if have > 3 else 3
    if have < rank > 3:
        channels = known.number("in_channels", "in_chans", "input_channels") or channels
    table = {
        (3, 4): (shape[0], channels, side, side),
        (3, 5): (shape[0], channels, known.frames, side, side),
        (4, 5): (shape[0], channels, known.frames, *shape[2:]) if have == 4 else (),
        (5, 4): (shape[0], channels, *shape[3:]) if have == 5 else (),
        (5, 6): (shape[0], STACK, *shape[1:]),
        (4, 3): (shape[0], TOKENS, channels),
        (5, 3): (shape[0], TOKENS, channels),
        (2, 3): (shape[0], TOKENS, channels),
        (2, 4): (shape[0], channels, side, side),
        (2, 5): (shape[0], channels, known.frames, side, side),
        (3, 2): (shape[0], channels),
        (4, 2): (shape[0], channels),
        (1, 2): (*shape, TOKENS),
        (1, 3): (*shape, TOKENS, 64),
        (2, 1): shape[:1],
        (3, 1): shape[:1],
    }
    return table.get((have, rank)) or None


def _demands(failure: Failure) -> Iterator[tuple[int, int]]:
    """Nodes, and the rank that they should have had."""
    for frame in reversed(failure.frames):
        given = frame.local.get("input")
        number = failure.node(given)
        if frame.module is not None and number is not None:
            want = _rank(frame.module)
            if want is not None and isinstance(given, torch.Tensor) and given.ndim != want:
                yield number, want
            break
    want = None
    for pattern in _RANKS:
        said = failure.said(pattern)
        if said:
            want = int(said[1])
            break
    if want is None:
        said = failure.said(r"dimension out of range .*got (-?\d+)")
        if said:
            want = int(said[1]) + 1 if int(said[1]) >= 0 else -int(said[1])
    if want is not None:
        for number, tensor in at_hand(failure):
            if tensor.ndim != want:
                yield number, want


def _unlikely(failure: Failure) -> Iterator[tuple[int, int]]:
    if failure.kind == "IndexError" or (
        failure.said("dimension|too many indices|out of range|invalid for input of size")
        and not failure.said("broadcast a dimension")
    ):
        for number, tensor in at_hand(failure):
            yield number, tensor.ndim + 1
        for number, tensor in at_hand(failure):
            if tensor.ndim > 2:
                yield number, tensor.ndim - 1
    node = failure.operation
    if node is not None and len(node.reads) > 1 and failure.said("dimension|must match|rank"):
        ranks = [len(r.shape) for r in node.reads]
        for parent, rank in zip(node.parents, ranks, strict=True):
            for other in dict.fromkeys(ranks):
                if rank < other:
                    yield parent, other
        for parent, rank in zip(node.parents, ranks, strict=True):
            for other in dict.fromkeys(ranks):
                if rank > other > 0:
                    yield parent, other


def _rank(module: nn.Module) -> int | None:
    if isinstance(module, _ConvNd):
        return int(module.weight.ndim)
    if isinstance(module, _BatchNorm):
        name = type(module).__name__
        return {"1": 3, "2": 4, "3": 5}.get(name[-2:-1])
    return 3 if isinstance(module, nn.RNNBase) else None


def of_dtype(failure: Failure, example: Attempt) -> Iterator[Attempt]:
    """Examples with one tensor of another dtype."""
    text = failure.text.lower()
    node = failure.operation
    numbers = list(node.parents) if node is not None else []
    numbers += [n for n, _ in at_hand(failure)]
    indices = list(dict.fromkeys(i for n in numbers for i in sources(failure.graph, n)))
    tensors = leaves(example)
    if (
        "indices" in text
        or "offsets" in text
        or "used as indices" in text
        or ("float" in text and "index" in text)
        or "bincount" in text
    ):
        for i in indices:
            if tensors[i].dtype == torch.bool:
                yield with_leaf(example, i, lambda t: t.long())
        for i in indices:
            if tensors[i].dtype.is_floating_point:
                yield with_leaf(example, i, _integers)
        return
    if not any(
        w in text for w in ("dtype", "scalar type", "bool", "floating", "input type", "not implemented for", "cast")
    ):
        return
    for i in indices:
        dtype = tensors[i].dtype
        if dtype == torch.bool:
            yield with_leaf(example, i, lambda t: t.long())
        if not dtype.is_floating_point:
            yield with_leaf(example, i, lambda t: torch.empty(t.shape, dtype=_number(failure), device="meta"))
        elif dtype != _number(failure):
            yield with_leaf(example, i, lambda t: t.to(_number(failure)))
        elif "bool" in text:
            yield with_leaf(example, i, lambda t: torch.ones(t.shape, dtype=torch.bool))


def _integers(t: torch.Tensor) -> torch.Tensor:
    return torch.ones(t.shape[:2], dtype=torch.long)


def _number(failure: Failure) -> torch.dtype:
    """The dtype that the model counts in."""
    return next((p.dtype for p in failure.model.parameters() if p.dtype.is_floating_point), torch.float32)
