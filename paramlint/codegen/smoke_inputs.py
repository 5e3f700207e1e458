"""The function of a smoke script that makes what the forward takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

from paramlint.codegen.text import docstring, enclosed, literal
from paramlint.errors import ParamlintError
from paramlint.parameter import Pass


def inputs_function(passes: Sequence[Pass]) -> str:
    """`inputs(device)`: one tensor, keyword arguments, or the arguments of several forwards.

    Raises:
        ParamlintError: an argument is an object of a class that cannot be written as code.
    """
    told = "What the forward takes: shapes as traced, values made up."
    if _one_tensor(passes):
        args, _ = _arguments(passes[0])
        return _function("Any", told, f"return {args[0]}")
    if _by_name(passes):
        _, kwargs = _arguments(passes[0])
        return _function("dict[str, Any]", told, _dict("return {", kwargs, 4))
    calls = []
    for one in passes:
        args, kwargs = _arguments(one)
        inside = enclosed("(", args, ",)" if len(args) == 1 else ")", indent=12, broken=False)
        calls.append(enclosed("(", [inside, _dict("{", kwargs, 16)], ")", broken=True))
    returned = enclosed("return [", calls, "]", broken=True)
    return _function(
        "list[tuple[tuple[Any, ...], dict[str, Any]]]", "What each forward takes, by place and by name.", returned
    )


def outputs(passes: Sequence[Pass]) -> str:
    """The expression for what the model gives for `inputs(device)`."""
    if _one_tensor(passes):
        return "model(inputs(device))"
    if _by_name(passes):
        return "model(**inputs(device))"
    return "[model(*a, **k) for a, k in inputs(device)]"


def _one_tensor(passes: Sequence[Pass]) -> bool:
    given = [_given(p) for p in passes]
    return len(given) == 1 and len(given[0][0]) == 1 and not given[0][1]


def _by_name(passes: Sequence[Pass]) -> bool:
    return len(passes) == 1 and not _given(passes[0])[0]


def _given(one: Pass) -> tuple[Sequence[Any], Mapping[str, Any]]:
    given: Mapping[str, Any] = one.given
    return given["args"], given["kwargs"]


def _arguments(one: Pass) -> tuple[list[str], dict[str, str]]:
    args, kwargs = _given(one)
    return [_code(a, 12) for a in args], {k: _code(v, 12) for k, v in kwargs.items()}


def _function(returns: str, told: str, returned: str) -> str:
    lines = [docstring(told, indent=4), *returned.splitlines()]
    return "\n".join([f"def inputs(device: torch.device) -> {returns}:", *(f"    {line}" for line in lines)])


def _dict(opening: str, items: Mapping[str, str], indent: int) -> str:
    return enclosed(opening, [f"{literal(k)}: {v}" for k, v in items.items()], "}", indent=indent, broken=bool(items))


def _code(told: Mapping[str, Any], indent: int) -> str:
    """An expression for a described value, of as few lines as it can have."""
    if "tensor" in told:
        return _tensor(told)
    if "value" in told:
        return literal(told["value"])
    for kind, (start, end) in {"list": ("[", "]"), "tuple": ("(", ")")}.items():
        if kind in told:
            items = [_code(v, indent + 4) for v in told[kind]]
            return enclosed(start, items, f",{end}" if kind == "tuple" and len(items) == 1 else end, indent=indent)
    if "dict" in told:
        return _dict("{", {k: _code(v, indent + 4) for k, v in told["dict"].items()}, indent)
    raise ParamlintError(
        f"an input of the forward is a {told.get('other')}, which no smoke script can make",
        hint="--inputs OBJ names simpler ones",
    )


def _tensor(told: Mapping[str, Any]) -> str:
    shape, dtype = tuple(told["tensor"]), told["dtype"]
    kind = f"dtype=torch.{dtype}, "
    if "below" in told:
        return f"torch.randint(0, {told['below']}, {literal(shape)}, {'' if dtype == 'int64' else kind}device=device)"
    if "high" in told:
        return f"torch.randint({told['low']}, {told['high'] + 1}, {literal(shape)}, {kind}device=device)"
    if "runs" not in told:
        return f"torch.randn({literal(shape)}, {'' if dtype == 'float32' else kind}device=device)"
    return _integers(shape, dtype, [(int(v), int(n)) for v, n in told["runs"]])


def _integers(shape: tuple[int, ...], dtype: str, runs: list[tuple[int, int]]) -> str:
    """Integers and flags whose values the forward looks at."""
    kind = f"dtype=torch.{dtype}, device=device"
    if len(runs) == 1:
        value: object = runs[0][0] if dtype != "bool" else bool(runs[0][0])
        return f"torch.full({literal(shape)}, {value}, {kind})"
    if len(shape) == 1 and all(n == 1 for _, n in runs) and all(b - a == 1 for (a, _), (b, _) in pairwise(runs)):
        start = "" if runs[0][0] == 0 else f"{runs[0][0]}, "
        return f"torch.arange({start}{runs[-1][0] + 1}, {kind})"
    values = [v for v, n in runs for _ in range(n)]
    last = shape[-1] if shape else 1
    rows = [values[i : i + last] for i in range(0, prod(shape), max(last, 1))]
    if len(rows) > 1 and all(row == rows[0] for row in rows):
        return f"torch.tensor({_list(rows[0])}, {kind}).expand({literal(shape)})"
    return f"torch.tensor({_list(values)}, {kind}).reshape({literal(shape)})"


def _list(values: list[int]) -> str:
    """`[1] * 3 + [7] * 12 + [2]`, or the values where runs are short."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    if 2 * len(runs) > len(values):
        return literal(tuple(values)).replace("(", "[").replace(",)", "]").replace(")", "]")
    return " + ".join(f"[{v}] * {n}" if n > 1 else f"[{v}]" for v, n in runs)
