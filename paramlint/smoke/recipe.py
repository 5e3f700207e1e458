"""A model, its optimizers and its loss, made once more in another process: plain data that can be sent there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from paramlint.knowledge import Knowledge, load
from paramlint.model import load as loading
from paramlint.parameter import Inventory
from paramlint.smoke import named, shrink
from paramlint.smoke.optimizers import Factory
from paramlint.smoke.process import SmokeRequest
from paramlint.smoke.step import Loss, seeded
from paramlint.target import parse


@dataclass(frozen=True)
class Recipe:
    """A smoke request with what became of it: `request.build.kwargs` are those that the model was built with in the
    end, `cut` says whether lists of blocks were cut (`paramlint.smoke.shrink`), `inventory` has the roles judged.
    """

    request: SmokeRequest
    inventory: Inventory
    cut: bool = False

    @cached_property
    def known(self) -> Knowledge:
        return load(Path(k) for k in self.request.build.knowledge)

    def model(self) -> nn.Module:
        """A fresh model on the CPU; its random numbers are the same each time.

        Raises:
            Exception: whatever the target raises.
        """
        target = parse(self.request.build.target)
        loading.require_torch(self.request.build.target)
        with seeded():
            module: nn.Module = loading.build(target, self.request.build.kwargs, "cpu").model
        if self.cut:
            shrink.cut(module)
        return module

    def factories(self) -> list[Factory]:
        """What makes the optimizers of a model.

        Raises:
            ParamlintError: they cannot be loaded, or generated.
        """
        return named.factories(self.request, self.known, self.inventory)

    def loss(self) -> Loss:
        """The user's loss, or the default.

        Raises:
            ParamlintError: it cannot be loaded.
        """
        return named.loss(self.request)
