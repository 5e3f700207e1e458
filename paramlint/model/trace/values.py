"""What is known of the values of tensors on meta: small integers and flags are worked out beside the pass.

Models ask for values to steer themselves: how many image tokens there are, where a sequence ends, how a grid is cut. An
operation whose tensor operands are all known is done a second time on the CPU; anything else is unknown, and is
answered with something plausible when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

_MOST = 1 << 18  # elements of integers: indices, grids
_MOST_FLAGS = 1 << 22  # of masks, which models spread over all features
_MOST_REAL = 1 << 12  # of floating point
_RANDOM = frozenset(
    "rand randn randint randperm bernoulli uniform normal multinomial native_dropout exponential empty empty_like "
    "empty_strided empty_permuted new_empty new_empty_strided rand_like randn_like randint_like".split()
)
Known = tuple[Any, tuple[Any, ...], dict[str, Any]]


class Values:
    """The real values of tensors on meta, by identity.

    `real` says that the pass is on real tensors: then nothing is worked out beside it. `aside` is entered where
    something is. `guessed` tells whether a value was asked for that is not known.
    """

    def __init__(self, *, real: bool = False, aside: Callable[[], AbstractContextManager[Any]] = nullcontext) -> None:
        self.real, self.aside, self.guessed = real, aside, False
        self._of: dict[int, torch.Tensor] = {}
        self._spoiled: set[int] = set()
        self._kept: list[torch.Tensor] = []

    def know(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        self._of[id(tensor)] = value.detach()
        self._kept.append(tensor)

    def of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The values of a tensor, or None where they are not known."""
        if tensor.device.type == "cpu" and type(tensor) is torch.Tensor:
            return tensor.detach()
        value = self._of.get(id(tensor))
        if value is not None and self._spoiled and value.untyped_storage()._cdata in self._spoiled:
            return None
        return value

    def guess(self, tensor: torch.Tensor) -> torch.Tensor:
        """The values of a tensor, plausible where they are not known: ones, so that masks let everything through."""
        value = self.of(tensor)
        if value is not None:
            return value
        self.guessed = True
        with torch._C.DisableTorchFunction(), self.aside():  # a mode that builds on meta would have it there
            return torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu")

    def scalar(self, tensor: torch.Tensor) -> bool | int | float | complex:
        with self.aside():
            return self.guess(tensor).item()

    def before(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], tensors: Sequence[torch.Tensor]
    ) -> Known | None:
        """The same operation on the CPU, if all its operands are known; takes note of writes that are not."""
        if self.real:
            return None
        if not tensors:
            if name in _RANDOM:
                return None
        elif not self._all_known(tensors):
            if func._schema.is_mutable:
                old = self.of(tensors[0])
                if old is not None:
                    self._spoiled.add(old.untyped_storage()._cdata)
            return None
        elif name in _RANDOM or name.rstrip("_") in _RANDOM:
            return None
        for t in tensors:
            if t.numel() > (_MOST_FLAGS if t.dtype is torch.bool else _MOST):
                return None
        swap = {id(t): self.of(t) for t in tensors}
        kw = {k: _swapped(v, swap) for k, v in kwargs.items()}
        if kw.get("device") is not None:
            kw["device"] = torch.device("cpu")
        return func, tuple(_swapped(a, swap) for a in args), kw

    def _all_known(self, tensors: Sequence[torch.Tensor]) -> bool:
        for t in tensors:
            if id(t) not in self._of and (t.is_meta or self.of(t) is None):
                return False
        return all(self.of(t) is not None for t in tensors)

    def after(self, func: Any, known: Known | None, outs: Sequence[torch.Tensor]) -> None:
        """Remembers what came out, where the operation could be done on the CPU.

        Whole numbers made of unknown ones (a length, a duration) are taken to be one from then on, so that what is made
        of them agrees.
        """
        if known is None or not outs:
            if func is torch.ops.aten._to_copy.default and outs and outs[0].is_meta:
                made = outs[0]
                if not made.dtype.is_floating_point and not made.dtype.is_complex and made.numel() <= _MOST:
                    self.know(made, torch.ones(made.shape, dtype=made.dtype, device="cpu"))
            return
        for t in outs:
            if not pretends(t) or t.numel() > _most(t):
                return
        call, args, kwargs = known
        try:
            with self.aside():
                made = call(*args, **kwargs)
        except Exception:  # whatever the CPU has against it: then it is not known
            return
        values = [v for v in (made if isinstance(made, (list, tuple)) else (made,)) if isinstance(v, torch.Tensor)]
        if len(values) == len(outs):
            for t, value in zip(outs, values, strict=True):
                if value.shape == t.shape:
                    self.know(t, value)


def _most(tensor: torch.Tensor) -> int:
    if tensor.dtype is torch.bool:
        return _MOST_FLAGS
    return _MOST_REAL if tensor.dtype.is_floating_point else _MOST


def pretends(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a shape and no values of its own."""
    return tensor.is_meta or type(tensor).__name__ == "FakeTensor"


def _swapped(value: Any, swap: Mapping[int, Any]) -> Any:
    if isinstance(value, torch.Tensor):
        return swap[id(value)]
    if isinstance(value, (list, tuple)):
        return type(value)([_swapped(v, swap) for v in value]) if type(value) in (list, tuple) else value
    return value
