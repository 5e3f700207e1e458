"""Tensors to names, option values to plain data."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from paramlint.group import Group, Member
from paramlint.model.facts import walk
from paramlint.model.groups_given import Given, shape
from paramlint.parameter import Inventory, Parameter, Plain

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST = 200


class Names:
    """Which tensor is which parameter: by identity, through wrappers and aliases."""

    def __init__(self, model: nn.Module, inventory: Inventory) -> None:
        known = {s.name: p for p in inventory.parameters for s in p.sites}
        self._found: dict[int, Parameter] = {}
        for path, module in walk(model):
            for attribute, tensor in module._parameters.items():
                parameter = known.get(f"{path}.{attribute}" if path else attribute)
                if tensor is not None and parameter is not None:
                    self._found.setdefault(id(tensor), parameter)

    def group(self, index: int, given: Given) -> Group:
        """One group as plain data."""
        return Group(
            index=index,
            members=tuple(self.member(t, n) for n, t in given.items),
            options={k: plain(v) for k, v in given.options.items()},
            half=given.half,
            container=given.container,
        )

    def member(self, tensor: Tensor, name: str | None) -> Member:
        parameter = self._found.get(id(tensor))
        use_muon = getattr(tensor, "use_muon", None)
        return Member(
            name=parameter.name if parameter else None,
            # a packed or gathered-on-demand parameter has its true shape in the inventory only
            shape=parameter.shape if parameter and parameter.state in ("quantized", "emptied") else shape(tensor),
            trainable=bool(tensor.requires_grad),
            given=name,
            leaf=bool(tensor.is_leaf or tensor.retains_grad),
            use_muon=use_muon if isinstance(use_muon, bool) else None,
        )


def plain(value: Any) -> Plain:
    """The value as JSON can hold it: a tensor of one element is a number, anything unknown its text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, Tensor):
        if value.numel() == 1 and not value.is_meta:
            return float(value.detach())
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    if isinstance(value, (list, tuple)):
        if any(isinstance(v, Tensor) for v in value):
            return f"{len(value)} tensors"
        return tuple(plain(v) for v in value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "size", None) == 1:
        return plain(item())
    if isinstance(value, (type, torch.nn.Module)) or callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return _ADDRESS.sub("", repr(value))[:_LONGEST]
