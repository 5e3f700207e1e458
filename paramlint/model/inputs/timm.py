"""Inputs of timm's models: images, of the size that their own configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from paramlint.model.inputs.example import Example, floats


def starts(model: nn.Module) -> Iterator[Example]:
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if isinstance(config, Mapping) and "input_size" in config:
        yield Example((floats(2, *config["input_size"]),))
