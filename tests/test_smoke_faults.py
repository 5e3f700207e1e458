"""Planted faults: each one fails the check that is there for it, and names its parameters.

The models and the functions of them are in this file too: it is what the targets name.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / ".venv" / "optimizers"


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    def __init__(self, width: int = 32, vocab: int = 50) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.head = nn.Linear(width, vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def build() -> nn.Module:
    return Net()


def half_frozen() -> nn.Module:
    net = Net()
    net.blocks[0].requires_grad_(False)
    return net


def detached() -> nn.Module:
    """The second block's result is thrown away, though its module runs."""
    net = Net()
    net.blocks[1].down.register_forward_hook(lambda module, args, out: out.detach())
    return net


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def image() -> Tensor:
    return torch.zeros(2, 3, 12, 12)


def split(net: Net, *also: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    muon = [*(p for p in net.blocks.parameters() if p.ndim == 2 and p.requires_grad), *also]
    chosen = {id(p) for p in muon}
    return muon, [p for p in net.parameters() if id(p) not in chosen]


def sound(net: Net) -> list[Optimizer]:
    muon, rest = split(net)
    return [Muon(muon, lr=0.02), AdamW(rest, lr=3e-4)]


def forgotten(net: Net) -> list[Optimizer]:
    muon, rest = split(net)
    return [Muon(muon, lr=0.02), AdamW([p for p in rest if p is not net.blocks[1].norm.weight], lr=3e-4)]


def head_in_muon(net: Net) -> list[Optimizer]:
    muon, rest = split(net, net.head.weight)
    return [Muon(muon, lr=0.02), AdamW(rest, lr=3e-4)]


def one_lr(net: Net) -> list[Optimizer]:
    muon, rest = split(net)
    return [Muon(muon, lr=0.02), AdamW(rest, lr=0.02)]


_calls = itertools.count()


def swapped(net: Net) -> list[Optimizer]:
    """Two matrices of one shape change places from call to call, as they may in a set: nothing else shows it."""
    muon, rest = split(net)
    if next(_calls) % 2:
        muon[0], muon[2] = muon[2], muon[0]
    return [Muon(muon, lr=0.02), AdamW(rest, lr=3e-4)]


class Zeros(AdamW):
    """Puts zeros where a gradient is missing, as KellerJordan's do: what is frozen decays."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        return super().step(closure)


def decaying(net: Net) -> list[Optimizer]:
    muon, rest = split(net)
    return [Muon(muon, lr=0.02), Zeros(rest, lr=3e-4, weight_decay=0.1)]


class Plain(Muon):
    """Momentum of the right norm that nobody orthogonalised: DeepSpeed's stage 0 stepped so."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].setdefault("momentum_buffer", torch.zeros_like(p)).copy_(p.grad)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                size = min(p.shape) ** 0.5 * max(1, p.shape[0] / p.shape[1]) ** 0.5
                p.add_(p.grad, alpha=float(-group["lr"] * size / p.grad.norm()))


def not_orthogonal(net: Net) -> list[Optimizer]:
    muon, rest = split(net)
    return [Plain(muon, lr=0.02), AdamW(rest, lr=3e-4)]


def late_group(net: Net) -> list[Optimizer]:
    """torch's Muon checks shapes when it is built, and never again."""
    muon, rest = split(net)
    optimizer = Muon(muon, lr=0.02)
    optimizer.add_param_group({"params": [net.blocks[0].norm.weight]})
    return [optimizer, AdamW([p for p in rest if p is not net.blocks[0].norm.weight], lr=3e-4)]


def gain_in_muon(net: Net) -> list[Optimizer]:
    muon, rest = split(net, net.blocks[0].norm.weight)
    return [Muon(muon, lr=0.02), AdamW(rest, lr=3e-4)]


def no_closure(net: Net) -> Optimizer:
    class Bare(AdamW):
        def step(self) -> None:
            super().step()

    return Bare(net.parameters(), lr=3e-4)


def _stacked(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    outside = ("embed_tokens.weight", "lm_head.weight")
    routers = [n for n, _ in model.named_parameters() if "router" in n]
    muon = [p for n, p in model.named_parameters() if p.ndim > 1 and n not in (*outside, *routers)]
    chosen = {id(p) for p in muon}
    return muon, [p for p in model.parameters() if id(p) not in chosen]


def timm_stack(model: nn.Module) -> Optimizer:
    from timm.optim import Muon as TimmMuon

    muon, rest = _stacked(model)
    return TimmMuon([{"params": muon, "use_muon": True}, {"params": rest, "use_fallback": True}], lr=3e-4)


def kozistr_stack(model: nn.Module) -> Optimizer:
    from pytorch_optimizer import Muon as KozistrMuon

    muon, rest = _stacked(model)
    return KozistrMuon(
        [{"params": muon, "use_muon": True, "lr": 0.02}, {"params": rest, "use_muon": False, "lr": 3e-4}]
    )


def keller_convolution(model: nn.Sequential) -> Optimizer:
    from muon import SingleDeviceMuonWithAuxAdam

    rest = [p for p in model.parameters() if p is not model[2].weight]
    return SingleDeviceMuonWithAuxAdam(
        [{"params": [model[2].weight], "use_muon": True, "lr": 0.02}, {"params": rest, "use_muon": False, "lr": 3e-4}]
    )


def failures(model: str, optimizer: str, **more: Any) -> dict[str, Any]:
    """The checks that failed, by name."""
    from paramlint.model.process import Request
    from paramlint.smoke.process import SmokeRequest
    from paramlint.smoke.run import smoke

    target = model if ":" in model else f"{__file__}:{model}"
    build = Request(target, trace=True, **more)
    result = smoke(SmokeRequest(build, optimizers=(f"{__file__}:{optimizer}",), device="cpu"))
    return {c.name: c for c in result.failed}


def test_sound_groups_fail_nothing() -> None:
    assert failures("build", "sound") == {}


def test_a_parameter_in_no_group() -> None:
    found = failures("build", "forgotten")
    assert set(found) == {"groups", "covered-moves"}
    assert found["covered-moves"].parameters == ("blocks.1.norm.weight",)
    assert found["covered-moves"].code == "PML101"


def test_a_frozen_parameter_that_decays() -> None:
    found = failures("half_frozen", "decaying")
    assert set(found) == {"frozen-still", "grad-none"}
    inside = {"blocks.0.up.bias", "blocks.0.down.bias", "blocks.0.norm.weight"}
    assert inside <= set(found["frozen-still"].parameters)
    assert found["frozen-still"].code == found["grad-none"].code == "PML104"


def test_a_head_in_muon() -> None:
    found = failures("build", "head_in_muon")
    assert set(found) == {"groups"}
    assert found["groups"].parameters == ("head.weight",)
    assert found["groups"].code == "PML202"


def test_muons_lr_in_the_adamw_group() -> None:
    found = failures("build", "one_lr")
    assert set(found) == {"update-rms"}
    assert "head.weight" in found["update-rms"].parameters
    assert "blocks.0.up.weight" not in found["update-rms"].parameters
    assert "lr 0.02 of an AdamW group is of Muon's size" in found["update-rms"].figure


def test_an_order_that_changes_from_call_to_call() -> None:
    found = failures("build", "swapped")
    assert set(found) == {"resume"}
    assert set(found["resume"].parameters) == {"blocks.0.up.weight", "blocks.1.up.weight"}
    assert found["resume"].figure == "2 parameters differ after the next step"


def test_a_muon_that_does_not_orthogonalise() -> None:
    found = failures("build", "not_orthogonal")
    assert set(found) == {"orthogonal"}
    assert "blocks.0.up.weight" in found["orthogonal"].parameters


def test_a_gradient_that_is_cut_off() -> None:
    found = failures("detached", "sound")
    assert set(found["gradients"].parameters) == {"blocks.1.norm.weight", "blocks.1.norm.bias"} | {
        f"blocks.1.{part}.{kind}" for part in ("up", "down") for kind in ("weight", "bias")
    }


def test_a_group_that_only_the_step_refuses() -> None:
    found = failures("build", "late_group")
    assert found["step"].parameters == ("blocks.0.norm.weight",)
    assert found["step"].code == "PML208"
    assert found["step"].figure.startswith(
        "Muon.step() fails on blocks.0.norm.weight (32,): ValueError: Param gradient"
    )


def test_a_constructor_that_refuses() -> None:
    found = failures("build", "gain_in_muon")
    assert set(found) == {"groups"}
    assert "the constructor refuses them: Muon: ValueError" in found["groups"].figure
    assert found["groups"].parameters == ("blocks.0.norm.weight",)


def test_a_closure_that_is_not_taken() -> None:
    assert "step(closure) fails: TypeError" in failures("build", "no_closure")["closure"].figure


def test_an_expert_stack_that_timm_flattens() -> None:
    from paramlint.model import torchvision_ops

    torchvision_ops.install()
    pytest.importorskip("timm")
    kwargs = {"depth": 1, "dim": 32, "heads": 2, "hidden": 64, "experts": 4, "vocab_size": 64}
    found = failures(f"{ROOT / 'examples' / 'moe.py'}:build", "timm_stack", kwargs=kwargs)
    _is_the_stack(found)


def _is_the_stack(found: dict[str, Any]) -> None:
    assert found["orthogonal"].code == found["groups"].code == "PML209"
    assert found["orthogonal"].parameters == ("layers.0.moe.experts.w1", "layers.0.moe.experts.w2")


def shell(target: str, *more: str) -> subprocess.CompletedProcess[str]:
    """The command, with the optimizers that do not come with the development environment in its path."""
    if not PACKAGES.is_dir():
        pytest.skip("no .venv/optimizers here: `make` installs muon-optimizer, pytorch_optimizer and heavyball there")
    command = [sys.executable, "-m", "paramlint", "smoke", target, "--device", "cpu", *more]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=100, check=False)


def lines(found: subprocess.CompletedProcess[str]) -> Sequence[str]:
    return [line.partition(": ")[2] for line in found.stdout.splitlines()]


def test_an_expert_stack_that_pytorch_optimizer_flattens() -> None:
    found = shell(
        "examples/moe.py:build",
        "--kwargs",
        '{"depth": 1, "dim": 32, "heads": 2, "hidden": 64, "experts": 4, "vocab_size": 64}',
        "--optimizer",
        f"{__file__}:kozistr_stack",
        "--output-format",
        "concise",
    )
    assert found.returncode == 1, found.stderr
    orthogonal = next(line for line in lines(found) if "FAIL orthogonal" in line)
    assert orthogonal.startswith("FAIL orthogonal PML209: singular values 0.0")
    assert orthogonal.endswith("layers.0.moe.experts.w1, layers.0.moe.experts.w2")


def test_a_convolution_that_muon_optimizer_0_1_0_crashes_on() -> None:
    found = shell(f"{__file__}:convolutions", "--optimizer", ":keller_convolution", "--inputs", ":image")
    assert found.returncode == 1, found.stderr
    assert "FAIL  step" in found.stdout
    told = "PML208 SingleDeviceMuonWithAuxAdam.step() fails on 2.weight (16, 8, 3, 3): RuntimeError: The size of tensor"
    assert told in found.stdout
    assert "Every 4-D filter crashes at the step" in found.stdout
    assert "Traceback" not in found.stdout + found.stderr


@pytest.mark.parametrize("optimizer", ["keller-pypi", "pytorch-optimizer"])
def test_generated_groups_of_other_packages_pass(optimizer: str) -> None:
    kwargs = '{"n_layer": 2, "n_embd": 64, "vocab_size": 128, "block_size": 32}'
    found = shell("examples/gpt.py:build", "--kwargs", kwargs, "--optimizer", optimizer)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "All checks passed" in found.stdout
