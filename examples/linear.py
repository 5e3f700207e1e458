"""One linear layer and a parameter on its own: param groups in plain torch, no Muon anywhere."""

# paramlint: target=linear.py:build

from __future__ import annotations

import torch
from torch import Tensor, nn


class SimpleModel(nn.Module):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(in_features, out_features)
        self.lone_parameter = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_features) to (batch, out_features), through a learned quadratic."""
        y = self.linear_layer(x)
        c = self.lone_parameter
        return c[0] + c[1] * y + c[2] * y * y


def build(in_features: int = 10, out_features: int = 5) -> nn.Module:
    return SimpleModel(in_features, out_features)


def sgd_recipe(model: SimpleModel) -> list[dict]:
    """A learning rate for each kind of parameter, taken from the modules."""
    return [
        {"params": [model.linear_layer.weight], "lr": 0.01},
        {"params": [model.linear_layer.bias], "lr": 0.005},
        {"params": [model.lone_parameter], "lr": 0.1},
    ]


def sgd_optimizer(model: SimpleModel) -> torch.optim.Optimizer:
    return torch.optim.SGD(sgd_recipe(model))


def name_recipe(model: nn.Module) -> list[dict]:
    """The same three kinds by name; only the last loses its weight decay."""
    weights = [p for name, p in model.named_parameters() if "weight" in name]
    biases = [p for name, p in model.named_parameters() if "bias" in name]
    others = [p for name, p in model.named_parameters() if "bias" not in name and "weight" not in name]
    return [
        {"params": weights, "lr": 0.001},
        {"params": biases, "lr": 0.01},
        {"params": others, "lr": 0.001, "weight_decay": 0},
    ]


def adamw_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(name_recipe(model))
