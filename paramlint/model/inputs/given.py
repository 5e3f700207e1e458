"""Inputs that the user names, in the forms people have them in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from paramlint.errors import ParamlintError
from paramlint.model.inputs.example import Example


def example(inputs: Any, model: nn.Module) -> Example:
    """An example of a tensor, a tuple or list of positional arguments, a dict of keyword arguments, a pair of both,
    or a function (of the model, or of nothing) that returns one of these.

    Raises:
        ParamlintError: inputs that are none of these.
    """
    if callable(inputs) and not isinstance(inputs, (torch.Tensor, Mapping)):
        inputs = _called(inputs, model)
    if isinstance(inputs, Example):
        return inputs
    if isinstance(inputs, torch.Tensor):
        return _settled(Example((inputs,)))
    if isinstance(inputs, Mapping):
        return _settled(Example(kwargs=dict(inputs)))
    if isinstance(inputs, (tuple, list)):
        if len(inputs) == 2 and isinstance(inputs[0], (tuple, list)) and isinstance(inputs[1], Mapping):
            return _settled(Example(tuple(inputs[0]), dict(inputs[1])))
        return _settled(Example(tuple(inputs)))
    raise ParamlintError(
        f"inputs are a {type(inputs).__name__}",
        hint="give a tensor, a tuple of arguments, a dict of arguments by name, or a function returning one of these",
    )


def _called(function: Any, model: nn.Module) -> Any:
    import inspect

    try:
        required = [
            p for p in inspect.signature(function).parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]  # fmt: skip
    except (TypeError, ValueError):
        required = []
    return function(model) if required else function()


def _settled(given: Example) -> Example:
    """Integers on the CPU, numbers on meta."""

    def place(t: torch.Tensor) -> torch.Tensor:
        if t.dtype.is_floating_point or t.dtype.is_complex:
            return t.detach().to("meta")
        return t.detach() if t.is_meta else t.detach().cpu()

    return given.mapped(place)
