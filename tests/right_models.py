"""Small models of the usual kinds, in plain torch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.v_proj, self.o_proj = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        return self.o_proj(F.scaled_dot_product_attention(self.q_proj(x), self.k_proj(x), self.v_proj(x)))


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim)
        self.up, self.down = nn.Linear(dim, 3 * dim), nn.Linear(3 * dim, dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self, dim=32, vocab=40, tie=False):
        super().__init__()
        self.embed, self.positions = nn.Embedding(vocab, dim), nn.Embedding(16, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(2))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        if tie:
            self.head.weight = self.embed.weight

    def forward(self, ids):
        x = self.embed(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Encoder(nn.Module):
    """BERT-like: token types, an embedding norm, a pooler, a classifier."""

    def __init__(self, dim=32, vocab=40, classes=3):
        super().__init__()
        self.word_embeddings, self.token_type_embeddings = nn.Embedding(vocab, dim), nn.Embedding(2, dim)
        self.embed_norm = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(2))
        self.pooler = nn.Linear(dim, dim)
        self.classifier = nn.Linear(dim, classes)

    def forward(self, ids):
        x = self.embed_norm(self.word_embeddings(ids) + self.token_type_embeddings(torch.zeros_like(ids)))
        for block in self.blocks:
            x = block(x)
        return self.classifier(torch.tanh(self.pooler(x[:, 0])))


class Adapted(nn.Module):
    def __init__(self, base, rank=2):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x))


class Lora(Encoder):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)
        for block in self.blocks:
            block.attn.q_proj, block.attn.v_proj = Adapted(block.attn.q_proj), Adapted(block.attn.v_proj)
        self.classifier.requires_grad_(True)


class Residual(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(dim, dim, 3, padding=1), nn.Conv2d(dim, dim, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(dim), nn.BatchNorm2d(dim)

    def forward(self, x):
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    def __init__(self, dim=16, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, dim, 3, padding=1)
        self.layers = nn.Sequential(Residual(dim), Residual(dim))
        self.fc = nn.Linear(dim, classes)

    def forward(self, x):
        return self.fc(self.layers(self.stem(x)).mean((2, 3)))


class ConvNet(nn.Sequential):
    def __init__(self, out):
        super().__init__(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.LazyLinear(out))
        self(torch.zeros(1, 3, 8, 8))


class MLP(nn.Sequential):
    def __init__(self, inside=8, out=4, dim=16):
        super().__init__(
            nn.Linear(inside, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.Linear(dim, out)
        )


class Dino(nn.Module):
    """A student with a weight-normed last layer of frozen gain, and its frozen teacher."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher = self._net(), self._net().requires_grad_(False)
        self.student[-1].parametrizations.weight.original0.requires_grad_(False)

    @staticmethod
    def _net():
        last = nn.utils.parametrizations.weight_norm(nn.Linear(16, 40, bias=False))
        return nn.Sequential(ResNet(classes=16), nn.GELU(), nn.Linear(16, 16), last)
