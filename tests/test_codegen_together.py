"""`Together`: the two optimizers of generated code as one, for whatever takes an optimizer."""

from __future__ import annotations

import copy
import pickle
import sys
import warnings
from typing import Any

import generated
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

MODULE = generated.run(generated.text("gpt", "torch-muon"))


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))


def parts(net: nn.Module) -> list[torch.optim.Optimizer]:
    rest = [{"params": [net[0].bias, net[2].bias], "weight_decay": 0.0}, {"params": [net[2].weight]}]
    return [torch.optim.Muon([net[0].weight], lr=0.1), torch.optim.AdamW(rest, lr=0.01, betas=(0.8, 0.9))]


def together(net: nn.Module) -> Any:
    return MODULE.Together(parts(net))


def steps(net: nn.Module, optimizer: Any, count: int, scheduler: Any = None, scaler: Any = None) -> list[float]:
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = net(torch.ones(2, 4)).square().mean()
        (scaler.scale(loss) if scaler else loss).backward()
        scaler.step(optimizer) if scaler else optimizer.step()
        if scaler:
            scaler.update()
        if scheduler:
            scheduler.step()
        losses.append(loss.item())
    return losses


def test_it_does_what_its_optimizers_do() -> None:
    one, other = model(), model()
    both, apart = together(one), parts(other)
    steps(one, both, 3)
    for _ in range(3):
        other.zero_grad()
        other(torch.ones(2, 4)).square().mean().backward()
        for each in apart:
            each.step()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    both.zero_grad()
    assert all(p.grad is None for p in one.parameters())


def test_the_closure_is_evaluated_once_and_with_gradients() -> None:
    net = model()
    both, calls = together(net), []

    def closure() -> torch.Tensor:
        calls.append(torch.is_grad_enabled())
        both.zero_grad()
        loss = net(torch.ones(2, 4)).square().mean()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = both.step(closure)
    assert calls == [True] and loss.item() > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=4),
        lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.5**step),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, total_iters=1), lr_scheduler.StepLR(o, 1)], [1]
        ),
    ],
    ids=["cosine", "lambda", "sequential"],
)
def test_schedulers_reach_both(make: Any) -> None:
    one, other = model(), model()
    both, apart = together(one), parts(other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of steps in the wrong order
        steps(one, both, 2, make(both))
    schedulers = [make(each) for each in apart]
    for each, scheduler in zip(apart, schedulers, strict=True):
        for _ in range(2):
            each.step()
            scheduler.step()
    assert [g["lr"] for g in both.param_groups] == [g["lr"] for each in apart for g in each.param_groups]
    assert [g["lr"] for each in both.optimizers for g in each.param_groups] == [g["lr"] for g in both.param_groups]


def test_a_checkpoint_goes_on_where_it_was() -> None:
    net = model()
    both = together(net)
    scheduler = lr_scheduler.CosineAnnealingLR(both, T_max=10)
    steps(net, both, 2, scheduler)
    saved = copy.deepcopy([net.state_dict(), both.state_dict(), scheduler.state_dict()])
    goes_on = steps(net, both, 3, scheduler)

    again = model()
    loaded = together(again)
    second = lr_scheduler.CosineAnnealingLR(loaded, T_max=10)
    for to, state in zip((again, loaded, second), saved, strict=True):
        to.load_state_dict(state)
    assert steps(again, loaded, 3, second) == goes_on
    assert saved[1].keys() == {"state", "param_groups"} and set(saved[1]["state"]) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="different number of parameter groups"):
        loaded.load_state_dict(parts(model())[0].state_dict())


def test_state_that_was_there_before_stays() -> None:
    net = model()
    first = together(net)
    steps(net, first, 1)
    assert MODULE.Together(first.optimizers).state[net[2].bias]["step"] == 1


@pytest.mark.parametrize("how", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copied", "pickled"])
def test_a_copy_holds_together(how: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "generated", MODULE)
    net = model()
    both = together(net)
    steps(net, both, 1)
    copied = how(both)
    groups = [g for each in copied.optimizers for g in each.param_groups]
    assert all(a is b for a, b in zip(groups, copied.param_groups, strict=True))
    assert all(each.state is copied.state for each in copied.optimizers) and len(copied.state) == 4


def test_gradients_are_unscaled() -> None:
    one, other = model(), model()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert steps(one, together(one), 3, scaler=scaler) == pytest.approx(steps(other, together(other), 3), rel=1e-4)


def test_a_group_has_to_be_one_of_an_optimizer() -> None:
    both = together(model())
    with pytest.raises(RuntimeError, match="which optimizer is this group for"):
        both.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    net = model()
    with pytest.raises(ValueError, match="more than one parameter group"):
        MODULE.Together([*parts(net), torch.optim.SGD(net.parameters())])


def test_what_only_one_of_them_has_is_no_default() -> None:
    """`OneCycleLR` cycles the momentum that the defaults have, in every group."""
    both = together(model())
    assert {"lr", "weight_decay"} <= both.defaults.keys() and not {"momentum", "betas"} & both.defaults.keys()
    with pytest.raises(ValueError, match="cycle_momentum"):
        lr_scheduler.OneCycleLR(both, max_lr=[0.1, 0.01, 0.01], total_steps=4)
    lr_scheduler.OneCycleLR(both, max_lr=[0.1, 0.01, 0.01], total_steps=4, cycle_momentum=False)
    assert "betas" not in both.param_groups[0] and "momentum" not in both.param_groups[1]


def test_adamw_has_options_of_its_own() -> None:
    muon, adamw = MODULE.build_optimizer(__import__("gpt").build(n_layer=1), eps=1e-6, amsgrad=True)
    assert {(g["eps"], g["amsgrad"]) for g in adamw.param_groups} == {(1e-6, True)}
    assert {g["eps"] for g in muon.param_groups} == {1e-7} and "amsgrad" not in muon.param_groups[0]
