"""A model that is too large for its device, made smaller without becoming another: the same blocks, fewer of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from paramlint.parameter import Inventory
from paramlint.planning.state import element_bytes

#: Blocks of a list that are kept.
KEPT = 2
#: Fields of configurations that say how many blocks there are, in transformers.
_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "decoder_layers", "depth")
#: What a smoke step holds at its fullest, in units of the weights: see `needed`.
_COPIES = 5
_STATES = 3
#: torch itself, and a margin for activations, in bytes.
_BASE = 400 * 2**20


def needed(inventory: Inventory, states: float = 2.0) -> int:
    """Bytes that a smoke step takes, at most, besides activations. Weights: the model, before and after the step, and
    gradients twice; or two models, their gradients, and a copy of these. The optimizer's state: two, and what is loaded
    into the second. `states` are the elements of state for each weight.
    """
    weights = weight_bytes(inventory)
    return int(weights * (_COPIES + _STATES * states)) + _BASE


def weight_bytes(inventory: Inventory) -> int:
    return int(sum(p.numel * element_bytes(p.dtype) for p in inventory.parameters))


def cut(model: nn.Module) -> str:
    """Leaves the first blocks of every list of like blocks, in place; what was cut, in words, or "".

    A list is an `nn.ModuleList` or `nn.Sequential` of more than two modules of one class that have parts of their own.
    """
    said: list[str] = []
    for path, module in list(model.named_modules()):
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or len(module) <= KEPT:
            continue
        blocks = list(module.children())
        if len({type(b) for b in blocks}) > 1 or not any(True for _ in blocks[0].children()):
            continue
        count = len(blocks)
        for key in list(module._modules)[KEPT:]:
            del module._modules[key]
        said.append(f"{path}: {KEPT} of {count} blocks")
    return ", ".join(said)


def fewer(kwargs: Mapping[str, Any], config: Any) -> tuple[dict[str, Any], str]:
    """Arguments over a configuration of transformers that ask for fewer layers; and what they change, in words."""
    changed: dict[str, Any] = dict(kwargs)
    said: list[str] = []
    for name, part in [("", config), *((n, v) for n, v in vars(config).items() if hasattr(v, "to_dict"))]:
        for depth in _DEPTHS:
            value = getattr(part, depth, None)
            if isinstance(value, int) and value > KEPT:
                if name:
                    changed[name] = {**dict(changed.get(name) or {}), depth: KEPT}
                else:
                    changed[depth] = KEPT
                said.append(f"{name + '.' if name else ''}{depth} {KEPT} instead of {value}")
    return changed, ", ".join(said)
