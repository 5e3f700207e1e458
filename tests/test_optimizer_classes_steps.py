"""What optimizer classes do in a step: with gradients, with the closure, and with the parameters' data."""

from __future__ import annotations

from textwrap import indent

import pytest
from test_optimizer_classes import IMPORTS, SKIP, codes, said, stepping

# Gradients


@pytest.mark.parametrize(
    "body",
    [
        "g = p.grad\nif g is None:\n    continue\np.add_(g)",
        "g = p.grad\nassert g is not None\np.add_(g)",
        "if p.grad is not None:\n    p.add_(p.grad)",
        "if not p.requires_grad or p.grad is None:\n    continue\np.add_(p.grad)",
        "if p.grad is None:\n    p.grad = torch.zeros_like(p)\np.add_(p.grad)",
        "g = getattr(p, 'grad', None)\nif g is not None:\n    p.add_(g)",
        "if (g := p.grad) is None:\n    continue\np.add_(g)",
        SKIP + "g = p.grad.clone()\ng.mul_(2)\np.add_(g)",
        SKIP + "g = p.grad\ng = g.add(p)\ng *= 2\np.add_(g)",
        SKIP + "g = p.grad\nif group['lr']:\n    g = g * 2\nelse:\n    g = -g\ng.mul_(2)\np.add_(g)",
        SKIP + "p.grad.zero_()",
        SKIP + "state = self.state[p]\nstate['buffer'] = torch.zeros_like(p)",
        SKIP + "self.handles = {}\np.add_(p.grad)",
        SKIP + "p.data.add_(p.grad)",
    ],
)
def test_a_class_that_does_nothing_wrong_is_silent(body: str) -> None:
    assert codes(stepping(body)) == set()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("p.add_(p.grad)", "PML608"),
        ("g = p.grad\np.add_(g)", "PML608"),
        ("p.add_(p.grad if p.requires_grad else 0)", "PML608"),
        (SKIP + "g = p.grad\nif group['weight_decay']:\n    g = g.add(p)\ng.mul_(2)", "PML613"),
        (SKIP + "g = p.grad.view(-1)\ng += 1", "PML613"),
        (SKIP + "p.grad.data.mul_(2)", "PML613"),
        (SKIP + "g = p.grad\nif g.ndim > 2:\n    g.mul_(2)\n    continue", "PML613"),
        (SKIP + "p.exp_avg = torch.zeros_like(p)", "PML609"),
        (SKIP + "self.buffers[id(p)] = torch.zeros_like(p)", "PML609"),
    ],
)
def test_faults_of_a_step(body: str, code: str) -> None:
    assert codes(stepping(body)) == {code}


ASKED = "for q in filter(lambda q: exists(q.grad), group['params']):\n    q.add_(q.grad)"


@pytest.mark.parametrize(
    ("body", "after", "asks"),
    [
        (ASKED, "def exists(value):\n    return value is not None", True),
        (ASKED, "def exists(value):\n    return not value is None", True),
        (ASKED, "def exists(value):\n    return there(value)\n\n\ndef there(x):\n    return x is not None", True),
        (ASKED, "exists = lambda value: value is not None", True),
        (ASKED, "from elsewhere import exists", True),
        (ASKED, "def exists(value):\n    return value.ndim == 2", False),
        ("if not has_grad(p):\n    continue\np.add_(p.grad)", "from elsewhere import has_grad", True),
        ("if big(p):\n    continue\np.add_(p.grad)", "from elsewhere import big", False),
        ("if torch.isnan(p.grad).any():\n    continue\np.add_(p.grad)", "", False),
        ("update(p, p.grad)", "def update(p, update=None, buffer=None):\n    p.add_(update)", False),
        (
            "update(p, p.grad, None)",
            "def update(p, g, buffer):\n    if buffer is None:\n        p.add_(g)",
            False,
        ),
        ("update(p, x=p.grad)", "def update(p, x):\n    if x is not None:\n        p.add_(x)", True),
    ],
)
def test_a_function_may_ask_for_the_gradient(body: str, after: str, asks: bool) -> None:
    assert codes(stepping(body, after=f"\n\n{after}\n")) == (set() if asks else {"PML608"})


HALF = SKIP + "g = p.grad\nif g.dtype != torch.float32:\n    g = g.to(torch.float32)\n"


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (HALF + "g.mul_(2)", True),
        (HALF + "if p.dtype == torch.bfloat16:\n    g.mul_(2)", False),
        (HALF + "if g.dtype in {torch.float16, torch.bfloat16}:\n    g.mul_(2)", False),
        (HALF + "if p.dtype == torch.float32:\n    g.mul_(2)", True),
        (HALF + "if p.dtype != torch.float:\n    g.mul_(2)", False),
        (HALF + "if self.state[p]['m'].dtype == torch.bfloat16:\n    g.mul_(2)", True),
        (SKIP + "g = p.grad\nif p.dtype == torch.bfloat16:\n    g.mul_(2)", True),
        (HALF + "g = p.grad\nif p.dtype == torch.bfloat16:\n    g.mul_(2)", True),
    ],
)
def test_a_copy_of_another_dtype_is_no_gradient(body: str, changed: bool) -> None:
    assert codes(stepping(body)) == ({"PML613"} if changed else set())


def test_a_gradient_is_followed_into_a_function() -> None:
    after = "\n\ndef update(buffer, grad):\n    return grad.lerp_(buffer, 0.9)\n"
    (found,) = [f for f in said(stepping(SKIP + "p.add_(update(p, grad=p.grad))", after=after)) if f.code == "PML613"]
    assert found.location is not None and found.location.column == len("    return ") + 1
    spared = "\n\ndef update(buffer, grad):\n    return buffer.lerp_(grad, 0.9)\n"
    assert codes(stepping(SKIP + "p.add_(update(p.clone(), p.grad))", after=spared)) == set()


# The closure, and data

STEP = "class Own(Optimizer):\n    {decorator}\n    def step(self{arguments}):\n"


@pytest.mark.parametrize(
    ("decorator", "arguments", "body", "expected"),
    [
        ("@torch.no_grad()", "", "pass", set()),
        ("@torch.no_grad()", "", "self.n = 1", {"PML602"}),
        ("@torch.no_grad()", ", closure=None", "self.n = 1", {"PML602"}),
        ("@torch.no_grad()", ", closure=None", "if closure is not None:\n    raise ValueError", set()),
        ("@torch.no_grad()", ", *args, **kwargs", "self.n = 1", set()),
        ("@torch.no_grad()", ", closure=None", "return closure()", {"PML604"}),
        ("@torch.inference_mode()", ", closure=None", "return closure()", {"PML604"}),
        ("@optim.optimizer._use_grad_for_differentiable", ", closure=None", "return closure()", {"PML604"}),
        ("@torch.no_grad()", ", closure=None", "closure = torch.enable_grad()(closure)\nreturn closure()", set()),
        ("@torch.no_grad()", ", closure=None", "with torch.enable_grad():\n    return closure()", set()),
        ("@torch.no_grad()", ", closure=None", "return super().step(closure)", set()),
        ("@staticmethod", ", closure=None", "with torch.no_grad():\n    return closure()", {"PML604"}),
        ("@property", ", closure=None", "loss = closure()\nself.n = loss", {"PML603"}),
        ("@torch.no_grad()", "", "for o in self.inner:\n    o.step()", set()),
        ("@torch.no_grad()", "", "self.scheduler.step()", {"PML602"}),
        ("@torch.no_grad()", ", closure=None", "self.inner.step()", {"PML602"}),
        ("@torch.no_grad()", ", closure=None", "torch.optim.AdamW.step(self)", {"PML602"}),
        ("@torch.no_grad()", ", closure=None", "return self.inner.step(closure)", set()),
        ("@torch.no_grad()", ", closure=None", "assert closure is None\nself.inner.step()", set()),
        ("@torch.no_grad()", ", closure=None, **more", "self.inner.step(**more)", set()),
    ],
)
def test_closures(decorator: str, arguments: str, body: str, expected: set[str]) -> None:
    source = IMPORTS + STEP.format(decorator=decorator, arguments=arguments) + indent(body, " " * 8) + "\n"
    assert codes(source) == expected


def test_a_step_that_needs_its_closure_may_mean_one_without_a_backward() -> None:
    body = "if closure is None:\n    raise ValueError\nreturn closure()"
    source = IMPORTS + STEP.format(decorator="@torch.no_grad()", arguments=", closure=None") + indent(body, " " * 8)
    (found,) = [f for f in said(source) if f.code != "PML612"]
    assert (found.code, found.severity) == ("PML604", "warning")


def test_wrappers_are_left_alone() -> None:
    source = (
        IMPORTS
        + """class Both(Optimizer):
    def __init__(self, model, lr=0.1):
        self.muon = optim.Muon(model.matrices(), lr=lr)
        self.adam = optim.AdamW(model.rest(), lr=lr)
        super().__init__(model.parameters(), {})
        self.param_groups = self.muon.param_groups + self.adam.param_groups

    def step(self):
        self.muon.step()
        self.adam.step()
        for p in self.slow:
            p.data.copy_(self.slow[p])
"""
    )
    assert codes(source) == set()


def test_updates_through_data_in_a_method_that_step_calls() -> None:
    source = stepping(SKIP + "self.update(p)").replace("    @torch.no_grad()\n", "")
    source += "\n    def update(self, p):\n        p.data -= p.grad\n"
    assert codes(source) == {"PML605"}
    held = source.replace("        p.data -= p.grad", "        with torch.no_grad():\n            p.data -= p.grad")
    assert codes(held) == set()


@pytest.mark.parametrize(
    ("call", "advised"),
    [
        ("closure()", True),
        ("None if closure is None else closure()", True),
        ("torch.enable_grad()(closure)()", False),
        ("self.evaluated(closure)", False),
    ],
)
def test_the_advice_on_data_does_not_lead_to_a_closure_without_gradients(call: str, advised: bool) -> None:
    source = stepping(SKIP + "p.data.add_(p.grad)").replace("    @torch.no_grad()\n", "")
    under = "            with torch.enable_grad():\n                loss = closure()\n"
    (found,) = [f for f in said(source) if f.code == "PML605"]
    assert "enable_grad" not in found.help
    bare = source.replace(under, f"            loss = {call}\n")
    (found,) = [f for f in said(bare) if f.code == "PML605"]
    assert ("call the closure under `with torch.enable_grad():`" in found.help) == advised
    decorated = bare.replace("    def step", "    @torch.no_grad()\n    def step")
    assert ("PML604" in codes(decorated)) == advised
