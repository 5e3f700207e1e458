"""A use of a parameter in the traced forward, in words."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint import parts
from paramlint.parameter import Use

_DONE = {
    "matmul": "linear map",
    "convolution": "convolution",
    "lookup": "rows picked",
    "bias": "added to the result of a map",
    "add": "added",
    "concatenate": "joined with activations",
    "replace": "put in the place of activations",
    "multiply": "multiplied element by element",
    "normalise": "gain of a normalisation",
    "attend": "query, key or value",
    "mapped": "read by a linear map",
    "factor": "factor of a weight",
    "other": "read",
}


def told(use: Use) -> str:
    """`linear map (addmm, argument 2): the first on the data; other maps follow`."""
    function = f" ({use.function}, argument {use.operand})" if use.function else ""
    facts = "; ".join(_facts(use))
    return f"{_DONE.get(use.op, use.op)}{function}{': ' if facts else ''}{facts}"


def _facts(use: Use) -> Iterator[str]:
    if use.index:
        yield "by the data" if use.index == "data" else "by constants"
    if use.batch_dims:
        yield "a stack of matrices, each with inputs of its own"
    if use.groups > 1:
        yield f"{use.groups} groups"
    if use.from_input:
        yield "the first on the data"
    if use.on_constants:
        yield "of constants"
    if use.adapts:
        yield "half of a low-rank pair"
    if use.chooses:
        yield "the largest of its outputs are picked"
    if len(use.parts) > 1:
        yield f"divided into {parts.of(use)}"
    if use.to_output:
        yield "the last before an output"
    if use.feeds:
        yield "other maps follow"
