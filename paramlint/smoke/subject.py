"""What the checks look at: the model as it stands on its device, its optimizers, and what is known of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paramlint.checks.context import Context, Placement
from paramlint.finding import Finding
from paramlint.parameter import Inventory, Parameter
from paramlint.smoke.copying import Again
from paramlint.smoke.optimizers import Made, Maker
from paramlint.smoke.step import Inputs, Loss, Updates, parameters


@dataclass
class Subject:
    """One model with its optimizers. `context` has the same groups as plain data, `findings` what is wrong with them.

    `first` is the first step; `shown` has, for each parameter, the first step in which its gradient was not all zeros.
    `gradients` are those of the model as the steps left it, `finite` whether they have neither NaN nor infinity.
    `again` builds the model once more, with weights of its own, on the CPU.
    """

    model: nn.Module
    inputs: Inputs
    loss: Loss
    maker: Maker
    made: Made
    context: Context
    findings: tuple[Finding, ...]
    device: torch.device
    first: Updates | None = None
    shown: dict[str, Shown] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    finite: bool = True
    again: Again | None = None

    @property
    def inventory(self) -> Inventory:
        return self.context.inventory

    def place(self, name: str) -> Placement | None:
        """Where a parameter is, the first time."""
        found = self.context.places.get(name)
        return found[0] if found else None

    @property
    def trainable(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.inventory.parameters if p.trainable)

    @property
    def frozen(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.inventory.parameters if not p.trainable)

    def live(self) -> dict[str, tuple[Any, dict[str, Any]]]:
        """The optimizer and the param group, as they are now, of each parameter that is in one."""
        names = {id(p): name for name, p in parameters(self.model).items()}
        found: dict[str, tuple[Any, dict[str, Any]]] = {}
        for optimizer, group in self.made.groups():
            for tensor in group["params"]:
                tensor = tensor[1] if isinstance(tensor, tuple) else tensor
                if id(tensor) in names:
                    found.setdefault(names[id(tensor)], (optimizer, group))
        return found

    def of_half(self, half: str) -> Iterator[tuple[Parameter, Placement]]:
        """Trainable parameters that a half of an optimizer updates, in model order."""
        for p in self.trainable:
            place = self.place(p.name)
            if place is not None and place.half == half:
                yield p, place

    def codes(self, name: str) -> tuple[str, ...]:
        """The rules that a parameter breaks, gravest first."""
        return tuple(f.code for f in self.findings if name in f.parameters and f.severity == "error")


@dataclass(frozen=True)
class Shown:
    """What a step did to one parameter: the weight before, the gradient, the weight after; and the group then."""

    before: Tensor
    gradient: Tensor
    after: Tensor
    group: Mapping[str, Any]
