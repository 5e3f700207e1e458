"""Runs by itself: one step of real optimizers, built by generated code, on the example models.

Prints a JSON object: "example optimizer" -> what is wrong, "" where nothing is.
"""

from __future__ import annotations

import json
import sys
import traceback

import generated
import torch
from torch import Tensor, nn

import paramlint
from paramlint import planning
from paramlint.codegen.generate import generate
from paramlint.model import torchvision_ops

SIZES = {
    "gpt": {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 64, "block_size": 8},
    "vit": {"img_size": 16, "patch_size": 4, "num_classes": 10, "dim": 16, "depth": 2, "num_heads": 2},
    "convnext": {"num_classes": 10, "depths": (1, 1, 1, 1), "dims": (8, 16, 16, 32)},
    "moe": {"depth": 2, "dim": 16, "heads": 2, "hidden": 32, "experts": 4, "vocab_size": 64},
    "mamba": {"depth": 2, "dim": 16, "vocab_size": 64},
    "lora": {"depth": 2, "dim": 16, "heads": 2, "rank": 4, "vocab_size": 64, "max_len": 8},
}


def tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in tensors(v)] if isinstance(value, (tuple, list)) else []


def fresh(example: str) -> nn.Module:
    """A small model on the CPU, none of whose parameters is zero."""
    torch.manual_seed(0)
    model = __import__(example).build(**SIZES[example])
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=0.02)
    return model


class Group(dict):
    """A group that knows which of its keys have been read."""

    def __init__(self, group: dict) -> None:
        super().__init__(group)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> object:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: object = None) -> object:
        self.read.add(key)
        return super().get(key, default)


def step(example: str, optimizer: str, source: str) -> str:
    """What is wrong after a step: parameters that should have moved and did not, or should not and did; options that
    the optimizer never looked at."""
    model = fresh(example)
    if example in ("vit", "convnext"):
        data = torch.randn(4, 3, *((16, 16) if example == "vit" else (64, 64)))
    else:
        data = torch.randint(0, 64, (4, 8))
    module = generated.run(source)
    options = set().union(*generated.flat(module.param_groups(model)))
    made = module.build_optimizer(model)
    made = made if isinstance(made, list) else [made]
    for each in made:
        each.param_groups[:] = map(Group, each.param_groups)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    penalty = sum(p.square().sum() for p in model.parameters())  # no gradient is zero: that of k's bias would be
    (sum(t.square().mean() for t in tensors(model(data))) + penalty).backward()
    for each in made:
        each.step()
    unread = options.difference(*(g.read for each in made for g in each.param_groups))
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    return f"{sorted(trained ^ moved)} {sorted(unread)}" if trained != moved or unread else ""


def main(optimizers: list[str]) -> None:
    torchvision_ops.install()
    found = {}
    for example in SIZES:
        inventory = paramlint.inspect(fresh(example))
        for optimizer in optimizers:
            try:
                plan = planning.plan(inventory, generated.KNOWN, optimizer)
                source = generate(plan, inventory, generated.KNOWN.profile(optimizer))
                found[f"{example} {optimizer}"] = step(example, optimizer, source)
            except Exception:
                found[f"{example} {optimizer}"] = traceback.format_exc(limit=-4)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
