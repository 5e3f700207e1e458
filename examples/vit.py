"""A vision transformer with timm's parameter names, whose q, k and v are one fused matrix."""

# paramlint: target=vit.py:build

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    def __init__(self, patch_size: int, in_chans: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, d // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(
        self, img_size: int, patch_size: int, in_chans: int, num_classes: int, dim: int, depth: int, num_heads: int
    ) -> None:
        super().__init__()
        tokens = (img_size // patch_size) ** 2 + 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, dim))
        self.patch_embed = PatchEmbed(patch_size, in_chans, dim)
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Class logits (batch, num_classes) of images (batch, in_chans, img_size, img_size)."""
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def build(
    img_size: int = 224,
    patch_size: int = 16,
    in_chans: int = 3,
    num_classes: int = 1000,
    dim: int = 192,
    depth: int = 12,
    num_heads: int = 3,
) -> nn.Module:
    return VisionTransformer(img_size, patch_size, in_chans, num_classes, dim, depth, num_heads)


def blog_recipe(model: nn.Module) -> list[dict]:
    """'embed' in the name happens to spare pos_embed and patch_embed; cls_token and the head go to Muon."""
    muon_params = [p for name, p in model.named_parameters() if p.ndim >= 2 and "embed" not in name]
    adam_params = [p for name, p in model.named_parameters() if p.ndim < 2 or "embed" in name]
    assert len(list(model.parameters())) == len(muon_params) + len(adam_params)
    return [
        dict(params=muon_params, use_muon=True, lr=0.02, weight_decay=0.01),
        dict(params=adam_params, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def right_groups(model: VisionTransformer) -> list[dict]:
    """Muon for the blocks' linear layers; patches, tokens, positions, gains, biases and head to Adam.

    `attn.qkv` stays in Muon, orthogonalised as one matrix of 3*dim rows: worth a warning, and no error.
    """
    hidden = {id(m.weight) for m in model.blocks.modules() if isinstance(m, nn.Linear)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    muon = [p for p in trainable if id(p) in hidden]
    outer = {id(model.patch_embed.proj.weight), id(model.head.weight)}
    decayed = [p for p in trainable if id(p) in outer]
    rest = [p for p in trainable if id(p) not in hidden | outer]
    return [
        dict(params=muon, use_muon=True, lr=0.02, weight_decay=0.01),
        dict(params=decayed, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.01),
        dict(params=rest, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0),
    ]
