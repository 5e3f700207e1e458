"""PML607: which calls have their factor first, and which of them can be turned round."""

from __future__ import annotations

import pytest
import torch
from test_optimizer_classes import SKIP, codes, said, stepping

from paramlint.finding import Finding
from paramlint.rewrite import apply

OPTIONS = f"{SKIP}lr = group['lr']\nbeta1, beta2 = group['betas']\n"


def found(call: str, *, after: str = "") -> list[Finding]:
    return [f for f in said(stepping(OPTIONS + call, after=after)) if f.code == "PML607"]


@pytest.mark.parametrize(
    ("call", "deprecated"),
    [
        ("p.add_(-group['lr'], p.grad)", True),
        ("p.add_(2, p.grad)", True),
        ("p.add_(-lr * math.sqrt(2), p.grad)", True),
        ("p.add_(1 - beta1, p.grad)", True),
        ("p.sub_(group['betas'][0], p.grad)", True),
        ("p.addcmul_(mystery, p.grad, p.grad)", True),
        ("p.addcdiv_(-lr, p.grad, p.grad)", True),
        ("p.addmm_(1, -2, p, p.grad)", True),
        ("p.add_(mystery, p.grad)", True),
        ("p.mul_(beta1).add_(1 - self.beta, p.grad)", True),
        ("p.sub_(self.state[p]['rate'], mystery)", True),
        ("p.grad.add(group['weight_decay'], p)", True),
        ("q = p.grad\nq.sub(lr, mystery)", True),
        ("p.add_(p.grad * 2, p.grad)", False),
        ("p.add_(p.grad, alpha=-lr)", False),
        ("p.add_(mystery, lr)", False),  # a TypeError
        ("p.addcmul_(p.grad, p.grad, value=2)", False),
        ("p.addmm_(p, p.grad, beta=1)", False),
        ("p.add_(*two)", False),
        ("p.add_(p.grad)", False),
        ("torch.addcmul(p, p, p)", False),
        ("torch.ops.aten.add_(p, mystery)", False),
        ("torch.add(p, mystery, alpha=2)", False),
        ("self.add_(mystery, p.grad)", False),
        ("self.meter.add(lr, mystery)", False),
        ("self.seen.add(p)", False),
        ("p.add(mystery, p.grad)", False),
        ("self.pattern.sub('', mystery)", False),
    ],
)
def test_deprecated_signatures(call: str, deprecated: bool) -> None:
    assert [f.severity for f in found(call)] == ["warning"] * deprecated


def test_a_method_of_the_file_s_own_takes_what_it_likes() -> None:
    after = "\n\nclass Buffer:\n    def add_(self, key, tensor):\n        self.kept[key] = tensor\n"
    assert not found("self.buffer.add_(mystery, p.grad)", after=after)
    assert found("self.buffer.add_(2, p.grad)", after=after)


def test_outside_of_classes_and_not_without_torch() -> None:
    call = "def distances(x, y, d):\n    return d.addmm_(1, -2, x, y)\n"
    assert codes(f"import torch\n\n\n{call}") == {"PML607"}
    assert codes(f"import numpy\n\n\n{call}") == set()
    assert codes("import torch\n\n\ndef average(p, q, decay):\n    p.add_(decay, q)\n    p.add(2, q)\n") == set()
    assert codes("import torch\n\n\ndef average(p, q, decay):\n    p.add_(2, q)\n") == {"PML607"}


def test_a_function_that_the_step_calls_is_looked_at_too() -> None:
    after = "\n\ndef update(p, rate, grad):\n    p.add_(rate, grad)\n"
    assert found("update(p, -lr, p.grad)", after=after)
    assert not found("p.add_(p.grad, alpha=-lr)", after=after)


@pytest.mark.parametrize(
    ("call", "mended"),
    [
        ("p.add_(1 - self.beta, p.grad)", True),
        ("p.addcdiv_(-lr, p.grad, p.abs().sqrt().add_(1e-8))", True),
        ("p.addcdiv_(-group['lr'], p.grad, p.add_(1e-8))", True),  # numbers do not see it
        ("p.add_(-lr, self.direction(p))", True),  # nothing that it does changes a number with a name
        ("p.add_(self.rate(), q)", True),  # nor what a name stands for
        ("p.add_(-lr / p.grad.norm().item(), torch.sign(p.grad))", True),
        ("p.add_(-group['lr'], self.direction(p))", False),
        ("p.add_(self.rate(p), p.grad)", False),
        ("p.add_(-self.norm(p), p.grad)", False),
        ("p.add_(-self.scale.norm(p), p.grad)", False),
        ("p.add_(-self.state[p]['norm'].sqrt(), p.grad)", True),
        ("p.addcdiv_(p.grad.max(), q, p.grad.mul_(2))", False),
        ("p.add_(-q, q.mul_(2))", False),
        ("p.add_((rate := lr), p.grad * rate)", False),
        ("p.add_(-group['lr'], torch.distributed.nn.functional.all_reduce(p.grad))", False),
        ("p.add_(-group['lr'], torch.rand_like(p))", False),
        ("p.add_(-group.setdefault('lr', 1.0), p.grad)", False),
    ],
)
def test_there_is_a_fix_where_the_order_of_evaluation_does_not_show(call: str, mended: bool) -> None:
    fixes = [f.fix for f in found(f"q = torch.zeros_like(p)\n{call}")]
    assert [fix is not None and fix.safe for fix in fixes] == [mended]


@pytest.mark.filterwarnings("ignore")
def test_what_is_computed_stays_the_same() -> None:
    body = (
        "m = self.state[p].setdefault('m', torch.ones_like(p))\n"
        "m.mul_(0.5).add_(1 - self.beta, p.grad)\np.add_(-group['lr'] * self.beta, m)\n"
        "p.copy_(p.grad.add(group['weight_decay'], p))\np.addcdiv_(-lr, m, m.abs().sqrt().add_(1e-8))"
    )
    source = stepping(OPTIONS + body).replace("raise ValueError(lr)", "raise ValueError(lr)\n        self.beta = 0.9")

    def stepped(text: str) -> torch.Tensor:
        made: dict[str, type[torch.optim.Optimizer]] = {}
        exec(text, made)
        p = torch.nn.Parameter(torch.arange(1.0, 4.0))
        optimizer = made["Own"]([p], 0.1)
        for _ in range(2):
            p.grad = p.detach() + 1
            optimizer.step()
        return p.detach()

    fixes = [f.fix for f in said(source) if f.code == "PML607" and f.fix is not None]
    fixed = apply(source, fixes).text
    assert len(fixes) == 4 and "PML607" not in codes(fixed)
    assert torch.equal(stepped(source), stepped(fixed))
