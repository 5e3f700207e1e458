"""Example inputs for a model, without asking its author: one start for each branch that is known of."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from paramlint.model.inputs import hf, signature, timm
from paramlint.model.inputs.example import Example


def starts(model: nn.Module) -> Iterator[Example]:
    """Examples to begin with, the most telling first. One that fails may be mended by `repair.repaired`."""
    for source in (timm.starts, hf.starts, signature.starts):
        found = False
        for example in source(model):
            found = True
            yield example
        if found:
            return
