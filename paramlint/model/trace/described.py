"""Example inputs as plain data, for what makes such inputs again elsewhere.

A tensor is `{"tensor": shape, "dtype": "int64", ...}`. One of integers has "below" where its values are nothing but
rows of tables, so that any from 0 to under that will do; else "runs", its values in order as (value, count), or "low"
and "high" where these are many. Containers are `{"list": items}`, `{"tuple": items}`, `{"dict": items by key}`, plain
values `{"value": value}`, and anything else `{"other": class name}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, groupby
from typing import Any

import torch

from paramlint.model.inputs.example import Example
from paramlint.model.trace import kinds
from paramlint.model.trace.graph import Graph
from paramlint.parameter import Plain

_RUNS = 256


def described(example: Example, graph: Graph, shapes: Sequence[tuple[int, ...]]) -> Mapping[str, Plain]:
    """The arguments: "args" in order, "kwargs" by name.

    Args:
        graph: of the pass over these inputs.
        shapes: those of the parameters.
    """
    rows = _rows(graph, shapes)
    numbers = count()

    def told(value: Any) -> Plain:
        if isinstance(value, torch.Tensor):
            return _tensor(value, rows.get(next(numbers)))
        if type(value) in (list, tuple):
            return {type(value).__name__: tuple(map(told, value))}
        if type(value) is dict:
            return {"dict": {str(k): told(v) for k, v in value.items()}}
        if value is None or type(value) in (bool, int, float, str):
            return {"value": value}
        return {"other": type(value).__qualname__}

    return {
        "args": tuple(map(told, example.args)),
        "kwargs": {name: told(value) for name, value in example.kwargs.items()},
    }


def _tensor(tensor: torch.Tensor, below: int | None) -> Plain:
    told: dict[str, Plain] = {
        "tensor": tuple(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
    }
    if tensor.is_meta or tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return told
    if below is not None:
        return {**told, "below": below}
    values = [int(v) for v in tensor.flatten().tolist()]
    runs = tuple((v, sum(1 for _ in same)) for v, same in groupby(values))
    if len(runs) <= _RUNS:
        return {**told, "runs": runs}
    return {**told, "low": min(values), "high": max(values)}


def _rows(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> dict[int, int]:
    """The rows of the smallest table that an input picks from, for inputs that nothing else is done with."""
    of: dict[int, int] = {}  # nodes that are an input, or a view of one
    rows: dict[int, int] = {}
    otherwise: set[int] = set()
    for node in graph.nodes:
        if node.leaf == "input":
            of[node.number] = node.index
        picks = node.op in ("embedding", "_embedding_bag", "embedding_bag") and node.parents
        table = graph.nodes[node.parents[0]] if picks else None
        for i, parent in enumerate(node.parents):
            if parent not in of:
                continue
            index = of[parent]
            if table is not None and table.leaf == "parameter" and i == 1:
                size = shapes[table.index][0]
                rows[index] = min(size, rows.get(index, size))
            elif node.op in kinds.VIEWS and len(node.parents) == 1:
                of[node.number] = index
            elif node.op not in kinds.SHAPED:
                otherwise.add(index)
    return {i: n for i, n in rows.items() if i not in otherwise}
