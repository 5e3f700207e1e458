"""What a forward runs on where the meta device in the model's own dtype will not do."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
import torch
from torch import nn

from paramlint.model.inputs.example import Example, floats
from paramlint.model.trace.forward import trace

D = 8


class Body(nn.Module):
    """Two maps around something; `around` says what."""

    def __init__(self, around, middle=None):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, D), nn.Linear(D, D), nn.Linear(D, 3)
        self.around = around
        self.middle = middle

    def forward(self, x):
        x = self.first(x)
        x = self.middle(x) if self.middle is not None else self.around(x)
        return self.head(torch.relu(self.second(x)))


def passed(model, *shape):
    found = trace(model, Example((floats(*(shape or (2, 4))),)))
    (last,) = found.passes
    return last, {n: [u.op for u in found.uses.get(i, ())] for i, (n, _) in enumerate(model.named_parameters())}, found


def wants_bf16(x):
    if x.dtype is not torch.bfloat16:
        raise RuntimeError(f"this kernel is only for bfloat16, got {x.dtype}")
    return x * 2


def not_for_float(x):
    if x.dtype is torch.float32:
        raise NotImplementedError("\"fancy_kernel\" not implemented for 'Float'")
    return x


@pytest.mark.parametrize("around", [wants_bf16, not_for_float])
def test_bf16_for_kernels_that_ask_for_it(around):
    model = Body(around)
    last, uses, _ = passed(model)
    assert (last.how, last.stopped) == ("bf16", "")
    assert uses["head.weight"] == ["matmul"]
    assert all(p.dtype is torch.float32 for p in model.parameters())


def asserts_cuda(x):
    assert x.is_cuda
    return x + 1


def refuses_meta(x):
    if x.device.type == "meta":
        raise ValueError("cannot run on the meta device")
    return x + 1


@pytest.mark.parametrize("around", [asserts_cuda, refuses_meta])
def test_fake_tensors_say_that_they_are_on_a_device(around):
    last, uses, _ = passed(Body(around))
    assert (last.how, last.stopped) == ("fake", "")
    assert uses["head.weight"] == ["matmul"]


def asks_for_memory(x):
    if x.device.type == "meta" or type(x) is not torch.Tensor:
        raise RuntimeError("data_ptr of a tensor without storage")
    return x + 1


def test_a_small_model_runs_on_the_cpu():
    model = Body(asks_for_memory)
    model.register_buffer("scale", torch.ones(D))
    before = [t.clone() for t in model.state_dict().values()]
    last, uses, _ = passed(model)
    assert (last.how, last.stopped) == ("cpu", "")
    assert uses["head.weight"] == ["matmul"]
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


def test_a_large_model_does_not_run_on_the_cpu():
    with torch.device("meta"):
        model = Body(asks_for_memory)
        model.spare = nn.Linear(1 << 15, 1 << 14)
    last, uses, _ = passed(model)
    assert last.stopped
    assert uses["first.weight"] == ["matmul"]


def test_a_wrong_input_costs_one_pass():
    calls = []

    def around(x):
        calls.append(x.device.type)
        return x.view(2, 7)

    last, _, _ = passed(Body(around))
    assert (last.how, calls) == ("meta", ["meta"])
    assert "shape" in last.stopped


class Packed(nn.Module):
    """A linear map whose weight is packed for a kernel that is not here."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.in_features, self.out_features = n_in, n_out
        self.weight = nn.Parameter(torch.zeros(n_out * n_in // 2, 1, dtype=torch.uint8), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        raise RuntimeError("expected all tensors to be on a cuda device")


def test_a_quantised_map_is_answered_for():
    model = Body(None, Packed(D, D))
    last, uses, found = passed(model)
    assert (last.how, last.stopped, last.answered) == ("meta", "", ("Packed",))
    assert uses["middle.weight"] == ["matmul"] and uses["middle.bias"] == ["bias"]
    assert uses["head.weight"] == ["matmul"] and "head" in found.ran
    assert "forward" not in vars(model.middle)


class Flash(nn.Module):
    """Attention whose kernel is not installed."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)

    def forward(self, x):
        from flash_attn_that_is_nowhere import attention

        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out(attention(q, k, v))


class LateFlash(Flash):
    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        from flash_attn_that_is_nowhere import attention

        return self.out(attention(q, k, v))


@pytest.mark.parametrize("attention", [Flash, LateFlash])
def test_a_missing_kernel_does_not_cost_the_rest(attention):
    last, uses, _ = passed(Body(None, attention()))
    assert (last.stopped, last.answered) == ("", (attention.__name__,))
    assert uses["head.weight"] == ["matmul"] and uses["second.weight"] == ["matmul"]
    assert bool(uses["middle.qkv.weight"]) is (attention is LateFlash)


def test_operators_with_a_fake_kernel_and_without():
    @torch.library.custom_op("paramlint_tests::with_fake", mutates_args=())
    def with_fake(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    with_fake.register_fake(torch.empty_like)

    @torch.library.custom_op("paramlint_tests::without", mutates_args=())
    def without(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    for op in (with_fake, without):
        last, uses, _ = passed(Body(op))
        assert (last.how, last.stopped) == ("meta", "")
        assert uses["second.weight"] == ["matmul"]


def test_an_autograd_function():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    last, _, _ = passed(Body(Double.apply))
    assert (last.how, last.stopped) == ("meta", "")


def test_dtypes_that_disagree_do_not_stop_it():
    model = Body(lambda x: x.float())
    model.second.to(torch.bfloat16)
    last, uses, _ = passed(model)
    assert last.stopped == ""
    assert uses["head.weight"] == ["matmul"]


def exits(x):
    sys.exit(3)


def test_an_exit_ends_the_pass():
    last, uses, _ = passed(Body(exits))
    assert "SystemExit" in last.stopped
    assert uses["first.weight"] == ["matmul"]


def test_an_interrupt_passes_through():
    def interrupt(x):
        raise KeyboardInterrupt

    model = Body(interrupt)
    with pytest.raises(KeyboardInterrupt):
        passed(model)
    assert torch.ones(1).device.type == "cpu" and torch.is_grad_enabled()


def test_a_pass_ends_when_patience_does():
    def forever(x):
        while True:
            with contextlib.suppress(Exception):
                x = x + 1

    found = trace(Body(forever), Example((floats(2, 4),)), patience=0.5)
    assert [p.stopped for p in found.passes] == ["TooLong: it took too long"]
    assert found.uses


def test_tracing_a_plain_model_leaves_the_compiler_alone():
    code = """
import sys, torch, paramlint
from torch import nn
model = nn.Sequential(nn.Embedding(9, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 9))
found = paramlint.inspect(model, inputs=torch.ones(2, 4, dtype=torch.long))
assert all(p.uses for p in found.parameters), found
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_what_the_compiler_does_later_is_not_changed():
    from paramlint.model.trace.eager import _MARK, _shielded

    passed(Body(torch.tanh))
    assert [f for f in _shielded() if getattr(f, _MARK, None) is f] == []


class Flexible(nn.Module):
    """Attention with a learned bias, by an operator that takes functions."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.bias = nn.Linear(8, 24), nn.Linear(8, 8), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        from torch.nn.attention.flex_attention import flex_attention

        q, k, v = self.qkv(x).view(2, 16, 3, 2, 4).permute(2, 0, 3, 1, 4)
        mixed = flex_attention(q, k, v, score_mod=lambda score, b, h, i, j: score + self.bias[h])
        return self.out(mixed.transpose(1, 2).reshape(2, 16, 8))


class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.cond(x.sum() > 0, lambda x: self.one(x), lambda x: self.other(x), (x,)))


def test_operators_that_take_functions():
    pytest.importorskip("torch.nn.attention.flex_attention")
    for model, shape in ((Flexible(), (2, 16, 8)), (Conditional(), (2, 8))):
        last, uses, _ = passed(model, *shape)
        assert (last.how, last.stopped) == ("meta", "")
        assert all(uses.values())


def test_what_is_compiled_on_the_way_is_run_as_it_is():
    compiles = torch.compile
    last, uses, _ = passed(Body(lambda x: torch.compile(torch.relu)(x)))
    assert last.stopped == "" and all(uses.values())
    assert torch.compile is compiles
