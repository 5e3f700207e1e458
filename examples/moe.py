"""A decoder with a mixture of experts: the experts' weights are 3-D stacks (expert, out, in)."""

# paramlint: target=moe.py:build

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.o_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in projections)
        return self.o_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class Experts(nn.Module):
    """Two-layer experts in stacks: `w1` (expert, hidden, dim) and `w2` (expert, dim, hidden)."""

    def __init__(self, count: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(count, hidden, dim))
        self.w2 = nn.Parameter(torch.empty(count, dim, hidden))
        nn.init.normal_(self.w1, std=dim**-0.5)
        nn.init.normal_(self.w2, std=hidden**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(expert, slot, dim) to the same shape: each expert sees its own slots."""
        return torch.bmm(F.gelu(torch.bmm(x, self.w1.transpose(1, 2))), self.w2.transpose(1, 2))


class MoE(nn.Module):
    """Top-k routing with a fixed number of slots per expert; tokens over that number pass by unchanged."""

    def __init__(self, dim: int, hidden: int, experts: int, top_k: int, capacity: float) -> None:
        super().__init__()
        self.top_k, self.capacity, self.count = top_k, capacity, experts
        self.router = nn.Linear(dim, experts, bias=False)
        self.experts = Experts(experts, dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)
        slots = math.ceil(self.capacity * self.top_k * len(tokens) / self.count)
        weight, choice = self.router(tokens).softmax(-1).topk(self.top_k)
        weight = weight / weight.sum(-1, keepdim=True)
        chosen = choice[..., None] == torch.arange(self.count, device=x.device)
        # The place of each (choice, token) in its expert's queue; first choices of all tokens come first.
        queue = chosen.transpose(0, 1).flatten(0, 1).long().cumsum(0) - 1
        place = queue.unflatten(0, (self.top_k, -1)).transpose(0, 1)
        seat = (place[..., None] == torch.arange(slots, device=x.device)) & chosen[..., None]
        dispatch = seat.any(1).to(x.dtype)
        combine = (seat * weight[..., None, None]).sum(1)
        y = self.experts(torch.einsum("tes,td->esd", dispatch, tokens))
        return torch.einsum("tes,esd->td", combine, y).view_as(x)


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int, experts: int, top_k: int, capacity: float) -> None:
        super().__init__()
        self.attn_norm = nn.RMSNorm(dim)
        self.attn = Attention(dim, heads)
        self.moe_norm = nn.RMSNorm(dim)
        self.moe = MoE(dim, hidden, experts, top_k, capacity)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x))
        return x + self.moe(self.moe_norm(x))


class MoEDecoder(nn.Module):
    def __init__(
        self, depth: int, dim: int, heads: int, hidden: int, experts: int, top_k: int, capacity: float, vocab_size: int
    ) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, dim)
        self.layers = nn.ModuleList(Block(dim, heads, hidden, experts, top_k, capacity) for _ in range(depth))
        self.norm = nn.RMSNorm(dim)
        self.lm_head = nn.Linear(dim, vocab_size, bias=False)

    def forward(self, idx: Tensor) -> Tensor:
        """Logits (batch, time, vocab) of token ids (batch, time)."""
        x = self.embed_tokens(idx)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


def build(
    depth: int = 4,
    dim: int = 256,
    heads: int = 4,
    hidden: int = 512,
    experts: int = 8,
    top_k: int = 2,
    capacity: float = 1.25,
    vocab_size: int = 32000,
) -> nn.Module:
    return MoEDecoder(depth, dim, heads, hidden, experts, top_k, capacity, vocab_size)


def flagged(muon: list[nn.Parameter], head: list[nn.Parameter], rest: list[nn.Parameter]) -> list[dict]:
    return [
        dict(params=muon, use_muon=True, lr=0.02, weight_decay=0.01),
        dict(params=head, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.01),
        dict(params=rest, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def ndim2_recipe(model: MoEDecoder) -> list[dict]:
    """`ndim == 2`: the experts, most of the model, have three dimensions and fall to Adam without a word."""
    outer = {id(model.embed_tokens.weight), id(model.lm_head.weight)}
    muon = [p for p in model.parameters() if p.ndim == 2 and id(p) not in outer]
    rest = [p for p in model.parameters() if p.ndim != 2]
    return flagged(muon, [model.lm_head.weight, model.embed_tokens.weight], rest)


def right_groups(model: MoEDecoder) -> list[dict]:
    """For an optimizer that takes 3-D stacks as batches of matrices, as SingleDeviceMuonWithAuxAdam does.

    The routers are with Adam: sources disagree, and they are a small part of the model.
    """
    matrices = [m.weight for m in model.layers.modules() if isinstance(m, nn.Linear)]
    stacks = [w for m in model.layers.modules() if isinstance(m, Experts) for w in (m.w1, m.w2)]
    routers = {id(m.router.weight) for m in model.layers.modules() if isinstance(m, MoE)}
    hidden = {id(p) for p in [*matrices, *stacks]} - routers
    trainable = [p for p in model.parameters() if p.requires_grad]
    muon = [p for p in trainable if id(p) in hidden]
    decayed = [p for p in trainable if id(p) in routers or p is model.lm_head.weight]
    done = {id(p) for p in [*muon, *decayed]}
    return flagged(muon, decayed, [p for p in trainable if id(p) not in done])
