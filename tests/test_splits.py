"""Fused matrices: into which parts their rows are divided, and what each part is for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from fused_architectures import ARCHITECTURES, GATE, UP, K, Parts, Q, V  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import paramlint  # noqa: E402
from paramlint.model import torchvision_ops  # noqa: E402


def parts(model: nn.Module, *args: Any, **kwargs: Any) -> Parts:
    """By name of the fused matrices: how often the pattern recurs, and (rows, purpose) of each part."""
    found = paramlint.inspect(model, evidence=("use",), inputs=(args, kwargs))
    assert [p for p in found.passes if not p.stopped]
    divided = {p.name: u for p in found.parameters for u in p.uses if u.parts}
    return {name: (u.repeats, [(part.rows, part.purpose) for part in u.parts]) for name, u in divided.items()}


def blank(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


# ---- torch.nn


def test_gates_of_recurrent_modules():
    assert parts(nn.LSTM(8, 6, 2), blank(3, 2, 8)) == {
        f"weight_{which}_l{layer}": (1, [(6, GATE)] * 4) for layer in (0, 1) for which in ("ih", "hh")
    }
    found = parts(nn.GRU(8, 6), blank(3, 2, 8))
    assert found.keys() == {"weight_ih_l0", "weight_hh_l0"}
    assert all([rows for rows, _ in split] == [6, 6, 6] for _, split in found.values())


class After(nn.Module):
    """A module with a map after it: what leads to an output alone is a head, and no fused hidden matrix."""

    def __init__(self, inner: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.inner, self.out = inner, nn.Linear(width, 4)

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = self.inner(*args, **kwargs)
        return self.out(made[0] if isinstance(made, tuple) else made)


@pytest.mark.parametrize("weights", [True, False])
def test_multihead_attention_of_one_input_and_of_two(weights):
    x, y = blank(3, 2, 8), blank(5, 2, 8)
    expected = {"inner.in_proj_weight": (1, [(8, Q), (8, K), (8, V)])}
    assert parts(After(nn.MultiheadAttention(8, 2)), x, x, x, need_weights=weights) == expected
    assert parts(After(nn.MultiheadAttention(8, 2)), x, y, y, need_weights=weights) == expected
    assert parts(After(nn.MultiheadAttention(8, 2, kdim=6, vdim=5)), x, blank(5, 2, 6), blank(5, 2, 5)) == {}


def test_a_transformer_has_no_other_fused_matrices():
    found = parts(nn.Transformer(8, 2, 1, 1, 16), blank(3, 2, 8), blank(5, 2, 8))
    assert len(found) == 3 and all(name.endswith("in_proj_weight") for name in found)
    assert all(split == (1, [(8, Q), (8, K), (8, V)]) for split in found.values())


# ---- written by hand


class Attention(nn.Module):
    """As in vision transformers: rows are [query, key, value][head][channel]."""

    def __init__(self, order: str = "3HD", kernel: bool = False) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(8, 16 if order == "shared" else 24), nn.Linear(8, 8)
        self.order, self.kernel = order, kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, c = x.shape
        if self.order == "3HD":
            q, k, v = self.qkv(x).reshape(b, n, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.order == "H3D":
            q, k, v = self.qkv(x).view(b, n, 2, 12).transpose(1, 2).split(4, -1)
        elif self.order == "shared":
            q, k, v = self.qkv(x).view(b, n, 4, 4).transpose(1, 2).split([2, 1, 1], 1)
            k, v = k.repeat_interleave(2, 1), v.repeat(1, 2, 1, 1)
        else:
            q, k, v = self.qkv(x).view(b, n, 2, 4, 3).transpose(1, 2).unbind(-1)
        if self.kernel:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = (q * 0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(("order", "repeats"), [("3HD", 1), ("H3D", 2), ("HD3", 8)])
def test_orders_of_rows(order, repeats, kernel):
    found = parts(Attention(order, kernel), blank(2, 5, 8))
    assert found == {"qkv.weight": (repeats, [(8, Q), (8, K), (8, V)])}


@pytest.mark.parametrize("kernel", [True, False])
def test_keys_and_values_shared_by_heads(kernel):
    assert parts(Attention("shared", kernel), blank(2, 5, 8)) == {"qkv.weight": (1, [(8, Q), (4, K), (4, V)])}


class Glu(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.fc1, self.fc2 = how, nn.Linear(8, 32), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "weights":
            gate, up = (F.linear(x, w) for w in self.fc1.weight.chunk(2))
            return self.fc2(F.silu(gate) * up)
        x = self.fc1(x)
        if self.how == "glu":
            return self.fc2(F.glu(x, -1))
        if self.how == "interleaved":
            gate, up = x[..., ::2].clamp(max=7.0), x[..., 1::2]
            return self.fc2((up + 1) * (gate * torch.sigmoid(gate * 1.702)))
        gate, up = x.chunk(2, -1)
        return self.fc2(F.gelu(gate).mul_(up))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("chunk", (1, [(16, GATE), (16, UP)])),
        ("weights", (1, [(16, GATE), (16, UP)])),
        ("glu", (1, [(16, UP), (16, GATE)])),
        ("interleaved", (16, [(16, GATE), (16, UP)])),
    ],
)
def test_gated_mlps(how, expected):
    assert parts(Glu(how), blank(2, 5, 8)) == {"fc1.weight": expected}


class Rotary(nn.Module):
    """Plain projections whose features are taken apart for a rotation, and put together again."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8, bias=False) for _ in range(4))

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        angles = torch.arange(x.shape[-2])[:, None] * torch.arange(x.shape[-1] // 2)
        cos, sin = angles.cos(), angles.sin()
        if self.how == "complex":
            pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * torch.polar(torch.ones_like(cos), angles.float())).flatten(-2)
        if self.how == "every two":
            a, b = x[..., ::2], x[..., 1::2]
            return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        if self.how == "partial":
            a, rest = x[..., :2], x[..., 2:]
            a = torch.cat((-a[..., 1:], a[..., :1]), -1) * sin[..., :1] + a * cos[..., :1]
            return torch.cat((a, rest), -1)
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (m(x).unflatten(-1, (2, 4)).transpose(1, 2) for m in (self.q, self.k, self.v))
        x = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v)
        return self.o(x.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("how", ["halves", "every two", "partial", "complex"])
def test_rotated_queries_and_keys_are_whole(how):
    assert parts(Rotary(how), blank(2, 5, 8)) == {}


class Sampled(nn.Module):
    """Features of a map are places, on two levels, at which others are read: as in deformable attention."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.weights, self.value, self.out = (
            nn.Linear(8, 16), nn.Linear(8, 2), nn.Conv2d(8, 8, 1), nn.Linear(8, 8),
        )  # fmt: skip

    def forward(self, x: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        places = self.places(x).view(*x.shape[:2], 2, 4, 2)
        weights = self.weights(x).softmax(-1)
        seen = [
            F.grid_sample(level, places[:, :, i], align_corners=False).mean(-1).transpose(1, 2) * weights[..., i, None]
            for i, level in enumerate((self.value(image), self.value(image[..., ::2, ::2])))
        ]
        return self.out(seen[0] + seen[1])


def test_places_to_read_at_are_no_features():
    assert "places.weight" not in parts(Sampled(), blank(2, 5, 8), blank(2, 8, 6, 6))


class Branches(nn.Module):
    """Channels cut into branches, as convolutional networks do: handed on in different ways, and joined again."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, changed = self.a(x).relu().chunk(2, 1)
        return self.c(torch.cat((kept, self.b(changed)), 1))


def test_branches_of_channels_are_no_parts():
    assert parts(Branches(), blank(1, 3, 6, 6)) == {}


def test_a_head_whose_scores_are_taken_apart_is_no_fused_matrix():
    class Spans(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            start, end = self.head(self.body(x)).split(8, -1)
            return start.sigmoid() * end

    assert parts(Spans(), blank(2, 5, 8)) == {}


class Modulated(nn.Module):
    """A map from a condition to shift, scale and gate of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.given, self.modulation, self.layer, self.out = (
            nn.Linear(4, 8), nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 8),
        )  # fmt: skip

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        x = self.given(x)
        shift, scale, gate = self.modulation(F.silu(condition.sigmoid())).chunk(3, -1)
        x = x + gate[:, None] * self.layer(F.layer_norm(x, (8,)) * (1 + scale[:, None]) + shift[:, None])
        return self.out(x)


def test_modulation():
    found = parts(Modulated(), blank(2, 5, 4), blank(2, 8))
    assert found == {"modulation.weight": (1, [(8, "shift"), (8, "scale"), (8, "")])}


# ---- architectures


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.parametrize("label", ARCHITECTURES)
def test_architectures(label):
    torchvision_ops.install()
    import transformers

    name, fields, expected = ARCHITECTURES[label]
    config = getattr(transformers, f"{name}Config", None)
    if config is None:
        pytest.skip(f"this transformers has no {name}")
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config(**fields))
    assert parts(model, input_ids=torch.zeros(1, 8, dtype=torch.long)) == expected
