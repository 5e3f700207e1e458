"""Inputs of Hugging Face transformers' models, from their configuration and the names of the forward's arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from paramlint.model.inputs.example import Example, floats, integers


def starts(model: nn.Module) -> Iterator[Example]:
    c = getattr(model, "config", None)
    if c is None or isinstance(c, dict):
        return
    main = getattr(model, "main_input_name", "input_ids")
    d: dict[str, Any] = {}
    if main == "input_ids":
        d["input_ids"] = integers(1, 16)
    elif main == "pixel_values":
        s = getattr(c, "image_size", None) or getattr(getattr(c, "vision_config", None), "image_size", None) or 224
        s = tuple(s) if isinstance(s, (list, tuple)) else (s, s)
        d["pixel_values"] = floats(2, getattr(c, "num_channels", 3) or 3, *s)
    elif main == "input_values":
        d[main] = floats(2, 16000)
    elif main == "input_features":
        d[main] = floats(2, getattr(c, "num_mel_bins", 80) or 80, 3000)
    else:
        return
    if getattr(c, "is_encoder_decoder", False) and main != "decoder_input_ids":
        d["decoder_input_ids"] = torch.ones(1, 16, dtype=torch.long)
    yield Example(kwargs=d)
