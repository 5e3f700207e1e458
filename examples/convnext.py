"""ConvNeXt: depthwise convolutions, LayerScale, and dense convolutions between the stages."""

# paramlint: target=convnext.py:build

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """Normalises over channels, last (batch, height, width, channels) or first (batch, channels, height, width)."""

    def __init__(self, dim: int, eps: float = 1e-6, data_format: str = "channels_last") -> None:
        super().__init__()
        if data_format not in ("channels_last", "channels_first"):
            raise ValueError(f"data_format {data_format!r} is neither channels_last nor channels_first")
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.dim, self.eps, self.data_format = dim, eps, data_format

    def forward(self, x: Tensor) -> Tensor:
        if self.data_format == "channels_last":
            return F.layer_norm(x, (self.dim,), self.weight, self.bias, self.eps)
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square().mean(1, keepdim=True)
        x = (x - mean) * torch.rsqrt(variance + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Block(nn.Module):
    def __init__(self, dim: int, layer_scale: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = LayerNorm(dim)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(layer_scale * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(
        self, in_chans: int, num_classes: int, depths: Sequence[int], dims: Sequence[int], layer_scale: float
    ) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(in_chans, dims[0], kernel_size=4, stride=4), LayerNorm(dims[0], data_format="channels_first")
        )
        between = (
            nn.Sequential(LayerNorm(a, data_format="channels_first"), nn.Conv2d(a, b, kernel_size=2, stride=2))
            for a, b in pairwise(dims)
        )
        self.downsample_layers = nn.ModuleList([stem, *between])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim, layer_scale) for _ in range(depth)))
            for depth, dim in zip(depths, dims, strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=1e-6)
        self.head = nn.Linear(dims[-1], num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Class logits (batch, num_classes) of images (batch, in_chans, height, width), sides divisible by 32."""
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        return self.head(self.norm(x.mean((-2, -1))))


def build(
    in_chans: int = 3,
    num_classes: int = 1000,
    depths: Sequence[int] = (3, 3, 27, 3),
    dims: Sequence[int] = (96, 192, 384, 768),
    layer_scale: float = 1e-6,
) -> nn.Module:
    """ConvNeXt-S as it stands."""
    return ConvNeXt(in_chans, num_classes, depths, dims, layer_scale)


def ndim_recipe(model: nn.Module) -> list[dict]:
    """By number of dimensions alone: the stem, the depthwise filters and the head go to Muon."""
    return [
        dict(params=[p for p in model.parameters() if p.ndim >= 2], use_muon=True, lr=0.02, weight_decay=0.01),
        dict(params=[p for p in model.parameters() if p.ndim < 2], use_muon=False, lr=3e-4, weight_decay=0.0),
    ]


def right_groups(model: ConvNeXt) -> list[dict]:
    """For an optimizer that flattens a convolution's filters into rows, as SingleDeviceMuonWithAuxAdam does.

    Muon gets the pointwise layers and the dense convolutions between stages; Adam the stem, the depthwise filters
    (each is one row of 49 numbers), LayerScale, norms, biases and the head.
    """
    hidden = {id(m.weight) for m in model.stages.modules() if isinstance(m, nn.Linear)}
    hidden |= {id(m.weight) for m in model.downsample_layers[1:].modules() if isinstance(m, nn.Conv2d)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    muon = [p for p in trainable if id(p) in hidden]
    decayed = [p for p in trainable if p.ndim >= 2 and id(p) not in hidden]
    rest = [p for p in trainable if p.ndim < 2]
    return [
        dict(params=muon, use_muon=True, lr=0.02, weight_decay=0.01),
        dict(params=decayed, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.01),
        dict(params=rest, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0),
    ]
