"""What a model tells of its inputs by itself: sizes in its configuration and attributes, and its first layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

BATCH, TOKENS, CONTEXT, FRAMES, STACK = 2, 16, 12, 2, 3
_WIDTH = frozenset("dim channels channel width size features dims embd".split())
_NO_WIDTH = frozenset(
    "num head heads layers max patch out output vocab ffn ff kernel hop sample window pos norm intermediate mlp "
    "multiplier min drop rope theta axes model block blocks expand group groups inner eps depth attn".split()
)
_SIDE = ("sample_size", "image_size", "img_size", "input_size", "resolution", "image_resolution")
#: Words for the same thing, in arguments and in fields.
_KIN = (
    frozenset("encoder context text caption captions cap cross joint prompt condition cond txt hid memory c".split()),
    frozenset("image img vision clip visual siglip".split()),
    frozenset("pooled pooling global".split()),
    frozenset("audio sound wave waveform acoustic".split()),
    frozenset("control controls conditioning controlnet".split()),
    frozenset("latent latents".split()),
    frozenset("key k".split()),
    frozenset("value v".split()),
)
#: Modules that read something else than the data, by their paths.
_ASIDE = frozenset(
    "time timestep class label text txt caption context pos position guidance pooled cond norm temb rope freqs y "
    "encoder_hid conditioner control".split()
)
Layer = tuple[str, nn.Module]


def words(name: str) -> list[str]:
    """`encoder_hidden_states2` -> encoder, hidden, states, 2."""
    return [
        w for w in re.split(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if w
    ]


class Known:
    """Facts about the inputs of a model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The configuration, and plain attributes of the model itself."""
        found: dict[str, Any] = {}
        for name in ("config", "cfg", "args", "hparams", "params", "opt"):
            value = getattr(self.model, name, None)
            if isinstance(value, Mapping):
                found.update((str(k), v) for k, v in value.items())
            elif value is not None and not callable(value) and hasattr(value, "__dict__"):
                found.update(vars(value))
        for key, value in vars(self.model).items():
            if not key.startswith("_") and isinstance(value, (int, float, tuple, list)):
                found.setdefault(key, value)
        return found

    def number(self, *names: str) -> int | None:
        """The first of these fields that is a positive integer, or starts with one."""
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, (tuple, list)) and value:
                value = value[0]
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return None

    @cached_property
    def layers(self) -> list[Layer]:
        """The modules that a tensor can be given to, in the order of their registration."""
        return [(path, m) for path, m in self.model.named_modules() if _reads(m)]

    @cached_property
    def first(self) -> Layer | None:
        """The layer that reads the data, as far as its place and size tell."""
        ahead = [(p, m) for p, m in self.layers if not set(words(p)) & _ASIDE] or self.layers
        for channels in filter(None, (self.number(n) for n in ("in_channels", "in_chans", "input_channels"))):
            for path, m in ahead:
                if width_of(m) == channels:
                    return path, m
        return ahead[0] if ahead else None

    @cached_property
    def reads_tokens(self) -> bool:
        """Whether the data are integers that are looked up."""
        return self.first is not None and isinstance(self.first[1], (nn.Embedding, nn.EmbeddingBag))

    @cached_property
    def sequential(self) -> bool:
        """Whether it has layers that work on sequences of vectors."""
        kinds = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.RNNBase, nn.LayerNorm, nn.Conv1d)
        return any(isinstance(m, kinds) for m in self.model.modules())

    @cached_property
    def frames(self) -> int:
        """Length of videos: 8 n + 1 for what encodes and decodes them, which often merges frames after the first."""
        return 9 if hasattr(self.model, "encode") and hasattr(self.model, "decode") else FRAMES

    @cached_property
    def side(self) -> int:
        """Height and width of images."""
        for m in self.model.modules():
            for name in _SIDE:
                value = self.fields.get(name) if m is self.model else vars(m).get(name)
                if isinstance(value, (tuple, list)) and value:
                    value = value[-1]
                if isinstance(value, int) and not isinstance(value, bool) and 4 <= value <= 2048:
                    return value
        conv = next((m for _, m in self.layers if isinstance(m, nn.Conv2d)), None)
        return 28 if conv is not None and conv.in_channels == 1 else 64 if self.fields.get("_class_name") else 224

    def width(self, name: str) -> int | None:
        """The field that is the width of an argument, by the words that both have."""
        said = set(words(name))
        if said & {"control", "controls", "controlnet"}:
            said -= {"cond", "condition"}
        groups = [g for g in _KIN if said & g]
        best, found = 0.0, None
        for field, value in self.fields.items():
            parts = set(words(field))
            if not isinstance(value, int) or isinstance(value, bool) or value < 2 or not parts & _WIDTH:
                continue
            if parts & _NO_WIDTH:
                continue
            score = sum(1.0 for g in groups if parts & g) + 0.5 * len(parts & said)
            score -= 0.6 * sum(1 for g in _KIN if parts & g and not said & g)
            if score > best:
                best, found = score, value
        return found

    @cached_property
    def plain_width(self) -> int:
        """A width for vectors of which nothing is known: that of the first layer, where it reads vectors."""
        first = self.first
        return 64 if first is None or isinstance(first[1], (_ConvNd, nn.Embedding)) else width_of(first[1])

    @cached_property
    def axes(self) -> int | None:
        """How many coordinates a rotary position has."""
        for field, value in self.fields.items():
            if isinstance(value, (tuple, list)) and {"axes", "mrope"} & set(words(field)) and len(value) > 1:
                return len(value)
        return None


def _reads(m: nn.Module) -> bool:
    kinds = (_ConvNd, nn.Linear, nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.MultiheadAttention, nn.LayerNorm)
    return isinstance(m, (*kinds, _BatchNorm, nn.GroupNorm, nn.RNNCellBase, nn.Bilinear)) and _size(m) is not None


def width_of(m: nn.Module) -> int:
    """How many channels or features a layer reads."""
    return _size(m) or 1


def _size(m: nn.Module) -> int | None:
    for name in (
        "in_channels",
        "in_features",
        "num_embeddings",
        "input_size",
        "embed_dim",
        "num_features",
        "num_channels",
    ):
        value = getattr(m, name, None)
        if isinstance(value, int):
            return value
    shape = getattr(m, "normalized_shape", None)
    if isinstance(shape, (tuple, list)) and shape:
        return int(shape[-1])
    value = getattr(m, "in1_features", None)
    return value if isinstance(value, int) else None


def conv_ranks(model: nn.Module) -> Iterator[int]:
    """How many dimensions its convolutions read, in order."""
    for m in model.modules():
        if isinstance(m, _ConvNd):
            yield m.weight.ndim
