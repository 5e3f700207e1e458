"""Modules of the kind that people write are run through without being told what they take."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paramlint.model.trace.forward import trace


class Gpt(nn.Module):
    """Token ids, with a context length that is asserted, and optional targets."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(100, 32)
        self.wpe = nn.Embedding(24, 32)
        self.ln = nn.LayerNorm(32)
        self.qkv = nn.Linear(32, 96)
        self.proj = nn.Linear(32, 32)
        self.head = nn.Linear(32, 100, bias=False)
        self.register_buffer("mask", torch.tril(torch.ones(24, 24)).view(1, 1, 24, 24))

    def forward(self, idx, targets=None):
        b, t = idx.size()
        assert t <= 24, "too long"
        x = self.wte(idx) + self.wpe(torch.arange(t, device=idx.device))
        q, k, v = (z.view(b, t, 4, 8).transpose(1, 2) for z in self.qkv(self.ln(x)).split(32, dim=2))
        a = (q @ k.transpose(-2, -1)) / math.sqrt(8)
        a = a.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf")).softmax(-1)
        logits = self.head(x + self.proj((a @ v).transpose(1, 2).reshape(b, t, 32)))
        return logits, None if targets is None else F.cross_entropy(logits.view(-1, 100), targets.view(-1))


class Convolutions(nn.Module):
    """A linear layer after a flatten: images of one size only."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(channels, 6, 5)
        self.c2 = nn.Conv2d(6, 16, 5)
        self.out = nn.Linear(16 * side * side, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        return self.out(F.max_pool2d(F.relu(self.c2(x)), 2).flatten(1))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.user = nn.Linear(10, 32)
        self.items = nn.Embedding(70, 16)
        self.out = nn.Linear(49, 1)

    def forward(self, user, item_ids, price):
        return self.out(torch.cat([self.user(user), self.items(item_ids), price.unsqueeze(-1)], -1))


class Packed(nn.Module):
    """An LSTM over packed sequences, whose lengths are asked for on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 16)
        self.lstm = nn.LSTM(16, 24, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(48, 5)

    def forward(self, text, text_lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(text), text_lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, (h, _) = self.lstm(packed)
        return self.out(torch.cat([h[-2], h[-1]], 1))


class Unet(nn.Module):
    """With a time step."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, padding=1)
        self.mid = nn.Conv2d(16, 32, 3, padding=1)
        self.time = nn.Linear(1, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.out = nn.Conv2d(32, 3, 1)

    def forward(self, x, t):
        a = self.down(x)
        b = self.mid(F.max_pool2d(a, 2)) + self.time(t[:, None].float())[:, :, None, None]
        return self.out(torch.cat([a, self.up(b)], 1))


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Linear(784, 64)
        self.mean = nn.Linear(64, 8)
        self.var = nn.Linear(64, 8)
        self.dec = nn.Linear(8, 784)

    def encode(self, x):
        h = self.enc(x).relu()
        return self.mean(h), self.var(h)

    def decode(self, z):
        return self.dec(z).sigmoid()

    def forward(self, x):
        mean, var = self.encode(x.view(-1, 784))
        return self.decode(mean + torch.randn_like(mean) * (0.5 * var).exp()), mean, var


class DictBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(3, 8, 3)
        self.text = nn.Embedding(50, 8)

    def forward(self, batch):
        return self.image(batch["image"]).mean((2, 3)) + self.text(batch["input_ids"]).mean(1)


class AnyKeywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text = nn.Embedding(50, 8)
        self.out = nn.Linear(8, 2)

    def forward(self, **batch):
        return self.out(self.text(batch["input_ids"]))


class AnyArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.b = nn.Linear(4, 8)

    def forward(self, *args):
        x, y = args
        return self.a(x) + self.b(y)


class ConditionalGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(10, 10)
        self.out = nn.Linear(110, 784)

    def forward(self, noise, labels):
        return self.out(torch.cat((self.label_emb(labels), noise), -1)).view(-1, 1, 28, 28)


class Patches(nn.Module):
    """A position table for one number of patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, 32))
        self.pos = nn.Parameter(torch.zeros(1, 65, 32))
        self.layer = nn.TransformerEncoderLayer(32, 4, batch_first=True)

    def forward(self, img):
        x = self.patch(img).flatten(2).transpose(1, 2)
        return self.layer(torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos)


class Translator(nn.Module):
    """Two sequences, and masks that are given by position."""

    def __init__(self) -> None:
        super().__init__()
        self.src = nn.Embedding(100, 32)
        self.tgt = nn.Embedding(90, 32)
        self.core = nn.Transformer(32, 4, 1, 1, 64, batch_first=True)

    def forward(self, src, tgt, src_mask, tgt_mask, src_padding_mask, tgt_padding_mask):
        return self.core(
            self.src(src), self.tgt(tgt), src_mask, tgt_mask, None, src_padding_mask, tgt_padding_mask
        )  # fmt: skip


class Video(nn.Module):
    """Five dimensions, of which only an unpacking tells."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = nn.Conv2d(3, 8, 3)
        self.out = nn.Linear(8, 2)

    def forward(self, clip):
        b, c, t, h, w = clip.shape
        x = self.frame(clip.transpose(1, 2).reshape(b * t, c, h, w)).mean((2, 3))
        return self.out(x.view(b, t, 8).mean(1))


class Conditioned(nn.Module):
    """An optional argument that parameters depend on, and a dict of conditions."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Linear(12, 16)
        self.context = nn.Linear(20, 16)
        self.pooled = nn.Linear(9, 16)

    def forward(self, hidden_states: Tensor, context: Tensor | None = None, added_cond_kwargs: dict | None = None):
        x = self.x(hidden_states) + self.pooled(added_cond_kwargs["text_embeds"])[:, None]
        return x if context is None else x + self.context(context).mean(1, keepdim=True)


class TrainingHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.out = nn.Linear(8, 2)
        self.aux = nn.Linear(8, 2)

    def forward(self, x):
        h = self.body(x)
        return (self.out(h), self.aux(h)) if self.training else self.out(h)


class Detector(nn.Module):
    """A list of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None):
        if self.training:
            raise ValueError("targets should not be None in training mode")
        return self.conv(torch.stack([F.interpolate(i[None], (32, 32))[0] for i in images]))


MODELS: list[tuple[str, Callable[[], nn.Module]]] = [
    ("language model", Gpt),
    ("mlp", lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))),
    ("digits", lambda: Convolutions(1, 4)),
    ("small images", lambda: Convolutions(3, 5)),
    ("two inputs", TwoInputs),
    ("lstm", lambda: nn.LSTM(8, 16, 2)),
    ("packed lstm", Packed),
    ("unet", Unet),
    ("vae", Vae),
    ("dict batch", DictBatch),
    ("keywords", AnyKeywords),
    ("arguments", AnyArguments),
    ("generator", ConditionalGenerator),
    ("patches", Patches),
    ("translator", Translator),
    ("video", Video),
    ("conditions", Conditioned),
    ("training head", TrainingHead),
    ("detector", Detector),
    ("bf16", lambda: nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)).to(torch.bfloat16)),
]


@pytest.mark.parametrize(("name", "build"), MODELS, ids=[name for name, _ in MODELS])
def test_every_parameter_is_read(name: str, build: Callable[[], nn.Module]) -> None:
    model = build()
    found = trace(model)
    assert any(not p.stopped for p in found.passes), found.passes
    assert len(found.uses) == len(list(model.parameters())), found.passes


def test_context_from_another_model_is_no_data() -> None:
    """What is named like the states of an encoder is read by no input projection."""
    model = Conditioned()
    uses = trace(model).uses
    numbers = {id(p): i for i, p in enumerate(model.parameters())}
    assert any(u.from_input for u in uses[numbers[id(model.x.weight)]])
    assert not any(u.from_input for u in uses[numbers[id(model.context.weight)]])


def test_model_that_cannot_be_run_says_why() -> None:
    class Closed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)

        def forward(self, x):
            raise ValueError("not by itself")

    found = trace(Closed())
    assert found.passes
    assert all("not by itself" in p.stopped for p in found.passes)
    assert not found.uses
