"""Which map is the head where an output has one channel, or one number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import paramlint


def roles(model: nn.Module, inputs: Tensor) -> dict[str, str]:
    return {p.name: p.role for p in paramlint.inspect(model, inputs=inputs).parameters}


IMAGE = torch.zeros(2, 3, 16, 16)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_layer_before_an_output_of_one_channel_is_hidden(channels: int, size: int) -> None:
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    found = roles(nn.Sequential(*layers, nn.Conv2d(8, channels, size)), IMAGE)
    assert [found[f"{i}.weight"] for i in (0, 2, 4)] == ["input-projection", "conv-filter", "conv-filter"]
    assert found["6.weight"] == ("row-matrix" if (channels, size) == (1, 1) else "output-head")


class Decoder(nn.Module):
    """A decoder's last block: a norm stands between it and the mask, not always an activation."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.up = nn.ConvTranspose2d(32, 32, 2, stride=2)
        self.last = nn.Conv2d(32, 8, 3, padding=1)
        self.between = between
        self.mask = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.up(torch.relu(self.stem(x))))
        return torch.sigmoid(self.mask(self.between(self.last(x))))


@pytest.mark.parametrize("between", [nn.ReLU, nn.SiLU, lambda: nn.GroupNorm(2, 8)])
def test_the_last_block_of_a_binary_segmentation_is_hidden(between: Callable[[], nn.Module]) -> None:
    assert roles(Decoder(between()), IMAGE)["last.weight"] == "conv-filter"


class Scores(nn.Module):
    """A few scores for each choice, which one more map weighs: as multiple choice has them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 64)
        self.hidden = nn.Linear(64, 64)
        self.summary = nn.Linear(64, 8)
        self.between = between
        self.weighed = nn.Linear(8, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.relu(self.hidden(self.table(tokens)))
        return self.weighed(self.between(self.summary(x[:, 0]))).view(-1, 2)


@pytest.mark.parametrize(
    ("between", "role"), [(nn.Identity, "output-head"), (nn.Dropout, "output-head"), (nn.Tanh, "hidden-matrix")]
)
def test_scores_that_are_only_weighed_are_the_heads(between: type[nn.Module], role: str) -> None:
    tokens = torch.zeros(4, 6, dtype=torch.int64)
    assert roles(Scores(between()), tokens)["summary.weight"] == role


class Sides(nn.Module):
    """Edges from several depths, brought to one size, side by side, and weighed."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(3, 16, 3, padding=1)
        self.far = nn.Conv2d(16, 32, 3, padding=1)
        self.sides = nn.ModuleList([nn.Conv2d(16, 1, 3, padding=1), nn.Conv2d(32, 1, 3, padding=1)])
        self.fused = nn.Conv2d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = torch.relu(self.near(x))
        far = torch.relu(self.far(functional.max_pool2d(near, 2)))
        side = functional.interpolate(self.sides[1](far), scale_factor=2.0, mode="bilinear")
        return self.fused(torch.cat([self.sides[0](near), side], 1))


def test_side_outputs_that_are_resized_and_weighed_are_heads() -> None:
    found = roles(Sides(), IMAGE)
    assert found["sides.0.weight"] == found["sides.1.weight"] == "output-head"
    assert found["far.weight"] == "conv-filter"
