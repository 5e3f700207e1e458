"""Mamba in plain torch: a selective state space model, whose `A_log` has two dimensions and is no matrix."""

# paramlint: target=mamba.py:build

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mixer(nn.Module):
    """`in_proj` makes the input and its gate, `x_proj` makes dt, B and C: both are several matrices in one."""

    def __init__(self, dim: int, state: int, conv: int, expand: int) -> None:
        super().__init__()
        inner = expand * dim
        self.state, self.dt_rank = state, math.ceil(dim / 16)
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, conv, groups=inner, padding=conv - 1)
        self.x_proj = nn.Linear(inner, self.dt_rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.in_proj(x).chunk(2, dim=-1)
        u = F.silu(self.conv1d(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        dt, b, c = self.x_proj(u).split([self.dt_rank, self.state, self.state], dim=-1)
        y = self.scan(u, F.softplus(self.dt_proj(dt)), b, c)
        return self.out_proj(y * F.silu(z))

    def scan(self, u: Tensor, dt: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The recurrence, one step of time after another: u and dt (batch, time, inner), b and c (.., .., state)."""
        decay = torch.exp(dt[..., None] * -torch.exp(self.A_log))
        drive = (dt * u)[..., None] * b[:, :, None]
        h = torch.zeros_like(drive[:, 0])
        out = []
        for t in range(u.shape[1]):
            h = decay[:, t] * h + drive[:, t]
            out.append((h * c[:, t, None]).sum(-1))
        return torch.stack(out, dim=1) + u * self.D


class Layer(nn.Module):
    def __init__(self, dim: int, state: int, conv: int, expand: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim)
        self.mixer = Mixer(dim, state, conv, expand)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixer(self.norm(x))


class Mamba(nn.Module):
    def __init__(self, depth: int, dim: int, vocab_size: int, state: int, conv: int, expand: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.layers = nn.ModuleList(Layer(dim, state, conv, expand) for _ in range(depth))
        self.norm_f = nn.RMSNorm(dim)
        self.lm_head = nn.Linear(dim, vocab_size, bias=False)
        self.lm_head.weight = self.embedding.weight

    def forward(self, idx: Tensor) -> Tensor:
        """Logits (batch, time, vocab) of token ids (batch, time)."""
        x = self.embedding(idx)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm_f(x))


def build(
    depth: int = 4, dim: int = 256, vocab_size: int = 50280, state: int = 16, conv: int = 4, expand: int = 2
) -> nn.Module:
    return Mamba(depth, dim, vocab_size, state, conv, expand)


def blog_recipe(model: nn.Module) -> list[dict]:
    """The name spares the embedding, but A_log (pointwise) and conv1d (depthwise, 3-D) go to Muon."""
    muon_params = [p for name, p in model.named_parameters() if p.ndim >= 2 and "embed" not in name]
    adam_params = [p for name, p in model.named_parameters() if p.ndim < 2 or "embed" in name]
    assert len(list(model.parameters())) == len(muon_params) + len(adam_params)
    return [
        dict(params=muon_params, use_muon=True, lr=0.02, weight_decay=0.01),
        dict(params=adam_params, use_muon=False, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def right_groups(model: Mamba) -> list[dict]:
    """Muon for the plain projections. The fused ones are with Adam, as Megatron-LM has it for in_proj.

    In Muon, a tensor that holds several matrices would get a warning.
    """
    mixers = [m for m in model.modules() if isinstance(m, Mixer)]
    hidden = {id(p) for m in mixers for p in (m.dt_proj.weight, m.out_proj.weight)}
    matrices = {id(p) for m in mixers for p in (m.in_proj.weight, m.x_proj.weight, m.conv1d.weight)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        dict(params=[p for p in trainable if id(p) in hidden], use_muon=True, lr=0.02, weight_decay=0.01),
        dict(
            params=[p for p in trainable if id(p) in matrices],
            use_muon=False,
            lr=3e-4,
            betas=(0.9, 0.95),
            weight_decay=0.01,
        ),
        dict(
            params=[p for p in trainable if id(p) not in hidden | matrices],
            use_muon=False,
            lr=3e-4,
            betas=(0.9, 0.95),
            weight_decay=0.0,
        ),
    ]
