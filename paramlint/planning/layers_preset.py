"""Layers by the names of two families that made layer-wise lr decay known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from paramlint.errors import ParamlintError

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_SAMPLER = re.compile(r"(?:downsample_layers\.(\d+)|stages\.(\d+)\.downsample)\.")
_STAGE = re.compile(r"stages\.(\d+)\.(?:blocks\.)?(\d+)\.")
_STAGES = 4
#: Blocks of the third ConvNeXt stage that share a layer.
_TOGETHER = 3


def beit(names: Sequence[str]) -> tuple[dict[str, int], int]:
    """Embeddings 0, block N layer N + 1, all else last, with the number of layers.

    As in BEiT's fine-tuning (Bao et al. 2021, `optim_factory.py`), for ViT-like names.

    Raises:
        ParamlintError: there are no `blocks.N`.
    """
    depth = 1 + max((int(m[1]) for name in names if (m := _BLOCK.match(name))), default=-1)
    if depth == 0:
        raise _no_match("beit", "`blocks.N`")

    def layer(name: str) -> int:
        if name in ("cls_token", "mask_token", "pos_embed") or name.startswith("patch_embed"):
            return 0
        found = _BLOCK.match(name)
        return int(found[1]) + 1 if found else depth + 1

    return {name: layer(name) for name in names}, depth + 2


def convnext(names: Sequence[str]) -> tuple[dict[str, int], int]:
    """The stem 0, the first two stages a layer each, the third in groups of three blocks, the fourth one layer, all
    else last; each stage with the downsampling before it. With the number of layers: 14 for 27 blocks in stage three.

    As in ConvNeXt's fine-tuning (Liu et al. 2022, `optim_factory.py`), for its names and for timm's.

    Raises:
        ParamlintError: there are no four stages `stages.N.N` of blocks.
    """
    blocks = {(int(m[1]), int(m[2])) for name in names if (m := _STAGE.match(name))}
    if {stage for stage, _ in blocks} != set(range(_STAGES)):
        raise _no_match("convnext", f"{_STAGES} stages `stages.N.N`")
    third = 1 + max(block for stage, block in blocks if stage == _STAGES - 2)
    fourth = 3 + -(-third // _TOGETHER)

    def stage_layer(stage: int, block: int) -> int:
        return stage + 1 if stage < 2 else 3 + block // _TOGETHER if stage == 2 else fourth

    def layer(name: str) -> int:
        sampler, block = _SAMPLER.match(name), _STAGE.match(name)
        if sampler:
            stage = int(sampler[1] or sampler[2])
            return stage_layer(stage, 0) if stage else 0
        if block:
            return stage_layer(int(block[1]), int(block[2]))
        return 0 if name.startswith("stem.") else fourth + 1

    return {name: layer(name) for name in names}, fourth + 2


PRESETS: Mapping[str, Callable[[Sequence[str]], tuple[dict[str, int], int]]] = {"beit": beit, "convnext": convnext}


def _no_match(preset: str, wanted: str) -> ParamlintError:
    return ParamlintError(
        f"layer preset {preset} is for models with {wanted}, and this one has none",
        hint="use `structure`, or a function of your own",
    )
