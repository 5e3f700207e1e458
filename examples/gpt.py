"""A GPT-2 style language model with a tied head, and several ways to give its parameters to Muon.

`right_groups` and `right_optimizers` are sound. `blog_recipe` and `docstring_recipe` are recipes found in the wild:
both orthogonalise the embedding. The functions at the end each have one fault, planted.
"""

# paramlint: target=gpt.py:build

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Causal self-attention with q, k and v as matrices of their own, so that Muon sees each one alone."""

    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.q = nn.Linear(n_embd, n_embd)
        self.k = nn.Linear(n_embd, n_embd)
        self.v = nn.Linear(n_embd, n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (f(x).view(b, t, self.n_head, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(b, t, d))


class MLP(nn.Module):
    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(n_embd, 4 * n_embd)
        self.c_proj = nn.Linear(4 * n_embd, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd)
        self.attn = Attention(n_embd, n_head)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.mlp = MLP(n_embd)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, n_layer: int, n_head: int, n_embd: int, vocab_size: int, block_size: int) -> None:
        super().__init__()
        self.block_size = block_size
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(block_size, n_embd)
        self.h = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight
        self.apply(self._init)
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * n_layer))

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits (batch, time, vocab) and the mean loss in nats, of token ids (batch, time)."""
        if idx.shape[1] > self.block_size:
            raise ValueError(f"{idx.shape[1]} tokens, but block_size is {self.block_size}")
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def build(
    n_layer: int = 4, n_head: int = 4, n_embd: int = 256, vocab_size: int = 50304, block_size: int = 256
) -> nn.Module:
    return GPT(n_layer, n_head, n_embd, vocab_size, block_size)


def split(model: GPT) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices for Muon and the rest, by what a module is and by identity of tensors. No names."""
    outside = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)} | {id(model.lm_head.weight)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    muon = [p for p in trainable if p.ndim == 2 and id(p) not in outside]
    chosen = {id(p) for p in muon}
    return muon, [p for p in trainable if id(p) not in chosen]


def flagged(muon: list[nn.Parameter], adam: list[nn.Parameter]) -> list[dict]:
    return [
        dict(params=muon, use_muon=True, lr=0.02, weight_decay=0.01),
        dict(params=adam, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def right_groups(model: GPT) -> list[dict]:
    """For an optimizer with both halves, such as SingleDeviceMuonWithAuxAdam."""
    return flagged(*split(model))


def right_optimizers(model: GPT) -> list[torch.optim.Optimizer]:
    """The same split over torch's Muon, which has no Adam half, and AdamW."""
    muon, adam = split(model)
    return [
        torch_muon()(muon, lr=0.02, weight_decay=0.01),
        torch.optim.AdamW(adam, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def torch_muon() -> type[torch.optim.Optimizer]:
    if not hasattr(torch.optim, "Muon"):
        raise RuntimeError(f"torch.optim.Muon came with torch 2.9; this is torch {torch.__version__}")
    return torch.optim.Muon


def blog_recipe(model: nn.Module) -> list[dict]:
    """Everything with two dimensions that has no 'embed' in its name: here the embeddings are called wte and wpe."""
    muon_params = [p for name, p in model.named_parameters() if p.ndim >= 2 and "embed" not in name]
    adam_params = [p for name, p in model.named_parameters() if p.ndim < 2 or "embed" in name]
    assert len(list(model.parameters())) == len(muon_params) + len(adam_params)
    return [
        dict(params=muon_params, use_muon=True, lr=0.02, weight_decay=0.01),
        dict(params=adam_params, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def keller_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's groups in the optimizer it was written for (github.com/KellerJordan/Muon)."""
    from muon import SingleDeviceMuonWithAuxAdam

    return SingleDeviceMuonWithAuxAdam(blog_recipe(model))


def docstring_recipe(model: nn.Module) -> list[torch.optim.Optimizer]:
    """By number of dimensions alone: the tied embedding and the position table have two."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    return [torch_muon()(matrices, lr=0.02), torch.optim.AdamW(others, lr=3e-4)]


def duplicate_groups(model: GPT) -> list[dict]:
    """The head gets a group of its own, but it is the embedding, which is in a group already."""
    head = dict(params=[model.lm_head.weight], use_muon=False, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)
    return [*right_groups(model), head]


def uncovered_groups(model: GPT) -> list[dict]:
    """Goes by parts of the model and forgets ln_f."""
    gains = [p for p in model.h.parameters() if p.ndim < 2]
    return flagged(split(model)[0], [model.wte.weight, model.wpe.weight, *gains])


def foreign_groups(model: GPT) -> list[dict]:
    """Half of the groups come from a copy, as when a model is rebuilt after they were made."""
    stale = copy.deepcopy(model)
    return flagged(split(model)[0], split(stale)[1])


def frozen_groups(model: GPT) -> list[dict]:
    """Freezes the first block after the groups were made, and leaves it in them."""
    groups = right_groups(model)
    model.h[0].requires_grad_(False)
    return groups
