"""Mends example inputs by what the model said against them."""

from __future__ import annotations

from torch import nn

from paramlint.model.inputs.example import Example
from paramlint.model.trace.graph import Graph


def repaired(model: nn.Module, example: Example, error: BaseException, graph: Graph) -> Example | None:
    """The example with one thing changed, or None where nothing better is known.

    Args:
        model: the stand-in on meta that was run.
        example: what it was given.
        error: what the pass ended with.
        graph: what was done before that; its inputs are numbered in the order of `flat(example)`.
    """
    return None
