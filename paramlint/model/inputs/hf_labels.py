"""What a model shall answer, for the parts of it that only run when it learns."""

from __future__ import annotations

from typing import Any

import torch

from paramlint.model.inputs.example import Example
from paramlint.model.inputs.hf_ask import Ask


def labels(ask: Ask, example: Example) -> Any:
    """Labels for an example: tokens for tokens; None where something else is asked for."""
    kind, shape = ask.documented.get("labels", ("", ""))
    tokens = example.kwargs.get("decoder_input_ids", example.kwargs.get("input_ids"))
    if isinstance(tokens, torch.Tensor) and shape.count(",") >= 1 and "Float" not in kind:
        return tokens.clone()
    return None
