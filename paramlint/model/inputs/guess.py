"""A first guess at an argument of a forward, by its name, its annotation, and what is known of the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from paramlint.model.inputs.attempt import resized
from paramlint.model.inputs.example import floats, integers
from paramlint.model.inputs.known import BATCH, CONTEXT, TOKENS, Known, width_of, words

_IDS = frozenset("ids id idx indices indexes index token tokens tags position positions".split())
_LABELS = frozenset("label labels target targets class classes y category categories".split())
_TIME = frozenset(
    "timestep timesteps t time times fps lengths length lens len sigma sigmas noise r step steps ratio seconds "
    "tau".split()
)
_LENGTHS = frozenset("lengths length lens len".split())
_IMAGES = frozenset("image images img imgs pixel pixels picture photo sample samples x frame".split())
_VIDEO = frozenset("video videos frames clips".split())
_POOLED = frozenset("pooled global vector embedding emb vec pooling style z latent code noise".split())
_STATES = frozenset(
    "states state embeds embeddings context memory features feats hidden text src tgt cond query key value q k v "
    "encoded sequence seq prompt encodings tokens".split()
)
#: Words of arguments that are tensors like the data, for another purpose.
_ALIKE = frozenset("latent latents control controls controlnet clean conditioning reference ref noisy residual".split())
_SIZES = frozenset("size sizes resolution coords coord crop aspect ratio ratios conds original".split())
_ELSEWHERE = frozenset("encoder context memory cond text caption prompt cap txt".split())
_NUMBERED = frozenset("indices indexes ids".split())
_MASKED = frozenset("padding pad condition conditioning inpaint inpainting image latent latents".split())
_ROTARY = frozenset("rotary rope".split())
_LISTS = ("list[", "typing.list[", "typing.optional[typing.list", "typing.sequence", "sequence")
#: Given back as None: what is only read where it is made by a partner of the model.
_CACHES = frozenset("cache past kwargs mode generator residual residuals rotary rope rng callback".split())
_COUNTS = {"num_frames": 1, "height": 4, "width": 4, "frames": 1, "fps": 24, "batch_size": BATCH}


def is_hidden(name: str) -> bool:
    """Whether an argument is named like hidden states of another model."""
    return bool(set(words(name)) & _ELSEWHERE) and "ids" not in words(name)


def optional_worth_trying(name: str, annotation: str) -> bool:
    """Whether an optional argument may be a tensor that gates parameters."""
    parts = set(words(name))
    if parts & _CACHES or "mask" in parts or parts & {"return", "output", "outputs"}:
        return False
    if annotation:
        return "Tensor" in annotation or ("dict" in annotation.lower() and "added" in parts)
    return True


def value(name: str, annotation: str, known: Known, *, main: bool = False, like: torch.Tensor | None = None) -> Any:
    """Something plausible for the argument, or None where nothing is. `like` is the data of the model."""
    if "Tensor" not in annotation and "Any" not in annotation and annotation:
        plain = _plain(name, annotation)
        if plain is not None:
            return plain
    text = annotation.lower().removesuffix(" | none")
    if text.startswith(("list[list[tuple", "typing.list[list[tuple")):
        return [[(1, 4, 4)] for _ in range(BATCH)]
    if text.startswith(("list[tuple", "typing.list[tuple", "typing.list[typing.tuple")):
        return [(1, 4, 4) for _ in range(BATCH)]
    if text.startswith(("dict", "typing.dict")):
        return {}
    parts = set(words(name))
    if like is not None and words(name)[0] in _NUMBERED:
        return integers(known.frames if like.ndim > 4 else TOKENS)  # `indices_latents`: of them, not they
    if like is not None and like.ndim > 3 and "mask" in parts and _spread(parts):
        flat = like.ndim > 4 and bool(parts & {"padding", "pad"})  # the same in all frames
        return floats(like.shape[0], 1, *like.shape[3 if flat else 2 :])
    if like is not None and parts & _ROTARY and not parts & {"pos", "ids", "position"}:
        turns = floats(TOKENS, known.plain_width)
        return turns if text.startswith("torch.tensor") else (turns, turns)
    if like is not None and parts & _ALIKE and not parts & (_ELSEWHERE - {"cond"}) and like.dtype.is_floating_point:
        width = known.width(name)
        one = like.clone()
        if width is not None and like.ndim > 1 and not parts & {"latent", "latents"}:
            one = resized(like, 1 if like.ndim > 3 else like.ndim - 1, width)
    else:
        one = tensor(name, annotation, known, main=main)
    if text in ("list", "<class 'list'>") or text.startswith(_LISTS):
        return [_unbatched(one) for _ in range(BATCH)]
    if text.startswith(("tuple[torch.tensor", "typing.tuple[torch.tensor")):
        return (one, one)
    return one


def _spread(parts: set[str]) -> bool:
    """Whether a mask lies over images, by the words of its name."""
    return parts == {"mask"} or bool(parts & _MASKED and not parts & _ELSEWHERE - {"cond"})


def optional_mask(name: str) -> bool:
    """Whether an optional argument may be a mask over the data, and not one that tells padding."""
    parts = set(words(name))
    return "mask" in parts and _spread(parts) and not parts & {"padding", "pad"}


def _plain(name: str, annotation: str) -> Any:
    text = annotation.lower().replace("typing.", "")
    first = text.split("|")[0].strip()
    if name in _COUNTS:
        return _COUNTS[name]
    if first in ("bool", "<class 'bool'>"):
        return False
    if first in ("int", "<class 'int'>"):
        return TOKENS if set(words(name)) & {"len", "length"} else 1
    if first in ("float", "<class 'float'>"):
        return 1.0
    if first.startswith("tuple[int"):
        return (1, 4, 4)[-first.count("int") :]
    if first.startswith("tuple[float"):
        return (1.0,) * max(1, first.count("float"))
    if first == "str":
        return ""
    if first.startswith("list[int"):
        return [1]
    return None


def _unbatched(t: torch.Tensor) -> torch.Tensor:
    if t.ndim < 2:
        return t
    return t.new_empty(t.shape[1:]) if t.is_meta else t[0]


def tensor(name: str, annotation: str, known: Known, *, main: bool = False) -> torch.Tensor:
    """A tensor for an argument."""
    parts = set(words(name))
    long = "LongTensor" in annotation or "IntTensor" in annotation
    real = "FloatTensor" in annotation
    if parts & {"mask", "masks", "valid"} or "BoolTensor" in annotation:
        return torch.ones(BATCH, _tokens(parts), dtype=torch.long if long else torch.bool)
    if parts & {"pooled", "pooling", "global"} and not main:
        return floats(BATCH, known.width(name) or known.plain_width)
    if parts & _STATES and parts & {"states", "embeds", "embeddings", "features", "hidden"} and not main:
        return floats(BATCH, _tokens(parts), known.width(name) or known.plain_width)
    if parts & {"grid", "thw"} and not main:
        return torch.tensor([[1, 4, 4]] * BATCH)
    if parts & {"guidance", "strength"}:
        return floats(BATCH)
    if parts & _TIME and not parts & {"cond", "emb", "embed", "embeds", "proj"} and not main:
        return floats(BATCH) if real else integers(BATCH, value=_tokens(parts) if parts & _LENGTHS else 1)
    if parts & _SIZES and not main:
        return floats(BATCH, 2)
    if parts & _IDS and not real:
        if known.axes is not None and not parts & {"input", "token", "tokens", "type", "class"} and not main:
            return integers(_tokens(parts), known.axes)
        if main or long or not parts & {"tokens"}:
            return integers(BATCH, _tokens(parts))
    if parts & _LABELS and not main:
        return integers(BATCH)
    if long:
        return integers(BATCH, _tokens(parts)) if main else integers(BATCH)
    if main:
        return _data(name, parts, known)
    if parts & _VIDEO:
        return floats(BATCH, known.width(name) or _channels(known), known.frames, known.side, known.side)
    if parts & {"pooled", "global", "vec", "vector", "style", "pooling"} or parts & {"emb", "embedding", "z", "code"}:
        return floats(BATCH, known.width(name) or known.plain_width)
    if parts & _IMAGES or parts & {"control", "controlnet", "pixels", "conditioning", "effnet"}:
        rank = _image_rank(known)
        channels = known.width(name) or (3 if parts & {"pixel", "pixels"} else _channels(known))
        return floats(BATCH, channels, *_space(rank, known.side, known))
    if known.reads_tokens and parts & {"src", "tgt", "text", "source", "query", "seq", "sequence", "decoder", "input"}:
        return integers(BATCH, _tokens(parts))
    if parts & _STATES or is_hidden(name):
        return floats(BATCH, _tokens(parts), known.width(name) or known.plain_width)
    return _data(name, parts, known)


def _tokens(parts: set[str]) -> int:
    return CONTEXT if parts & _ELSEWHERE or parts & {"text", "audio", "memory", "tgt"} else TOKENS


def _channels(known: Known) -> int:
    return known.number("in_channels", "in_chans", "latent_channels") or 3


def _image_rank(known: Known) -> int:
    first = known.first
    if first is not None and isinstance(first[1], _ConvNd):
        return int(first[1].weight.ndim)
    return next((m.weight.ndim for _, m in known.layers if isinstance(m, _ConvNd) and m.weight.ndim > 3), 4)


def _space(rank: int, side: int, known: Known) -> tuple[int, ...]:
    if rank == 3:
        return (max(64, min(side, 1024)),)
    return (side, side) if rank == 4 else (*(known.frames,) * (rank - 4), side, side)


def _data(name: str, parts: set[str], known: Known) -> torch.Tensor:
    """What the first layer reads."""
    first = known.first
    if first is None:
        return floats(BATCH, 3, known.side, known.side)
    layer, width = first[1], width_of(first[1])
    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        if parts & _IMAGES - {"x"}:
            return floats(BATCH, 3, known.side, known.side)
        return integers(BATCH, TOKENS)
    if isinstance(layer, _ConvNd):
        told = known.number("in_channels", "in_chans", "input_channels")
        if told is not None and told < width and width % told == 0:
            width = told  # patches are folded into channels before it
        return floats(BATCH, width, *_space(layer.weight.ndim, known.side, known))
    if isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm, nn.BatchNorm3d)):
        return floats(BATCH, width, *_space(5 if isinstance(layer, nn.BatchNorm3d) else 4, known.side, known))
    if parts & _VIDEO:
        return floats(BATCH, _channels(known), known.frames, known.side, known.side)
    if parts & _IMAGES - {"x", "sample", "samples"}:
        return floats(BATCH, _channels(known), known.side, known.side)
    if isinstance(layer, _BatchNorm):
        return floats(BATCH, width)
    if isinstance(layer, nn.RNNCellBase):
        return floats(BATCH, width)
    if isinstance(layer, (nn.RNNBase, nn.MultiheadAttention, nn.LayerNorm)) or parts & _STATES:
        return floats(BATCH, TOKENS, width)
    return floats(BATCH, TOKENS, width) if known.sequential and not parts & {"z", "noise"} else floats(BATCH, width)
