"""Rows of tokens with placeholders in them, as many as there will be features to put there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from paramlint.model.inputs.example import Example
from paramlint.model.inputs.hf_ask import WORDS, Ask

#: Arguments that carry what placeholders stand for.
CARRIERS: dict[str, tuple[str, ...]] = {
    "image": ("pixel_values", "image_pixel_values", "pixel_values_images", "flattened_patches"),
    "video": ("pixel_values_videos",),
    "audio": ("input_features", "input_values", "audio_input_features", "audio_input_ids", "audio_values"),
}
CARRIERS["vision"] = CARRIERS["image"] + CARRIERS["video"]
#: Kinds of token, as `mm_token_type_ids` tells them.
_KINDS = {"image": 1, "video": 2, "audio": 3}
_BRACKETS = {
    "image": ("vision_start_token_id", "image_start_token_id"),
    "video": ("vision_start_token_id", "video_start_token_id"),
    "audio": ("audio_start_token_id",),
}


def counts(ask: Ask) -> dict[str, int]:
    """Placeholders of each kind for one row, as far as the configuration tells; one where it does not."""
    found: dict[str, int] = {}
    for kind in ask.placeholders:
        about = kind.split("_")[0]
        carriers = CARRIERS.get(about, ()) if kind == about else ()
        if about in ask.giving and (ask.takes(*carriers) or any(n.startswith(kind) for n in ask.given)):
            found[kind] = _expected(ask, kind)
    return found


def _expected(ask: Ask, kind: str) -> int:
    from paramlint.model.inputs.hf_vision import grid, merge

    sizes = ask.sizes
    if ask.takes(f"{kind}_grid_thw"):
        t, h, w = grid(ask, kind)
        return max(1, t * h * w // merge(ask) ** 2)
    if kind == "image":
        for name in (
            "mm_tokens_per_image",
            "image_seq_length",
            "num_image_tokens",
            "image_seq_len",
            "num_query_tokens",
            "vision_soft_tokens_per_image",
        ):
            value = sizes.find("image", name)
            if isinstance(value, int) and value > 0:
                return value
    return 1


def row(ask: Ask, placed: Mapping[str, int]) -> list[int]:
    """Tokens of one text, with its placeholders near the beginning."""
    ids = [ask.word] * 4
    asked = getattr(ask.config, "question_token_id", None)  # some models answer at this token
    if isinstance(asked, int):
        ids.append(asked)
    for kind, count in placed.items():
        for name in _BRACKETS.get(kind, ()):
            start = getattr(ask.config, name, None)
            if isinstance(start, int):
                ids.append(start)
                break
        ids += [ask.placeholders[kind]] * count + [ask.word]
    ids += [ask.word] * (WORDS - len(ids) - 1)
    return [*ids, ask.last]


def kinds(ask: Ask, ids: torch.Tensor) -> torch.Tensor:
    """For each token what kind it is: 0 text, 1 image, 2 video, 3 audio."""
    found = torch.zeros_like(ids)
    for kind, token in ask.placeholders.items():
        found[ids == token] = _KINDS.get(kind, 0)
    return found


def placed(ask: Ask, example: Example, change: Mapping[str, int]) -> Example | None:
    """The example with other numbers of placeholders, and everything as long as the text that long again."""
    old = example.kwargs.get("input_ids")
    if not isinstance(old, torch.Tensor) or old.ndim != 2:
        return None
    have = {k: int((old[0] == t).sum()) for k, t in ask.placeholders.items()}
    have = {k: n for k, n in have.items() if n}
    wanted = {**have, **change}
    if wanted == have:
        return None
    ids = torch.tensor([row(ask, wanted)] * old.shape[0], dtype=torch.long)
    new: dict[str, Any] = {"input_ids": ids}
    for name, value in example.kwargs.items():
        if name == "mm_token_type_ids":
            new[name] = kinds(ask, ids)
        elif name in ("attention_mask", "token_type_ids") and isinstance(value, torch.Tensor):
            new[name] = value[:, :1].expand(ids.shape).contiguous()
    return example.with_kwargs(**new)
