"""A stand-in for a model: the same modules on the meta device, to be run without touching the original."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from paramlint.model.facts import unwrapped, walk
from paramlint.model.trace.values import Values

_VALUES_KEPT = 1 << 14  # elements of an integer buffer whose values may steer a forward pass


class Twin:
    """A copy of a model on meta, in evaluation mode, with the hooks of distributed wrappers taken off.

    `parameters` are its tensors in the order of the inventory's; `values` are the real values of small integer
    buffers, which steer forward passes.
    """

    def __init__(self, model: nn.Module) -> None:
        originals = list(distinct_parameters(model))
        memo: dict[int, Any] = {}
        self.parameters: list[nn.Parameter] = []
        self.values: list[tuple[torch.Tensor, torch.Tensor]] = []
        for p in originals:
            meta = nn.Parameter(_blank(p), requires_grad=False)
            self.parameters.append(meta)
            memo[id(p)] = meta
        for tensor in _other_tensors(model):
            if id(tensor) not in memo:
                blank = _blank(tensor)
                memo[id(tensor)] = blank
                if not tensor.dtype.is_floating_point and not tensor.is_meta and tensor.numel() <= _VALUES_KEPT:
                    with suppress(RuntimeError, NotImplementedError):
                        self.values.append((blank, tensor.detach().cpu()))
        self.module = _plain(copy.deepcopy(unwrapped(model), memo))
        self.module.eval()

    def tell(self, values: Values) -> None:
        for tensor, value in self.values:
            values.know(tensor, value)


def distinct_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters in the order of `paramlint.model.facts.inventory`: each tensor once."""
    seen: set[int] = set()
    for _, module in walk(model):
        for p in module._parameters.values():
            if p is not None and id(p) not in seen:
                seen.add(id(p))
                yield p


def _blank(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of that shape and dtype without memory. A sharded one has its global shape, a lazy one none yet."""
    if nn.parameter.is_lazy(tensor):
        raise NotReady("lazy parameters have no shape yet: run the model once, or give it sizes")
    return torch.empty(tuple(tensor.shape), dtype=tensor.dtype, device="meta")


class NotReady(Exception):
    """The model cannot be run, and the message says why."""


def _other_tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    """Buffers, and tensors kept in plain attributes."""
    for _, module in walk(model):
        for buffer in module._buffers.values():
            if buffer is not None:
                yield buffer
        for value in vars(module).values():
            if isinstance(value, torch.Tensor):
                yield value
            elif isinstance(value, (list, tuple)):
                yield from (v for v in value if isinstance(v, torch.Tensor))


def _plain(module: nn.Module) -> nn.Module:
    """Takes compiled and distributed layers of a copy off, in place."""
    for m in list(module.modules()):
        if getattr(m, "_compiled_call_impl", None) is not None:
            m._compiled_call_impl = None
        for hooks in (m._forward_pre_hooks, m._forward_hooks):
            for key, hook in list(hooks.items()):
                if _distributed(hook):
                    del hooks[key]
        for name, child in list(m._modules.items()):
            if child is not None and type(child).__name__ == "OptimizedModule":
                m._modules[name] = child._modules["_orig_mod"]
    return module


def _distributed(hook: Any) -> bool:
    while hasattr(hook, "func"):
        hook = hook.func
    hook = getattr(hook, "__wrapped__", hook)
    return (getattr(hook, "__module__", "") or "").startswith("torch.distributed")
