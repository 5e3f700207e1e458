"""Fine-tuning with low-rank adapters: a frozen transformer encoder, trainable adapters and a new classifier."""

# paramlint: target=lora.py:build

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """A frozen linear layer plus `scale * B A`: `lora_A` (rank, in), `lora_B` (out, rank), zero at the start."""

    def __init__(self, in_features: int, out_features: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = nn.Linear(in_features, out_features)
        self.base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(rank, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank))
        self.scale = alpha / rank
        nn.init.normal_(self.lora_A, std=in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * F.linear(F.linear(x, self.lora_A), self.lora_B)


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.q_proj = LoRALinear(dim, dim, rank, alpha)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = LoRALinear(dim, dim, rank, alpha)
        self.o_proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.up_proj = LoRALinear(dim, 4 * dim, rank, alpha)
        self.down_proj = LoRALinear(4 * dim, dim, rank, alpha)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in projections)
        x = x + self.o_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down_proj(F.gelu(self.up_proj(self.norm2(x))))


class Classifier(nn.Module):
    def __init__(
        self, depth: int, dim: int, heads: int, rank: int, alpha: float, vocab_size: int, max_len: int, classes: int
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, dim)
        self.positions = nn.Embedding(max_len, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, rank, alpha) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)
        for name, p in self.named_parameters():
            p.requires_grad_("lora_" in name or name.startswith("head."))

    def forward(self, idx: Tensor) -> Tensor:
        """Class logits (batch, classes) of token ids (batch, time)."""
        x = self.tokens(idx) + self.positions(torch.arange(idx.shape[1], device=idx.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def build(
    depth: int = 4,
    dim: int = 256,
    heads: int = 4,
    rank: int = 8,
    alpha: float = 16.0,
    vocab_size: int = 8192,
    max_len: int = 256,
    classes: int = 4,
) -> nn.Module:
    return Classifier(depth, dim, heads, rank, alpha, vocab_size, max_len, classes)


def frozen_recipe(model: nn.Module) -> list[dict]:
    """Looks at dimensions and forgets `requires_grad`: the frozen base is in the groups, and may be decayed."""
    return [
        dict(params=[p for p in model.parameters() if p.ndim >= 2], use_muon=True, lr=0.02, weight_decay=0.01),
        dict(
            params=[p for p in model.parameters() if p.ndim < 2],
            use_muon=False,
            lr=3e-4,
            betas=(0.9, 0.95),
            weight_decay=0.01,
        ),
    ]


def adapters(model: Classifier) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The adapters' matrices, and what else is trained."""
    low_rank = [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]
    known = {id(p) for p in low_rank}
    return low_rank, [p for p in model.parameters() if p.requires_grad and id(p) not in known]


def right_groups(model: Classifier) -> list[dict]:
    """Adapters and head to Adam: nothing that is trained here is a full hidden matrix."""
    low_rank, rest = adapters(model)
    return [
        dict(params=low_rank, use_muon=False, lr=2e-4, betas=(0.9, 0.95), weight_decay=0.01),
        dict(params=rest, use_muon=False, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def muon_adapters(model: Classifier) -> list[dict]:
    """The other school: adapters to Muon. Sources disagree on it."""
    low_rank, rest = adapters(model)
    return [
        dict(params=low_rank, use_muon=True, lr=0.002, weight_decay=0.01),
        dict(params=rest, use_muon=False, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]
