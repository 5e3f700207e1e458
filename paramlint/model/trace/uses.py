"""The uses of every parameter in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paramlint.model.trace.ends import maps
from paramlint.model.trace.graph import Graph
from paramlint.model.trace.reading import Reading
from paramlint.parameter import Use


def uses_of(
    graph: Graph, shapes: Sequence[tuple[int, ...]], hidden_inputs: frozenset[int]
) -> Mapping[int, tuple[Use, ...]]:
    """The distinct uses of each parameter, by its number, in the order of first use.

    Args:
        graph: a pass, finished or not. What reaches an output is known only of a finished one.
        shapes: of the parameters, by number.
        hidden_inputs: inputs that are hidden states of another model, by number.
    """
    reading = Reading(graph, shapes, hidden_inputs)
    found: dict[int, dict[Use, None]] = {}
    for p, use in reading.uses:
        found.setdefault(p, {})[use] = None
    for p, use in maps(reading):
        found.setdefault(p, {})[use] = None
    return {p: tuple(us) for p, us in found.items()}
