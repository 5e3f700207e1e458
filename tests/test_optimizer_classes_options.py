"""Where optimizer classes take their options from: PML601, PML606 and PML614."""

from __future__ import annotations

from textwrap import indent

import pytest
from test_optimizer_classes import IMPORTS, SKIP, codes, said, stepping

EMPTY = "super().__init__(params, {})"


def made(init: str, step: str, *, after: str = "") -> str:
    """A class whose constructor, after it has looked at its `lr`, and whose step, with each group, do this."""
    return f"""{IMPORTS}class Own(Optimizer):
    def __init__(self, params, lr=0.1, c=0.5):
        assert lr > 0
{indent(init, " " * 8)}

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
{indent(step, " " * 20)}
        return loss
{after}"""


ADD = "p.add_(p.grad, alpha=-{})"
LR = ADD.format("group['lr']")
HELPER = "\n    def rate(self, group):\n        return group['lr']\n"


@pytest.mark.parametrize(
    ("init", "step", "after", "missing"),
    [
        (EMPTY, LR, "", "lr"),
        (EMPTY, ADD.format("self.rate(group)"), HELPER, "lr"),
        (EMPTY, ADD.format("self.param_groups[0]['scale']"), "", "scale"),
        (EMPTY, ADD.format("group.pop('rate')"), "", "rate"),
        (f"{EMPTY}\nself.c = c", ADD.format("self.c"), "", None),
        (EMPTY, ADD.format("len(group['params'])"), "", None),
        (EMPTY, ADD.format("group.get('lr', 0.1)"), "", None),
        (EMPTY, f"if 'lr' in group:\n    {LR}", "", None),
        (f"{EMPTY}\nfor group in self.param_groups:\n    group.setdefault('lr', lr)", LR, "", None),
        (f"{EMPTY}\nfor group in self.param_groups:\n    group['lr'] = lr", LR, "", None),
        ("super().__init__([{'params': [p], 'lr': lr} for p in params], {})", LR, "", None),
        ("params = [dict(params=[p], lr=lr) for p in params]\nsuper().__init__(params, {})", LR, "", None),
        # the groups that a constructor fills in are only those that it is given
        (f"for group in params:\n    group['lr'] = group.get('lr', lr)\n{EMPTY}", LR, "", "lr"),
    ],
)
def test_defaults_are_missed_where_a_group_has_to_have_them(
    init: str, step: str, after: str, missing: str | None
) -> None:
    found = [f for f in said(made(init, step, after=after)) if f.code == "PML606"]
    assert [f" no {missing}," in f.message for f in found] == [True] * (missing is not None)


DEFAULTS = "super().__init__(params, dict(lr=lr, betas=(0.9, 0.99), foreach=False))"
KEPT = f"{DEFAULTS}\nself.lr = lr"


@pytest.mark.parametrize(
    ("init", "step", "after", "text"),
    [
        (DEFAULTS, ADD.format("self.defaults['lr']"), "", "lr is read from self.defaults and"),
        (DEFAULTS, "self.update(p)", "\n    def update(self, p):\n        p.add_(self.defaults['lr'])\n", "lr is read"),
        (DEFAULTS, "b, _ = self.defaults['betas']\n" + LR, "", "betas is read from self.defaults and"),
        (DEFAULTS, "d = self.defaults\nx = self.defaults['lr'], self.defaults['betas']", "", "betas and lr are read"),
        (KEPT, ADD.format("self.lr"), "", "lr is read from self.lr and"),
        (KEPT.replace("self.lr", "self.rate"), "rate = self.rate * 2\np.add_(rate)", "", "lr is read from self.rate"),
        (
            "defaults = {'lr': lr}\nsuper().__init__(params, defaults)\nself.lr = lr",
            ADD.format("self.lr"),
            "",
            "lr is",
        ),
        (DEFAULTS, LR, "", ""),
        (DEFAULTS, ADD.format("group.get('lr', self.defaults['lr'])"), "", ""),
        (DEFAULTS, f"group.setdefault('lr', self.defaults['lr'])\n{LR}", "", ""),
        (DEFAULTS, f"if self.defaults['foreach']:\n    pass\n{LR}", "", ""),
        (DEFAULTS, f"self.defaults['lr'] = group['lr']\n{ADD.format('self.defaults[0]')}", "", ""),
        (DEFAULTS, "update(p, self.defaults['lr'], **group)", "", ""),
        (DEFAULTS, "update(group, self.defaults['lr'])", "", ""),
        (DEFAULTS, "for key in group:\n    x = self.defaults['lr'] * group[key]", "", ""),
        (DEFAULTS, "groups = self.param_groups\np.add_(self.defaults['lr'], groups[0]['lr'])", "", ""),
        (KEPT, f"p.mul_(self.lr)\n{LR}", "", ""),
        (KEPT, f"p.mul_(self.lr)\n{ADD.format('self.rate(group)')}", HELPER, ""),
        (KEPT, "if self.lr > 2:\n    print(self.lr)", "", ""),
        (KEPT, ADD.format("self.lr"), "\n    def set(self, lr):\n        self.lr = lr\n", ""),
        (f"{DEFAULTS}\nself.lr = lr * 2", ADD.format("self.lr"), "", ""),
        ("super().__init__(params, dict(c=c))\nself.lr = lr", ADD.format("self.lr"), "", ""),
        (f"{DEFAULTS}\nself.c = c", ADD.format("self.c"), "", ""),
    ],
)
def test_options_that_go_past_the_groups(init: str, step: str, after: str, text: str) -> None:
    found = [f for f in said(made(init, step, after=after)) if f.code == "PML614"]
    assert [f.message.startswith(text) for f in found] == [True] * bool(text)


def test_a_base_that_is_not_seen_may_read_its_groups() -> None:
    source = made(DEFAULTS, ADD.format("self.defaults['lr']"))
    assert codes(source) == {"PML614"}
    assert codes(source.replace("Own(Optimizer)", "Own(optim.AdamW)")) == set()
    assert codes(source.replace("Own(Optimizer)", "Own(Mixin, Optimizer)")) == set()
    assert codes(source.replace("        return loss", "        self.inner.step()\n        return loss")) == set()


@pytest.mark.parametrize(
    ("step", "init", "used"),
    [
        (LR, "", True),
        (ADD.format("self.lr"), "self.lr = lr", True),
        (ADD.format("self.half"), "self.half = lr / 2", True),
        (ADD.format("self.defaults['lr']"), "", True),
        ("update(p, group)", "", True),
        (ADD.format("group['c']"), "self.lr = lr", False),
        ("self.total = p.grad + 1", "", False),
    ],
)
def test_a_rate_that_nothing_uses_need_not_be_looked_at(step: str, init: str, used: bool) -> None:
    source = made(f"super().__init__(params, dict(lr=lr, c=c))\n{init}", step).replace("        assert lr > 0\n", "")
    assert ("PML601" in codes(source)) == used


def test_a_class_of_which_nothing_is_wrong_reads_its_groups() -> None:
    assert codes(stepping(SKIP + LR)) == set()
