"""A second model like the one that is stepped, which checks may leave as they like."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn

from paramlint.errors import ParamlintError

Again = Callable[[], nn.Module]


def twin_of(model: nn.Module, again: Again | None = None) -> nn.Module:
    """A deep copy; where the model refuses one, what `again` builds, with the same weights, buffers and modes.

    A model refuses where a module keeps a tensor that was computed: `torch.nn.utils.weight_norm` and `spectral_norm`
    keep the weight that they made last.

    Raises:
        Exception: what the deep copy raised, where there is no other way.
    """
    try:
        return copy.deepcopy(model)
    except Exception:
        if again is None:
            raise
        return _like(model, again())


def _like(model: nn.Module, made: nn.Module) -> nn.Module:
    """A model that was built again, brought to the state of the first: no hooks of theirs have a say in it."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    made = made.to(device)
    modules = dict(model.named_modules())
    others = dict(made.named_modules())
    if _shapes(modules) != _shapes(others):
        raise ParamlintError("built again, it has other parameters or buffers")
    for path, module in others.items():
        own = modules[path]
        module.training = own.training
        for name, p in module._parameters.items():
            held = own._parameters[name]
            if p is not None and held is not None:
                p.data = held.detach().clone()
                p.requires_grad_(held.requires_grad)
        for name, buffer in own._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.detach().clone()
    return made


def _shapes(modules: Mapping[str, nn.Module]) -> dict[tuple[str, str], torch.Size | None]:
    held = ((path, {**m._parameters, **m._buffers}) for path, m in modules.items())
    return {(path, name): None if t is None else t.shape for path, tensors in held for name, t in tensors.items()}
