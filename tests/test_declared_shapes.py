"""Shapes that a forward tells, in its docstring and where it takes arguments apart, are what the arguments get."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paramlint.model.inputs.declared import shapes
from paramlint.model.trace.forward import trace


class Video(nn.Module):
    """Frames first and channels last, with a grid of positions and a mask of which the text tells the sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.in_dim = 6
        self.inner = nn.Linear(6, 16)
        self.text = nn.Linear(24, 16)
        self.place = nn.Linear(3, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, hidden_states: Tensor, context: Tensor, position_ids: Tensor) -> Tensor:
        """One step.

        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_frames, height, width, in_dim)`):
                Frames.
            context (`torch.Tensor` of shape `(batch_size, text_len, text_dim)`): What is told.
            position_ids (`torch.Tensor` of shape `(2 * text_len, 3)`): Where.
        """
        n, f, h, w, _ = hidden_states.shape
        if position_ids.shape[0] != 2 * context.shape[1]:
            raise ValueError("two places for each word")
        x = self.inner(hidden_states).reshape(n, f * h * w, -1)
        x = x + self.text(context).mean(1, keepdim=True) + self.place(position_ids.float()).mean(0)
        return self.out(x)


class Copied(nn.Module):
    """Its text was copied from another model, and is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        """
        Args:
            x (Tensor): images of shape (B, C, H, W).
        """
        b, n, _ = x.shape
        return self.proj(x).reshape(b, n, 8)


class Parted(nn.Module):
    """A linear layer before anything else says nothing of the rank; the statement does."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels = 4
        self.proj = nn.Linear(4 * 4, 8)

    def forward(self, latents: Tensor) -> Tensor:
        batch, channels, frames, height, width = latents.shape
        x = latents.reshape(batch, channels, frames, height // 2, 2, width // 2, 2)
        return self.proj(x.permute(0, 2, 3, 5, 1, 4, 6).flatten(4))


class Layers(nn.Module):
    """As many tensors as there are blocks, all of one shape, and pairs of a sequence and its mask."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(48, 16) for _ in range(5))

    def forward(self, hidden_states: Tensor, text_layers: list | None = None) -> Tensor:  # type: ignore[type-arg]
        x = hidden_states
        for i, layer in enumerate(text_layers):
            x = self.blocks[i](torch.cat([x[..., :16], layer], -1))
        for i in range(5):
            x = x + text_layers[i].mean()
        return x


def test_text_and_statements_tell_shapes() -> None:
    told = shapes(Video.forward)
    assert told["hidden_states"] == ("batch_size", "num_frames", "height", "width", "in_dim")
    assert told["position_ids"] == ("2 * text_len", "3")
    assert shapes(Copied.forward) == {"x": ("b", "n", "_")}
    assert shapes(Parted.forward)["latents"] == ("batch", "channels", "frames", "height", "width")


def test_sizes_agree_where_names_do() -> None:
    found = trace(Video())
    assert [p.stopped for p in found.passes] == [""]
    assert len(found.uses) == 8


def test_statements_win_over_text() -> None:
    assert [p.stopped for p in trace(Copied()).passes] == [""]
    assert [p.stopped for p in trace(Parted()).passes] == [""]


def test_tensors_in_a_list_are_mended_together() -> None:
    found = trace(Layers())
    assert any(not p.stopped for p in found.passes)
    assert len(found.uses) == 10
