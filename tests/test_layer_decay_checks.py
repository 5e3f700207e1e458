"""Layer-wise learning rates: which groups have rates by layer, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from handmade_models import KNOWN
from torch import nn

import paramlint
from paramlint.finding import Finding
from paramlint.linting import lint_text

CODES = frozenset(("PML401", "PML402", "PML403"))


class Block(nn.Module):
    def __init__(self, width: int, cross: bool = False):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.cross = nn.Linear(width, width) if cross else None

    def forward(self, x):
        x = x + self.cross(x) if self.cross else x
        return x + self.down(self.up(self.norm(x)).relu())


class LM(nn.Module):
    def __init__(self, depth=6, decoder=0, width=16):
        super().__init__()
        self.tokens = nn.Embedding(100, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.decoder = nn.ModuleList(Block(width, cross=True) for _ in range(decoder))
        self.head = nn.Linear(width, 100, bias=False)

    def forward(self, ids):
        x = self.tokens(ids)
        for block in [*self.blocks, *self.decoder]:
            x = block(x)
        return self.head(x)


def number(name: str) -> int:
    return int(name.split(".")[1])


def said(rate: Callable[[str], float], key: str = "lr", **sizes: int) -> list[Finding]:
    """On an AdamW with a group for each parameter, whose rate is a function of the name."""
    model = LM(**sizes)
    groups = [{"params": [p], key: rate(name)} for name, p in model.named_parameters()]
    run = paramlint.check(model, torch.optim.AdamW(groups, lr=1e-3))
    return [f for f in run.findings if f.code in CODES]


def rising(name: str) -> float:
    layer = 0 if name.startswith("tokens") else 7 if name.startswith("head") else 1 + number(name)
    return 0.5 ** (7 - layer)


@pytest.mark.parametrize(
    "rate",
    [
        rising,
        lambda name: 1.0,
        lambda name: 0.3 if "tokens" in name else 0.1 if "head" in name else 0.02,  # one of their own for the ends
        lambda name: rising(name) * (2.0 if name.endswith("bias") else 1.0),
        lambda name: 1 / 64 if "up" in name else 1 / 16 if "down" in name else 1.0,  # by shape
        lambda name: 0.1 if "blocks" in name and number(name) < 4 else 1.0,  # the last blocks alone
    ],
    ids=["rising", "one", "ends", "biases", "shape", "two"],
)
@pytest.mark.parametrize("key", ["lr", "lr_scale"])
def test_nothing_is_wrong_with(rate: Callable[[str], float], key: str) -> None:
    assert said(rate, key) == []


def test_a_decoder_begins_anew() -> None:
    def rate(name: str) -> float:
        return 1.0 if "head" in name else 0.01 if "tokens" in name else 0.8 ** (6 - number(name))

    assert said(rate, depth=6, decoder=6) == []


def test_the_wrong_end() -> None:
    (finding,) = said(lambda name: 0.5 ** number(name) if "blocks" in name else 1.0)
    assert (finding.code, finding.severity) == ("PML401", "error")
    assert "1 at blocks.0, 0.5 at blocks.1" in finding.message
    assert "blocks.5.norm.weight" in finding.parameters and "blocks.0.norm.weight" not in finding.parameters


def test_the_wrong_end_of_one_list() -> None:
    def rate(name: str) -> float:
        if "decoder" in name:
            return 0.5 ** number(name)
        return 0.5 ** (6 - number(name)) if "blocks" in name else 1.0 if "head" in name else 0.001

    (finding,) = said(rate, decoder=6)
    assert finding.code == "PML401" and all(name.startswith("decoder.") for name in finding.parameters)


def test_a_prefix_without_its_dot() -> None:
    def rate(name: str) -> float:
        starts = ["tokens", *(f"blocks.{i}" for i in range(12)), ""]
        return 0.75 ** (13 - next(i for i, start in enumerate(starts) if name.startswith(start)))

    (finding,) = said(rate, depth=12)
    assert finding.severity == "error" and {name.split(".")[1] for name in finding.parameters} == {"10", "11"}


def test_a_fall_of_another_kind_is_a_warning() -> None:
    (finding,) = said(lambda name: 1 / sqrt(1 + number(name)) if "blocks" in name else 1.0)
    assert (finding.code, finding.severity) == ("PML401", "warning")


def test_an_embedding_that_learns_fastest() -> None:
    (finding,) = said(lambda name: 1.0 if "tokens" in name else rising(name))
    assert (finding.code, finding.severity, finding.parameters) == ("PML401", "warning", ("tokens.weight",))


def test_one_parameter_of_another_layer() -> None:
    (finding,) = said(lambda name: rising("tokens") if name == "blocks.4.up.bias" else rising(name))
    assert (finding.code, finding.parameters) == ("PML402", ("blocks.4.up.bias",))


def test_a_head_in_the_first_layer() -> None:
    (finding,) = said(lambda name: rising("tokens") if "head" in name else rising(name))
    assert (finding.code, finding.parameters) == ("PML403", ("head.weight",))


def script(exponent: str, other: str = "args.lr") -> list[tuple[str, str]]:
    source = f"""\
import torch


def make(model, args):
    groups = []
    for name, p in model.named_parameters():
        lr = args.lr * args.decay ** ({exponent}) if "blocks" in name else {other}
        groups.append({{"params": [p], "lr": lr}})
    return torch.optim.AdamW(groups)
"""
    with torch.device("meta"):
        inventory = paramlint.inspect(LM())
    found = lint_text(source, "train.py", KNOWN, codes=CODES, inventory=inventory)
    return [(f.code, f.severity) for f in found]


def test_settings_do_not_hide_the_layer() -> None:
    first = 'args.lr * args.decay ** 7 if "tokens" in name else args.lr'
    assert script('6 - int(name.split(".")[1])', first) == []
    assert script('int(name.split(".")[1])', first) == [("PML401", "error")]
    assert script('name.count("blocks.")', first) == [("PML401", "error")]
    assert script('6 - int(name.split(".")[1])', 'args.lr if "tokens" in name else args.lr') == [("PML401", "warning")]


def test_what_settings_decide_is_not_compared() -> None:
    assert script('args.depth - int(name.split(".")[1])') == []
    assert script('6 - int(name.split(".")[1])', "args.rest") == []
    assert script('6 - int(name.split(".")[1])', "1e-3") == []
