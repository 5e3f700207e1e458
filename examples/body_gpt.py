"""A language model in three parts, `embed`, `body` and `head`, as the recipe of Muon's README wants it.

`body_recipe` is right for this model as long as the head is its own tensor. `build(tie=True)` shares it with the
embedding, and the same recipe then lists one tensor twice.
"""

# paramlint: target=body_gpt.py:build

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Embed(nn.Module):
    def __init__(self, vocab_size: int, block_size: int, dim: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, dim)
        self.positions = nn.Embedding(block_size, dim)

    def forward(self, idx: Tensor) -> Tensor:
        return self.tokens(idx) + self.positions(torch.arange(idx.shape[1], device=idx.device))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.norm2 = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class BodyGPT(nn.Module):
    def __init__(self, depth: int, heads: int, dim: int, vocab_size: int, block_size: int, tie: bool) -> None:
        super().__init__()
        self.embed = Embed(vocab_size, block_size, dim)
        self.body = nn.Sequential(*(Block(dim, heads) for _ in range(depth)), nn.LayerNorm(dim))
        self.head = nn.Linear(dim, vocab_size, bias=False)
        if tie:
            self.head.weight = self.embed.tokens.weight

    def forward(self, idx: Tensor) -> Tensor:
        """Logits (batch, time, vocab) of token ids (batch, time)."""
        return self.head(self.body(self.embed(idx)))


def build(
    depth: int = 4, heads: int = 4, dim: int = 256, vocab_size: int = 8192, block_size: int = 256, tie: bool = False
) -> nn.Module:
    return BodyGPT(depth, heads, dim, vocab_size, block_size, tie)


def body_recipe(model: BodyGPT) -> list[dict]:
    hidden_weights = [p for p in model.body.parameters() if p.ndim >= 2]
    hidden_gains_biases = [p for p in model.body.parameters() if p.ndim < 2]
    nonhidden_params = [*model.head.parameters(), *model.embed.parameters()]
    return [
        dict(params=hidden_weights, use_muon=True, lr=0.02, weight_decay=0.01),
        dict(
            params=hidden_gains_biases + nonhidden_params,
            use_muon=False,
            lr=3e-4,
            betas=(0.9, 0.95),
            weight_decay=0.01,
        ),
    ]
