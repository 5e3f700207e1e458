"""Which layer every parameter belongs to, for layer-wise lr decay, and the factor on lr of each layer. No torch."""

from __future__ import annotations

import inspect
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paramlint.errors import ParamlintError, near
from paramlint.parameter import Inventory
from paramlint.planned import Layers
from paramlint.planning.layers_preset import PRESETS
from paramlint.planning.layers_rules import beginnings, find
from paramlint.planning.layers_structure import assign

SOURCES = ("structure", *PRESETS)
#: What a function that asks for the number of layers is told at first: more than any model has.
_MANY = 1_000_000
_SHOWN = 3


def layers(inventory: Inventory, source: str = "structure") -> Layers:
    """The layer of every parameter: 0 for stem and embeddings, one for each block, the last for the head.

    Args:
        inventory: with roles. Where the model's library says itself which layers there are (timm's `group_matcher`),
            "structure" takes its word; parameters that it does not mention are in the last layer.
        source: "structure", or the preset "beit" or "convnext".

    Raises:
        ParamlintError: no such source, or a preset that does not fit the model.
    """
    names = [p.name for p in inventory.parameters]
    if source in PRESETS:
        of, count = PRESETS[source](names)
        return _with_rules(of, count, f"preset {source}")
    if source != "structure":
        raise ParamlintError(
            f"no layers {source!r}", hint=near(source, SOURCES) or f"there are {', '.join(SOURCES)}, and `file.py:fn`"
        )
    told = inventory.accessors.layers
    top = max(told.values(), default=0)
    of = {n: told.get(n, top) for n in names} if top else assign(inventory)
    return _with_rules(of, 1 + max(of.values(), default=-1), f"the model's {'group_matcher' if top else 'structure'}")


def from_function(inventory: Inventory, function: Callable[..., Any], source_text: str) -> Layers:
    """The layers that a user's function gives: `fn(name)`, or `fn(name, num_max_layer)` as in BEiT's code.

    A second argument is the number of layers. It is found by asking once with a number so large that layers counted
    from the end show. `source` of the layers is `source_text`, with `(name, num_max_layer)` behind it for such a
    function.

    Raises:
        ParamlintError: the function raises, gives no whole number, one below 0, or one that is not below the number
            of layers it was told.
    """
    names = [p.name for p in inventory.parameters]
    if not _takes_count(function):
        of = {name: _asked(function, source_text, name) for name in names}
        return _with_rules(of, 1 + max(of.values(), default=-1), source_text)
    wide = {name: _asked(function, source_text, name, _MANY) for name in names}
    from_end = max((_MANY - layer for layer in wide.values() if layer > _MANY // 2), default=0)
    count = 1 + max((layer for layer in wide.values() if layer <= _MANY // 2), default=-1) + from_end
    of = {name: _asked(function, source_text, name, count) for name in names}
    for name, layer in of.items():
        if layer >= count or wide[name] >= _MANY:
            raise ParamlintError(f"{name!r} has a layer that is not below the number of layers", where=source_text)
    return _with_rules(of, count, f"{source_text}(name, num_max_layer)")


def scales(layers: Layers, decay: float | Sequence[float]) -> tuple[float, ...]:
    """The factor on lr of each layer.

    Args:
        layers: what to scale.
        decay: the ratio d of each layer to the next: d ** (count - 1 - layer), as in BEiT (Bao et al. 2021) and timm;
            or the factors themselves, one for each layer.

    Raises:
        ParamlintError: a ratio outside (0, 1], as many factors as there are no layers, or one that is no factor.
    """
    if isinstance(decay, (int, float)):
        if not 0 < decay <= 1:
            raise ParamlintError(f"layer decay {decay:g}: must be above 0 and at most 1")
        return tuple(float(decay) ** (layers.count - 1 - layer) for layer in range(layers.count))
    given = tuple(float(scale) for scale in decay)
    if len(given) != layers.count:
        raise ParamlintError(
            f"{_counted(len(given), 'lr scale')} for {_counted(layers.count, 'layer')} ({layers.source})",
            hint=f"layers are {described(layers)}",
        )
    for layer, scale in enumerate(given):
        if not (math.isfinite(scale) and scale >= 0):
            raise ParamlintError(f"lr scale {scale} for layer {layer}: must be 0 or more")
    return given


def described(layers: Layers) -> str:
    """What each layer holds, in one line; like layers that follow each other are put together."""
    held: list[list[str]] = [[] for _ in range(layers.count)]
    for path, layer in beginnings(layers.of).items():
        held[layer].append(path)
    runs: list[tuple[int, int]] = []
    for layer in range(layers.count):
        if runs and _shape(held[layer]) == _shape(held[runs[-1][1]]):
            runs[-1] = runs[-1][0], layer
        else:
            runs.append((layer, layer))
    return "; ".join(
        f"{a} {_listed(held[a])}" if a == b else f"{a}..{b} {_listed(held[a])} to {_listed(held[b])}" for a, b in runs
    )


def _with_rules(of: Mapping[str, int], count: int, source: str) -> Layers:
    """Rules number the layers that have parameters: they fit where none is empty."""
    return Layers(of, count, find(of) if len(set(of.values())) == count else (), source)


def _shape(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(re.sub(r"\d+", "*", path) for path in paths)


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return (", ".join(paths[:_SHOWN]) or "nothing") + more


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _takes_count(function: Callable[..., Any]) -> bool:
    """Whether a function has a second positional argument that must be given."""
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    positional = [
        p
        for p in parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is inspect.Parameter.empty
    ]
    return len(positional) > 1


def _asked(function: Callable[..., Any], source: str, name: str, *count: int) -> int:
    call = f"({', '.join(map(repr, (name, *count)))})"
    try:
        answer = function(name, *count)
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ParamlintError(
            f"{call} raised {type(error).__name__}{': ' + reason if reason else ''}", where=source
        ) from error
    try:
        layer = operator.index(answer)
    except TypeError:
        raise ParamlintError(f"{call} gives {answer!r}, not a layer as a whole number", where=source) from None
    if layer < 0 or isinstance(answer, bool):
        raise ParamlintError(f"{call} gives {answer!r}, not a layer: these count from 0", where=source)
    return layer
