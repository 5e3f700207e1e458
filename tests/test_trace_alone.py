"""Parts of a model that its own forward does not come to are run by themselves."""

from __future__ import annotations

import torch
from torch import nn

from paramlint.model.facts import inventory
from paramlint.model.trace.forward import Traced, trace
from paramlint.model.trace.found import traced
from paramlint.parameter import Use
from paramlint.report.traced import failure, footer


class Block(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(width, inner), nn.Linear(inner, width), nn.LayerNorm(width)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states + self.down(self.up(self.norm(hidden_states)).relu())


class Second(nn.Module):
    """A second stage with words of its own."""

    def __init__(self, words: int = 91) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 24)
        self.block, self.head = Block(24, 48), nn.Linear(24, words, bias=False)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.embed(input_ids)))


class TwoStages(nn.Module):
    """The second stage only runs when a text is generated."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.block, self.out = nn.Embedding(77, 32), Block(32, 64), nn.Linear(32, 77, bias=False)
        self.second, self.decoder = Second(), Block(32, 64)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.block(self.embed(input_ids)))


class Broken(TwoStages):
    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        raise KeyError("no")


def _uses(model: nn.Module, found: Traced) -> dict[str, tuple[Use, ...]]:
    return {name: tuple(found.uses.get(i, ())) for i, (name, _) in enumerate(model.named_parameters())}


def test_what_the_forward_does_not_come_to_is_run_alone():
    model = TwoStages()
    found = trace(model)
    assert [p.part for p in found.passes][-2:] == ["second", "decoder"]
    assert found.passes[-1].inputs.startswith("decoder alone: hidden_states (")
    assert found.ran == {"", "embed", "block", "block.up", "block.down", "block.norm", "out"}
    uses = _uses(model, found)
    assert all(uses.values())
    assert [u.op for u in uses["second.embed.weight"]] == ["lookup"]
    assert uses["second.block.up.weight"][0].feeds


def test_the_end_of_a_part_is_no_end_of_the_model_unless_nothing_else_has_its_size():
    model = TwoStages()
    uses = _uses(model, trace(model))
    assert uses["out.weight"][0].to_output
    assert uses["second.head.weight"][0].to_output
    assert not uses["decoder.down.weight"][0].to_output
    assert not uses["decoder.up.weight"][0].from_input  # hidden states are no data


def test_given_inputs_are_all_that_is_run():
    from paramlint.model.inputs.example import Example, integers

    found = trace(TwoStages(), Example((integers(2, 8),)))
    assert [p.part for p in found.passes] == [""]


def test_a_model_whose_forward_fails_is_traced_in_parts():
    model = Broken()
    with_uses = traced(model, inventory(model))
    read = {p.name for p in with_uses.parameters if p.reach == "read"}
    assert {"block.up.weight", "second.head.weight", "decoder.down.weight"} <= read
    assert "embed.weight" not in read
    said = failure(with_uses)
    assert said is not None and said.startswith("traced in part: ")
    assert footer(with_uses) == [said]
