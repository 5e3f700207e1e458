"""The memory of optimizer state that a plan foretells is what optimizers hold after a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from test_examples import tiny
from torch import nn

import paramlint
from paramlint import knowledge, planning
from paramlint.errors import ParamlintError
from paramlint.model import torchvision_ops
from paramlint.parameter import Parameter, Site
from paramlint.planned import Plan, PlannedGroup, Ref
from paramlint.planning.state import adamw_bytes, element_bytes, group_memory, plan_memory, state_bytes
from paramlint.profile import Profile

KNOWN = knowledge.load()
needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")


def parameter(shape: tuple[int, ...], dtype: str = "float32", role: str = "hidden-matrix") -> Parameter:
    return Parameter("w", shape, dtype, True, (Site("w", "", "w"),), role=role)


def class_of(profile: str) -> Any:
    if profile == "timm":
        torchvision_ops.install()
        return pytest.importorskip("timm.optim.muon", exc_type=ImportError).Muon
    return getattr(torch.optim, {"torch-muon": "Muon", "adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}[profile])


def options(plan: Plan, group: PlannedGroup) -> dict[str, Any]:
    values = {s.name: s.default for s in plan.settings}
    return {k: values[v.setting] if isinstance(v, Ref) else v for k, v in group.kind.options.items()}


def optimizers(plan: Plan, profile: Profile, model: nn.Module) -> Iterator[torch.optim.Optimizer]:
    """The plan's groups in the optimizers that they are for."""
    tensors = dict(model.named_parameters())
    built = class_of(plan.profile)
    halves = ("muon", "adam") if profile.call_shape == "two-optimizers" else ("",)
    momentum = {"momentum": 0.9} if plan.profile == "sgd" else {}
    for half in halves:
        groups = [
            {"params": [tensors[name] for name in g.parameters], **options(plan, g)}
            for g in plan.groups
            if half in ("", g.kind.half)
        ]
        yield torch.optim.AdamW(groups) if half == "adam" else built(groups, **momentum)


def held(optimizer: torch.optim.Optimizer, p: torch.Tensor) -> int:
    return sum(v.numel() * v.element_size() for v in optimizer.state.get(p, {}).values() if torch.is_tensor(v))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [pytest.param("torch-muon", marks=needs_muon), "timm", "adamw", "adam", "sgd"])
def test_foretold_state_is_what_is_held_after_a_step(name: str, dtype: torch.dtype) -> None:
    model = tiny("gpt").to(dtype)
    profile = KNOWN.profile(name)
    inventory = paramlint.inspect(model)
    plan = planning.plan(inventory, KNOWN, name)
    made = list(optimizers(plan, profile, model))
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    for optimizer in made:
        optimizer.step()
    tensors = dict(model.named_parameters())
    parameters = {p.name: p for p in inventory.parameters}
    for group in plan.groups:
        real = sum(held(o, tensors[n]) for o in made for n in group.parameters)
        assert group_memory(group, parameters, profile).state == real > 0, group.label
    assert len(plan.groups) == (2 if profile.family == "elementwise" else 3)


def test_adamw_beside_it_is_all_adamw() -> None:
    """What a plan is compared with is measured too: one AdamW for every parameter."""
    model = tiny("convnext")
    inventory = paramlint.inspect(model)
    optimizer = torch.optim.AdamW(model.parameters())
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    plan = planning.plan(inventory, KNOWN, "keller")
    memory = plan_memory(plan, inventory, KNOWN.profile("keller"))
    assert memory.adamw == sum(held(optimizer, p) for p in model.parameters())
    assert memory.state is not None and memory.saved == memory.adamw - memory.state > 0


def test_frozen_parameters_have_no_state() -> None:
    model = tiny("gpt")
    model.h[0].requires_grad_(False)
    inventory = paramlint.inspect(model)
    plan = planning.plan(inventory, KNOWN, "adamw")
    trained = [p for p in inventory.parameters if p.trainable]
    assert len(trained) < len(inventory.parameters)
    assert plan_memory(plan, inventory, KNOWN.profile("adamw")).state == sum(map(adamw_bytes, trained))


def test_every_shipped_optimizer_says_what_it_holds() -> None:
    for name, profile in KNOWN.profiles.items():
        halves = ("adam",) if profile.family == "elementwise" else ("muon", "adam")
        for half in halves:
            assert state_bytes(parameter((8, 12)), half, profile), (name, half)


def test_kinds_of_state() -> None:
    """Moments by row, a square factor, and moments of a dtype of their own."""
    w = parameter((64, 32), "bfloat16")
    expected = {
        "normuon": 2 * (64 * 32 + 64),  # a second moment for each row
        "dion": 2 * (64 * 32 + 32 * 32),  # Q has a row for each column, at full rank
        "adamuon": 4 * 64 * 32,
        "heavyball": 4 * 64 * 32,  # float32, whatever the weights are
        "keller": 2 * 64 * 32,
    }
    for name, count in expected.items():
        assert state_bytes(w, "muon", KNOWN.profile(name)) == count, name
    stack = parameter((4, 64, 32))
    assert state_bytes(stack, "muon", KNOWN.profile("nordion2")) == 4 * (4 * 64 * 32 + 4 * 64)
    assert state_bytes(parameter((7,)), "adam", KNOWN.profile("adamw")) == 7 * 8 + 4


def test_an_optimizer_that_does_not_say_is_not_guessed_and_a_wrong_word_is_an_error() -> None:
    silent = Profile("mine", "Mine", "two-optimizers", (), (), "read", ())
    assert state_bytes(parameter((2, 2)), "muon", silent) is None
    wrong = Profile("mine", "Mine", "two-optimizers", (), (), "read", (), state={"muon": ("ful",)})
    with pytest.raises(ParamlintError, match=r"'ful'.*did you mean 'full'"):
        state_bytes(parameter((2, 2)), "muon", wrong)


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16", "float16", "int8", "complex64", "bool"])
def test_element_sizes_are_those_of_torch(name: str) -> None:
    assert element_bytes(name) == getattr(torch, name).itemsize


def test_element_size_of_float8() -> None:
    assert element_bytes("float8_e4m3fn") == 1
