"""An example that is being mended: it remembers what it was before, so that nothing is tried twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from paramlint.model.inputs.example import Example

_MOST = 1 << 20  # integers in a tensor


@dataclass(frozen=True)
class Attempt(Example):
    """`tried` are the keys of all examples before this one. `reached` is how far the pass came that it was made
    from, and what stopped that; `others` are the ways in which that might have been mended instead. `idle` counts the
    mends since the last one that helped."""

    tried: frozenset[str] = frozenset()
    reached: tuple[int, int, str] = (-1, 0, "")
    others: tuple[Attempt, ...] = ()
    idle: int = 0

    @property
    def key(self) -> str:
        """Tells examples apart by the shapes, dtypes and plain values in them."""
        return repr((_told(self.args), _told(dict(self.kwargs)), self.training))


def attempt(example: Example) -> Attempt:
    """The example as an attempt."""
    if isinstance(example, Attempt):
        return example
    return Attempt(example.args, example.kwargs, example.hidden, example.training, example.part)


def _told(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), str(value.dtype))
    if isinstance(value, (list, tuple)):
        return [_told(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _told(v) for k, v in value.items()}
    return repr(value) if isinstance(value, (int, float, str, bool, type(None))) else type(value).__name__


def leaves(example: Example) -> list[torch.Tensor]:
    """Its tensors, in the order in which a graph numbers its inputs."""
    values = [*example.args, *example.kwargs.values()]
    return [t for v in values for t in pytree.tree_leaves(v) if isinstance(t, torch.Tensor)]


def owners(example: Example) -> list[int | str]:
    """For each of its tensors the position or the name of the argument that it is in."""
    named: list[tuple[int | str, Any]] = [*enumerate(example.args), *example.kwargs.items()]
    return [k for k, v in named for t in pytree.tree_leaves(v) if isinstance(t, torch.Tensor)]


def _places(example: Example) -> list[tuple[Any, ...]]:
    """For each of its tensors where it is; those in one list are at the same place."""

    def walked(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        if isinstance(value, torch.Tensor):
            yield path
        elif isinstance(value, Mapping):
            for k, v in value.items():
                yield from walked(v, (*path, k))
        elif isinstance(value, (list, tuple)):
            for v in value:
                yield from walked(v, (*path, "[]"))

    return [p for k, v in (*enumerate(example.args), *example.kwargs.items()) for p in walked(v, (k,))]


def with_leaf(example: Attempt, index: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Attempt:
    """The example with one of its tensors changed, and those that are like it in the same list."""
    tensors, places = leaves(example), _places(example)
    mine = tensors[index]
    alike = {
        i
        for i, t in enumerate(tensors)
        if i == index or (places[i] == places[index] and t.shape == mine.shape and t.dtype == mine.dtype)
    }
    count = iter(range(1 << 30))
    changed = example.mapped(lambda t: change(t) if next(count) in alike else t)
    assert isinstance(changed, Attempt)
    return changed


def with_shape(example: Attempt, index: int, shape: tuple[int, ...]) -> Attempt:
    """The example with one of its tensors of another shape."""
    return with_leaf(example, index, lambda t: reshaped(t, shape))


def with_size(example: Attempt, index: int, dim: int, size: int) -> Attempt:
    """The example with another size in one dimension of one of its tensors."""
    return with_leaf(example, index, lambda t: resized(t, dim, size))


def with_argument(example: Attempt, owner: int | str, value: Any) -> Attempt:
    """The example with one argument set, by position or by name."""
    if isinstance(owner, int):
        args = list(example.args)
        if owner >= len(args):
            return example
        args[owner] = value
        return replace(example, args=tuple(args))
    return replace(example, kwargs={**example.kwargs, owner: value})


def without(example: Attempt, name: str) -> Attempt:
    return replace(example, kwargs={k: v for k, v in example.kwargs.items() if k != name})


def resized(tensor: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """The tensor with another size in one dimension: integers keep their values, and repeat the last."""
    if tensor.shape[dim] == size or size < 1:
        return tensor
    if tensor.is_meta or tensor.dtype.is_floating_point or tensor.numel() == 0:
        shape = list(tensor.shape)
        shape[dim] = size
        return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    if tensor.numel() // tensor.shape[dim] * size > _MOST:
        return tensor
    index = torch.arange(size).clamp(max=tensor.shape[dim] - 1)
    return tensor.index_select(dim, index)


def reshaped(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of its dtype with another shape, of one value where it has values."""
    if tensor.is_meta or tensor.dtype.is_floating_point:
        return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    if math.prod(shape) > _MOST:
        return tensor
    value = tensor.flatten()[0].item() if tensor.numel() else 1
    return torch.full(shape, value, dtype=tensor.dtype, device="cpu")
