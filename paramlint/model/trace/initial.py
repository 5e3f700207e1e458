"""The values of integer buffers of a model that was built without memory, by asking its own initialisation again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import nn

_MOST = 1 << 14  # elements


def initial(root: nn.Module, known: set[int]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Integer buffers on meta, with the values that they start with.

    Strides and paddings kept as buffers steer a forward, and position numbers are looked up. A model that can write
    them again, with a method `_init_weights(module)` as that of Hugging Face transformers, does so on real tensors in
    their place; all other tensors of the module are on meta, and stay as they are. `known` are the identities of
    tensors whose values are known already.
    """
    write = getattr(root, "_init_weights", None)
    if not callable(write):
        return
    for module in root.modules():
        blank = {n: b for n, b in module._buffers.items() if b is not None and _unknown(b) and id(b) not in known}
        if not blank or any(b.numel() > _MOST for b in blank.values()):
            continue
        real = {n: torch.ones(b.shape, dtype=b.dtype, device="cpu") for n, b in blank.items()}
        module._buffers.update(real)
        done = False
        try:
            with torch.no_grad(), suppress(Exception):  # whatever an initialisation has against meta
                write(module)
                done = True
        finally:
            made = {n: module._buffers[n] for n in blank}
            module._buffers.update(blank)
        if done:
            for name, buffer in blank.items():
                value = made[name]
                if value is not None and value.shape == buffer.shape and value.device.type == "cpu":
                    yield buffer, value


def _unknown(buffer: torch.Tensor) -> bool:
    return buffer.is_meta and not buffer.dtype.is_floating_point and not buffer.dtype.is_complex
