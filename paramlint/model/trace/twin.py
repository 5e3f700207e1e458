"""A stand-in for a model: the same modules on the meta device, to be run without touching the original."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from paramlint.model.facts import walk
from paramlint.model.trace.copies import Copier
from paramlint.model.trace.initial import initial
from paramlint.model.trace.memo import Memo
from paramlint.model.trace.values import Values

_VALUES_KEPT = 1 << 14  # elements of an integer buffer whose values may steer a forward pass


class NotReady(Exception):
    """The model cannot be run, and the message says why."""


class Twin:
    """A copy of a model on meta, in evaluation mode, with the wrappers of compilation and distribution taken off.

    `parameters` are its tensors in the order of the inventory's; `values` are the real values of small integer
    buffers, which steer forward passes. `memo` is kept from pass to pass.

    Raises:
        NotReady: parameters that are lazy, flattened together or gathered elsewhere; TorchScript.
    """

    def __init__(self, model: nn.Module) -> None:
        self.memo = Memo()
        originals = list(distinct_parameters(model))
        _ready(originals, model)
        self.values: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._sources: dict[int, torch.Tensor] = {}  # tensors of the model that are no parameters, by their blank
        copier = Copier(self._blank)
        self.parameters: list[nn.Parameter] = [copier.tensor(p) for p in originals]  # type: ignore[misc]
        self.module = copier.module(model)
        self.values += initial(self.module, {id(t) for t, _ in self.values})
        try:
            self.module.eval()
        except Exception:  # exported modules refuse it
            for m in self.module.modules():
                m.training = False

    def tell(self, values: Values) -> None:
        for tensor, value in self.values:
            values.know(tensor, value.clone())

    def _blank(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of that shape and dtype without memory. A sharded one has its global shape."""
        if nn.parameter.is_lazy(tensor):
            raise NotReady("lazy buffers have no shape yet: run the model once")
        strides = tensor.stride() if tensor.layout is torch.strided and type(tensor) in _PLAIN else None
        shape = tuple(tensor.shape)
        if strides is None:
            blank = torch.empty(shape, dtype=tensor.dtype, device="meta")
        else:
            blank = torch.empty_strided(shape, strides, dtype=tensor.dtype, device="meta")
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(blank, requires_grad=False)
        self._sources[id(blank)] = tensor
        if not tensor.dtype.is_floating_point and not tensor.is_meta and tensor.numel() <= _VALUES_KEPT:
            with suppress(RuntimeError, NotImplementedError):
                self.values.append((blank, tensor.detach().cpu().clone()))
        return blank

    @contextmanager
    def as_(self, change: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]) -> Iterator[list[torch.Tensor]]:
        """With other tensors in the place of its own: yields the parameters, in the order of `parameters`.

        Args:
            change: what stands for a tensor of the stand-in; its second argument is the model's own, or None where
                that is a parameter.
        """
        made: dict[int, torch.Tensor] = {}
        kept: list[torch.Tensor] = []

        def other(t: torch.Tensor) -> torch.Tensor:
            if id(t) not in made:
                made[id(t)] = change(t, self._sources.get(id(t)))
                kept.append(t)
            return made[id(t)]

        undo: list[Callable[[], None]] = []
        try:
            parameters = [other(p) for p in self.parameters]
            for module in self.module.modules():
                places: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, vars(module))
                for place in places:
                    for key, value in list(place.items()):
                        if isinstance(value, torch.Tensor):
                            undo.append(_setter(place, key, value))
                            place[key] = other(value)
                        elif type(value) is list and any(isinstance(v, torch.Tensor) for v in value):
                            undo.append(_setter(place, key, value))
                            place[key] = [other(v) if isinstance(v, torch.Tensor) else v for v in value]
            yield parameters
        finally:
            for back in reversed(undo):
                back()


_PLAIN = (torch.Tensor, nn.Parameter)


def _setter(place: Any, key: Any, value: Any) -> Callable[[], None]:
    return lambda: place.__setitem__(key, value)


def distinct_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters in the order of `paramlint.model.facts.inventory`: each tensor once."""
    seen: set[int] = set()
    for _, module in walk(model):
        for p in module._parameters.values():
            if p is not None and id(p) not in seen:
                seen.add(id(p))
                yield p


def _ready(parameters: list[nn.Parameter], model: nn.Module) -> None:
    for p in parameters:
        if nn.parameter.is_lazy(p):
            raise NotReady("lazy parameters have no shape yet: run the model once, or give it sizes")
        if type(p).__name__ == "FlatParameter":
            raise NotReady("parameters are flattened together (FSDP with use_orig_params=False): trace it unwrapped")
        if hasattr(p, "ds_id") and p.numel() == 0:
            raise NotReady("parameters are emptied until they are gathered (ZeRO-3): trace it before it is wrapped")
    if any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
        raise NotReady("TorchScript is not run from Python: trace the module before it is scripted")
