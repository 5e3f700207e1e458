"""An example of what a model's forward takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch


@dataclass(frozen=True)
class Example:
    """Arguments of a forward pass.

    Tensors of integers and flags are real, on the CPU: their values steer models. Tensors of floating point are on
    meta: only their shapes and dtypes count. `hidden` names the arguments that are hidden states of another model, and
    no data. `training` asks for training mode. `part` is the path of the module of the model that takes them, "" for
    the model itself.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    training: bool = False
    part: str = ""

    def with_kwargs(self, **changes: Any) -> Example:
        """The example with some keyword arguments set, or dropped where the value is None."""
        merged = {**self.kwargs, **changes}
        return replace(self, kwargs={k: v for k, v in merged.items() if v is not None})

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Example:
        """The example with every tensor in it replaced, those inside lists, tuples and dicts too."""
        return replace(
            self,
            args=tuple(_mapped(a, change) for a in self.args),
            kwargs={k: _mapped(v, change) for k, v in self.kwargs.items()},
        )

    @property
    def label(self) -> str:
        """What is given, in words: `input_ids (1, 16), pixel_values (2, 3, 224, 224)`; after `vision_model alone: `
        where only that part of the model is run.
        """
        named = [("", a) for a in self.args] + list(self.kwargs.items())
        said = [_told(k, v) for k, v in named]
        told = ", ".join(s for s in said if s) + (" in training mode" if self.training else "")
        return f"{self.part} alone: {told}" if self.part else told


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(_mapped(v, change) for v in value)
    if type(value) is dict:
        return {k: _mapped(v, change) for k, v in value.items()}
    return value


def _told(name: str, value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{name} {tuple(value.shape)}".strip()
    if isinstance(value, dict):
        inside = ", ".join(said for k, v in value.items() if (said := _told(str(k), v)))
        return f"{name} {{{inside}}}".strip() if inside else ""
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
        return f"{name} {len(value)} x {tuple(value[0].shape)}".strip()
    return ""


def floats(*shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor of numbers, of which only the shape counts."""
    return torch.empty(shape, dtype=dtype or torch.float32, device="meta")


def integers(*shape: int, value: int = 1) -> torch.Tensor:
    """A tensor of token ids, labels or positions, with real values."""
    return torch.full(shape, value, dtype=torch.long, device="cpu")
