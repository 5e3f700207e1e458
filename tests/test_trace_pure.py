"""Nothing of a model, of torch or of Python is changed by a trace, whether the forward comes to its end or not."""

from __future__ import annotations

import functools
import itertools
import random

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules import module as hooks

import paramlint
from paramlint.model import torchvision_ops


def told(value, depth=0):
    """Anything as something that compares, down to the bits of tensors."""
    if isinstance(value, torch.Tensor):
        grad = None if not value.is_leaf or value.grad is None else told(value.grad)
        flags = value.requires_grad, str(value.device), str(value.dtype), value._version, tuple(value.stride())
        bits = () if value.is_meta else value.detach().contiguous().view(-1).view(torch.uint8).tolist()
        return id(value), tuple(value.shape), flags, bits, grad, type(value)
    if isinstance(value, dict):
        return id(value), type(value), [(repr(k), told(v, depth + 1)) for k, v in value.items()]
    if isinstance(value, (list, tuple)) and depth < 6:
        return id(value), type(value), [told(v, depth + 1) for v in value]
    return repr(value) if isinstance(value, (int, float, str, bool, type(None))) else id(value)


def everything(model):
    return [(name, told(vars(m))) for name, m in model.named_modules()], world()


def world():
    """What of torch, numpy and Python is for everybody."""
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        [told(x.tolist() if hasattr(x, "tolist") else x) for x in numpy.random.get_state()[:3]][::2],
        numpy.random.get_state()[1].tolist(),
        torch.get_default_dtype(),
        torch.empty(0).device,
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        [list(v.items()) for k, v in vars(hooks).items() if k.startswith("_global_") and hasattr(v, "items")],
        torch.Tensor.__new__ is object.__new__ or torch.Tensor.__new__,
        nn.Module.to,
        nn.Module.__call__,
        torch.overrides._get_current_function_mode_stack(),
        torch.utils._python_dispatch._get_current_dispatch_mode_stack(),
    )


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


TABLES: dict = {}
LATEST = None


@functools.lru_cache
def angles(n):
    return torch.arange(n).float()


class Remembering(nn.Module):
    """Writes wherever a forward can write."""

    kept = None

    def __init__(self, fails=False):
        super().__init__()
        self.map, self.second, self.norm = nn.Linear(6, 6), nn.Linear(6, 6), nn.BatchNorm1d(6)
        self.calls, self.cache, self.last, self.fails = 0, {}, [], fails
        self.register_buffer("seen", torch.zeros(6))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        global LATEST
        self.calls += 1
        self.steps += 1
        self.seen.add_(1.0)
        x = self.norm(self.map(x) + angles(6)) + torch.randn(6) * random.random() * numpy.random.rand()
        self.cache["x"] = x
        self.last.append(x)
        TABLES.setdefault(6, torch.arange(6))
        type(self).kept = LATEST = x
        self.train()
        self.map.register_forward_hook(lambda *a: None)
        with torch.no_grad():
            self.second.weight.mul_(2)
        self.second.weight.requires_grad_(False)
        torch.set_grad_enabled(True)
        if self.fails:
            raise RuntimeError("halfway")
        self.extra = nn.Parameter(torch.ones(6))
        return self.second(x) * self.extra


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.rnn = nn.Embedding(20, 8), nn.LSTM(8, 8, num_layers=2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(8, 20)

    def forward(self, ids):
        return self.head(self.rnn(self.table(ids))[0])


def gpt2():
    transformers = pytest.importorskip("transformers")
    torchvision_ops.install()
    config = transformers.GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=50, n_positions=32)
    return transformers.GPT2LMHeadModel(config)


IDS = torch.ones(2, 5, dtype=torch.long)
CASES = {
    "vision": (Vision, torch.zeros(2, 3, 8, 8)),
    "remembering": (Remembering, torch.zeros(2, 6)),
    "recurrent": (Recurrent, IDS),
    "gpt2": (gpt2, {"input_ids": IDS}),
}


def with_gradients(model):
    for p in list(model.parameters())[::2]:
        p.grad = torch.ones_like(p)
    next(model.parameters()).requires_grad_(False)
    return model


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_changed(case, training):
    build, inputs = CASES[case]
    model = with_gradients(build().train(training))
    before = everything(model)
    found = paramlint.inspect(model, inputs=inputs)
    assert everything(model) == before
    assert all(p.stopped == "" for p in found.passes)


def test_nothing_is_changed_by_inputs_that_are_found():
    model = gpt2()
    before = everything(model)
    paramlint.inspect(model)
    assert everything(model) == before


def test_nothing_is_changed_where_the_forward_raises():
    model = Remembering(fails=True).train()
    before = everything(model), dict(TABLES), LATEST, Remembering.kept
    with pytest.raises(paramlint.errors.ParamlintError, match="halfway"):
        paramlint.inspect(model, inputs=torch.zeros(2, 6))
    assert (everything(model), dict(TABLES), LATEST, Remembering.kept) == before


def test_tables_kept_for_later_calls_are_not_of_the_stand_in():
    TABLES.clear()
    angles.cache_clear()
    paramlint.inspect(Remembering(), inputs=torch.zeros(2, 6))
    assert not any(t.is_meta for t in TABLES.values())
    assert not angles(6).is_meta
    assert LATEST is None and Remembering.kept is None


def test_a_model_can_be_used_after():
    model = gpt2().eval()
    before = model(IDS).logits
    paramlint.inspect(model)
    after = model(IDS).logits
    assert torch.equal(before, after)
    after.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    kinds=st.lists(st.sampled_from(["relu", "drop", "norm", "rnn"]), min_size=1, max_size=3),
    frozen=st.sets(st.integers(0, 5)),
    training=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_nothing_of_any_stack_is_changed(sizes, kinds, frozen, training, dtype):
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        kind = kinds[i % len(kinds)]
        layers.append(nn.Linear(a, b))
        layers.append({"relu": nn.ReLU(), "drop": nn.Dropout(), "norm": nn.BatchNorm1d(b), "rnn": nn.Identity()}[kind])
    model = nn.Sequential(*layers).to(dtype).train(training)
    for i, p in enumerate(model.parameters()):
        p.requires_grad_(i not in frozen)
    before = everything(model)
    found = paramlint.inspect(model, inputs=torch.zeros(3, sizes[0], dtype=dtype))
    assert everything(model) == before
    assert all(p.uses for p in found.parameters)
