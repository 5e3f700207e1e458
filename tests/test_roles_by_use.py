"""Roles from the forward pass alone: no name, class or accessor is looked at."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import paramlint

D = 48


def by_use(model: nn.Module, inputs: object = None) -> dict[str, str]:
    found = paramlint.inspect(model, evidence=("use",), inputs=inputs)
    return {p.name: p.role for p in found.parameters}


def tokens(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.long)


class Block(nn.Module):
    def __init__(self, width: int = D) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(F.relu(self.a(x)))


class LM(nn.Module):
    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.x = nn.Embedding(100, D)
        self.y = nn.Embedding(32, D)
        self.z = nn.ModuleList(Block() for _ in range(2))
        self.n = nn.LayerNorm(D)
        self.o = nn.Linear(D, 100, bias=False)
        if tied:
            self.o.weight = self.x.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.x(ids) + self.y(torch.arange(ids.shape[1], device=ids.device))
        for block in self.z:
            h = block(h)
        return self.o(self.n(h))


def test_a_language_model() -> None:
    roles = by_use(LM(), tokens(2, 8))
    assert roles["x.weight"] == "embedding"
    assert roles["y.weight"] == "position-table"
    assert roles["z.0.a.weight"] == roles["z.1.b.weight"] == "hidden-matrix"
    assert roles["n.weight"] == "norm-gain"
    assert roles["n.bias"] == roles["z.0.a.bias"] == "bias"
    assert roles["o.weight"] == "output-head"


def test_one_tensor_looked_up_and_multiplied_is_tied() -> None:
    assert by_use(LM(tied=True), tokens(2, 8))["x.weight"] == "tied-embedding"


def test_tied_in_the_forward_alone() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e = nn.Embedding(100, D)
            self.body = Block()

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.body(self.e(ids)) @ self.e.weight.t()

    assert by_use(Functional(), tokens(2, 8))["e.weight"] == "tied-embedding"


class Headless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(7, D)
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = block(h)
        return F.layer_norm(h, (D,))


def test_a_body_without_a_head_has_none() -> None:
    roles = by_use(Headless(), torch.zeros(2, 5, 7))
    assert roles["first.weight"] == "input-projection"
    assert "output-head" not in roles.values()
    assert roles["blocks.2.b.weight"] == "hidden-matrix"


@pytest.mark.parametrize("together", ["mean", "stack", "apart"])
def test_several_heads(together: str) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body = nn.Linear(7, D), Block()
            self.heads = nn.ModuleList(nn.Linear(D, 40) for _ in range(6))

        def forward(self, x: torch.Tensor) -> object:
            h = self.body(self.stem(x))
            scores = [head(h) for head in self.heads]
            return {"mean": sum(scores) / 6, "stack": torch.stack(scores), "apart": scores}[together]

    roles = by_use(Heads(), torch.zeros(2, 7))
    assert {roles[f"heads.{i}.weight"] for i in range(6)} == {"output-head"}
    assert roles["body.b.weight"] == "hidden-matrix"


def test_what_is_returned_on_the_way_is_no_head() -> None:
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))
            self.e, self.head = nn.Embedding(50, D), nn.Linear(D, 50)

        def forward(self, ids: torch.Tensor) -> object:
            x = self.e(ids)
            k, v = self.k(x), self.v(x)
            h = self.o(F.scaled_dot_product_attention(self.q(x)[:, None], k[:, None], v[:, None])[:, 0])
            return self.head(x + h), (k, v)

    roles = by_use(Cached(), tokens(2, 8))
    assert roles["k.weight"] == roles["v.weight"] == "hidden-matrix"
    assert roles["head.weight"] == "output-head"


class Vision(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, D, 4, 4)
        self.b = nn.Conv2d(D, D, 3, padding=1, groups=D)
        self.c = nn.Conv2d(D, D, 3, padding=1, groups=4)
        self.d = nn.Conv2d(D, D, 3, padding=1)
        self.t = nn.ConvTranspose2d(D, D, 2, 2)
        self.cls = nn.Parameter(torch.zeros(1, 1, D))
        self.pos = nn.Parameter(torch.zeros(1, 65, D))
        self.ls = nn.Parameter(torch.ones(D, 1, 1))
        self.f = nn.Linear(D, D)
        self.h = nn.Linear(D, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.t(self.d(self.c(self.b(self.a(x)))))[:, :, :8, :8] * self.ls
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.h(F.gelu(self.f(x)).mean(1))


def test_convolutions_tokens_and_tables() -> None:
    roles = by_use(Vision(), torch.zeros(2, 3, 32, 32))
    assert roles["a.weight"] == "input-projection"
    assert roles["b.weight"] == "depthwise-conv"
    assert roles["c.weight"] == "grouped-conv"
    assert roles["d.weight"] == roles["t.weight"] == "conv-filter"
    assert roles["cls"] == "token"
    assert roles["pos"] == "position-table"
    assert roles["ls"] == "scale"
    assert roles["f.weight"] == "hidden-matrix"
    assert roles["h.weight"] == "output-head"


class Experts(nn.Module):
    """Four experts, batched or looped over, and the router that picks two of them."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.e = nn.Embedding(50, D)
        self.r = nn.Linear(D, 4, bias=False)
        self.w = nn.Parameter(torch.zeros(4, D, 2 * D))
        self.v = nn.Parameter(torch.zeros(4, 2 * D, D))
        self.b = nn.Parameter(torch.zeros(4, 2 * D))
        self.o = nn.Linear(D, 50)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.e(ids).flatten(0, 1)
        score, pick = F.softmax(self.r(x), -1).topk(2)
        if self.how == "batched":
            y = F.silu(torch.bmm(x.expand(4, -1, -1), self.w) + self.b[:, None])
            y = torch.bmm(y, self.v).mean(0) * score.sum(-1, keepdim=True)
        elif self.how == "einsum":
            y = F.silu(torch.einsum("td,edf->tef", x, self.w) + self.b)
            y = torch.einsum("tef,efd->td", y, self.v) * score.sum(-1, keepdim=True)
        else:
            y = torch.zeros_like(x)
            for i in range(4):
                chosen = (pick == i).any(-1)
                y[chosen] += F.silu(x[chosen] @ self.w[i] + self.b[i]) @ self.v[i] * score[chosen, :1]
        return self.o(x + y)


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_experts_and_their_router(how: str) -> None:
    roles = by_use(Experts(how), tokens(2, 8))
    assert roles["r.weight"] == "router"
    assert roles["w"] == roles["v"] == "expert-stack"
    assert roles["b"] in ("bias", "position-table")
    assert roles["o.weight"] == "output-head"


class StateSpace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.o = nn.Embedding(50, D), nn.Linear(D, 50)
        self.a = nn.Parameter(torch.zeros(D, 16))
        self.g = nn.Parameter(torch.zeros(D))
        self.p = nn.Linear(D, D)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.p(self.e(ids))
        state = (x[..., None] * -torch.exp(self.a)).sum(-1)
        return self.o(state + x * self.g)


def test_only_ever_multiplied_element_by_element() -> None:
    roles = by_use(StateSpace(), tokens(2, 8))
    assert roles["a"] == "elementwise"
    assert roles["g"] == "scale"
    assert roles["p.weight"] == "hidden-matrix"


class Adapted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.o = nn.Embedding(50, D), nn.Linear(D, 50)
        self.w = nn.Linear(D, D)
        self.a, self.b = nn.Linear(D, 4, bias=False), nn.Linear(4, D, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.e(ids)
        return self.o(F.relu(self.w(x) + self.b(self.a(F.dropout(x))) * 0.5))


def test_a_low_rank_pair_beside_a_larger_map() -> None:
    roles = by_use(Adapted(), tokens(2, 8))
    assert roles["a.weight"] == roles["b.weight"] == "low-rank-adapter"
    assert roles["w.weight"] == "hidden-matrix"


class Heads(nn.Module):
    """Attention with its matrices stored by heads, and a bias on its scores."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.out = nn.Embedding(50, D), nn.Linear(D, 50)
        self.q, self.k, self.v, self.o = (nn.Parameter(torch.zeros(D, 4, 12)) for _ in range(4))
        self.table = nn.Parameter(torch.zeros(15, 4))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.e(ids)
        q, k, v = (torch.einsum("btd,dhe->bhte", x, w) for w in (self.q, self.k, self.v))
        place = torch.arange(8, device=ids.device)
        bias = self.table[(place[:, None] - place + 7)].permute(2, 0, 1)
        scores = (q @ k.transpose(-1, -2) / math.sqrt(12) + bias).softmax(-1)
        return self.out(x + torch.einsum("bhte,dhe->btd", scores @ v, self.o))


def test_matrices_stored_by_heads() -> None:
    roles = by_use(Heads(), tokens(2, 8))
    assert {roles[n] for n in "qkvo"} == {"hidden-matrix"}
    assert roles["table"] in ("relative-bias", "position-table")


class Latents(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Parameter(torch.zeros(1, 6, D))
        self.q, self.kv, self.o, self.head = nn.Linear(D, D), nn.Linear(D, 2 * D), nn.Linear(D, D), nn.Linear(D, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = self.l.expand(x.shape[0], -1, -1)
        k, v = self.kv(x).chunk(2, -1)
        return self.head(given + self.o(F.scaled_dot_product_attention(self.q(given), k, v)))


def test_maps_of_learned_vectors_are_hidden_and_the_vectors_tokens() -> None:
    roles = by_use(Latents(), torch.zeros(2, 11, D))
    assert roles["q.weight"] == roles["o.weight"] == "hidden-matrix"
    assert roles["kv.weight"] == "fused-matrix"
    assert roles["l"] in ("token", "position-table")
    assert roles["head.weight"] == "output-head"


def test_a_distribution_over_rows_reads_a_table() -> None:
    class Soft(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.scores, self.body = nn.Linear(9, D), nn.Linear(D, 77), Block()
            self.table, self.head = nn.Embedding(77, D), nn.Linear(D, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(self.scores(F.relu(self.stem(x))).softmax(-1) @ self.table.weight))

    roles = by_use(Soft(), torch.zeros(2, 4, 9))
    assert roles["table.weight"] == "embedding"
    assert roles["scores.weight"] == "output-head"


def test_unused_is_told_from_unreached() -> None:
    class Forgetful(LM):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Parameter(torch.zeros(D, D))
            self.tower = Block()

    found = paramlint.inspect(Forgetful(), inputs=tokens(2, 8))
    spare, tower = found.find("spare"), found.find("tower.a.weight")
    assert spare is not None and (spare.reach, spare.role) == ("unused", "unused")
    assert tower is not None and (tower.reach, tower.role) == ("unreached", "hidden-matrix")


def test_weight_and_activation_side_agree_with_a_recurrent_network() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.r, self.o = nn.Embedding(50, D), nn.LSTM(D, 40, batch_first=True), nn.Linear(40, 50)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.o(self.r(self.e(ids))[0])

    roles = by_use(Recurrent(), tokens(2, 8))
    assert roles["r.weight_ih_l0"] == roles["r.weight_hh_l0"] == "fused-matrix"
    assert roles["r.bias_ih_l0"] == "bias"
