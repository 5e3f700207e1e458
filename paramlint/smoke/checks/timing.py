"""What a step takes, and what AdamW would take over the same parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import torch
from torch import Tensor, nn

from paramlint.smoke.step import clear, clock, give
from paramlint.smoked import SmokeCheck

_REPEATS = 3


def adamw(model: nn.Module, gradients: Mapping[str, Tensor]) -> float:
    """Seconds of a step of torch's AdamW over all trainable parameters of a model; its first one, which makes the
    state, is not counted."""
    give(model, gradients)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6)
    seconds = []
    for _ in range(_REPEATS):
        start = clock(model)
        optimizer.step()
        seconds.append(clock(model) - start)
    clear(model)
    return median(seconds[1:])


def time(seconds: Mapping[str, Sequence[float]]) -> tuple[SmokeCheck, dict[str, float]]:
    """Medians, without the first step where there are others: it makes buffers and state."""
    found = {name: median(values[1:] or values) for name, values in seconds.items() if values}
    told = [f"{name} {_ms(value)}" for name, value in found.items() if name != "adamw"]
    if "adamw" in found:
        told.append(f"AdamW over the same parameters {_ms(found['adamw'])}")
    return SmokeCheck("time", "pass", ", ".join(told)), found


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
