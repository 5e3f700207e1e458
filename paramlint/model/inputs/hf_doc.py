"""Shapes that a forward's own documentation tells: "`(batch_size, num_frames, config.state_dim)`"."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from paramlint.model.inputs.hf_ask import Ask

_SHAPE = re.compile(r"^ *(\w+) \(`?([^\n(]*?)`? of shape\s*`?\(+([^`\n]*?)\)+`", re.M)
_INTEGERS = ("LongTensor", "IntTensor", "BoolTensor")
_FEW = 4
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
}


def shapes(forward: Any) -> dict[str, tuple[str, str]]:
    """For each argument the tensor type and the shape that are documented, both as they are written."""
    found: dict[str, tuple[str, str]] = {}
    for name, kind, shape in _SHAPE.findall(forward.__doc__ or ""):
        found.setdefault(name, (kind, shape))
    return found


def shape(ask: Ask, name: str) -> tuple[int, ...] | None:
    """The documented shape of an argument in numbers; None where it is not documented, or not understood."""
    if name not in ask.documented:
        return None
    text = re.sub(r"\(>=[^)]*\)?|\bnumber of ", "", ask.documented[name][1]).strip().rstrip(",")
    try:
        tree = ast.parse(f"({text},)", mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(tree, ast.Tuple):
        return None
    sizes = [_size(ask, name, e) for e in tree.elts]
    return None if None in sizes else tuple(s for s in sizes if s is not None)


def tensor(ask: Ask, name: str) -> torch.Tensor | None:
    """A tensor of the documented shape and kind."""
    made = shape(ask, name)
    if made is None:
        return None
    kind = ask.documented[name][0] + str(ask.arguments[name].annotation)
    if "Bool" in ask.documented[name][0]:
        return torch.ones(made, dtype=torch.bool)
    if (any(k in kind for k in _INTEGERS) and "Float" not in kind) or name.endswith(("_ids", "mask")):
        return torch.ones(made, dtype=torch.long)
    return torch.empty(made, dtype=torch.float32, device="meta")


def _size(ask: Ask, argument: str, node: ast.expr) -> int | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _size(ask, argument, node.left), _size(ask, argument, node.right)
        return None if left is None or right is None else _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Attribute):
        return _named(ask, argument, node.attr)
    return _named(ask, argument, node.id) if isinstance(node, ast.Name) else None


def _named(ask: Ask, argument: str, name: str) -> int | None:
    """A dimension by its name: the batch, a field of the configuration, or one of those that are up to the caller."""
    from paramlint.model.inputs import hf_audio, hf_vision
    from paramlint.model.inputs.hf_ask import WORDS, kind_of

    if name in ("batch_size", "num_images", "num_videos", "num_audios", "num_images_or_videos", "num_chunks"):
        return ask.batch
    kind = kind_of(argument)
    about = {"image": "image", "video": "image", "audio": "audio"}.get(kind, "text")
    if name in ("num_choices",):
        return 2
    if name in ("sequence_length", "seq_len", "seq_length", "target_sequence_length", "text_sequence_length"):
        return WORDS
    if name in ("height", "width", "image_size", "frame_size", "patch_height", "patch_width", "patch_size"):
        if "patch" in name:
            return hf_vision.patch(ask)
        return hf_vision.image_size(ask)[name == "width"]
    if name in ("channels", "num_channels", "image_channels", "audio_channels"):
        return 1 if about == "audio" else hf_vision.channels(ask)
    if name in ("num_samples", "time_steps", "audio_length", "max_audio_length"):
        return hf_audio.samples(ask) if "values" in argument or "padding" in argument else hf_audio.frames(ask)
    if name in ("num_mel_bins", "mel_bins", "feature_size", "feature_dim", "num_banks", "n_mel_bins"):
        return hf_audio.bands(ask)
    if name in ("num_frames",):
        return hf_vision.frames_of(ask) or _FEW
    if name in ("total_patches", "num_patches", "max_patches"):
        t, h, w = hf_vision.grid(ask)
        return t * h * w * (1 if name == "max_patches" else ask.batch)
    value = ask.sizes.find(about, name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if name == "hidden_size":
        return ask.hidden
    if name.endswith(("length", "_len")):
        return WORDS
    return _FEW if name.startswith(("num_", "max_", "n_", "total_")) or name in ("frames",) else None
