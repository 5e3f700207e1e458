"""Which layer every parameter belongs to, for layer-wise lr decay, and the factor on lr of each layer. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paramlint.errors import ParamlintError, near
from paramlint.layer_function import Answers, ask
from paramlint.parameter import Inventory
from paramlint.planned import Layers
from paramlint.planning.layers_preset import PRESETS
from paramlint.planning.layers_rules import beginnings, find
from paramlint.planning.layers_structure import assign

SOURCES = ("structure", *PRESETS)
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


def decayed(
    inventory: Inventory, source: str | Answers | Callable[..., Any], decay: float | Sequence[float]
) -> tuple[Layers, tuple[float, ...]]:
    """The layers, from wherever they come, with the factor on lr of each.

    Raises:
        ParamlintError: as `layers`, `from_function` and `scales`.
    """
    if isinstance(source, Answers):
        found = from_answers(source)
    elif callable(source):
        found = from_function(inventory, source, getattr(source, "__qualname__", "a function"))
    else:
        found = layers(inventory, source)
    return found, scales(found, decay)


def from_function(inventory: Inventory, function: Callable[..., Any], source_text: str) -> Layers:
    """The layers that a user's function gives: `fn(name)`, or `fn(name, num_max_layer)` as in BEiT's code.

    Raises:
        ParamlintError: as `layer_function.ask`.
    """
    return from_answers(ask([p.name for p in inventory.parameters], function, source_text))


def from_answers(answers: Answers) -> Layers:
    """The layers of what a user's function said."""
    return _with_rules(answers.of, answers.count, answers.source)


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


def factor(scales: Sequence[float]) -> float | None:
    """The ratio of each layer to the next that makes these scales, as in `scales`; None where there is no such ratio,
    or only one layer, of which none can be seen."""
    last = len(scales) - 1
    ratio = scales[-2] if last > 0 else 0.0
    alike = 0 < ratio <= 1 and all(scale == ratio ** (last - layer) for layer, scale in enumerate(scales))
    return ratio if alike else None


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
