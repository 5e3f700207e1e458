"""Code that is right, and easily taken for wrong: there is no error in it. And its twins, which are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from paramlint import knowledge
from paramlint.linting import lint_text

KNOWN = knowledge.load()
CODES = frozenset(("PML101", "PML102", "PML106", "PML501", "PML502", "PML503", "PML504", "PML508", "PML509"))
TOP = """\
import copy
import torch
from itertools import chain
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP


class Net(nn.Module):
    pass


"""


def errors(source: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "train.py"
    path.write_text(TOP + source)
    findings = lint_text(TOP + source, str(path), KNOWN, codes=CODES)
    return [f.code for f in findings if f.severity == "error"]


TWO = "    return torch.optim.Adam([{'params': a.parameters()}, {'params': b.parameters(), 'lr': 1}], lr=1)\n"
RIGHT = {
    "two layers": "def f():\n    a = nn.Linear(4, 2)\n    b = nn.Linear(4, 2)\n" + TWO,
    "twin critics": "def f(s, d):\n    a = Net(s).to(d)\n    b = Net(s).to(d)\n" + TWO,
    "wrapped": "def f():\n    a, b = DDP(Net()), torch.compile(Net())\n" + TWO,
    "copies": "def f(m):\n    a, b = copy.deepcopy(m), copy.deepcopy(m)\n" + TWO,
    "made by a function": "def f(s):\n    def critic():\n        return Net(s)\n\n    a, b = critic(), critic()\n"
    + TWO,
    "an ensemble": (
        "def f(n):\n    nets = [Net(n) for _ in range(2)]\n"
        "    return torch.optim.Adam([{'params': n.parameters()} for n in nets])\n"
    ),
    "two optimizers": (
        "def f():\n    a, b = Net(), Net()\n"
        "    return torch.optim.Adam(a.parameters()), torch.optim.Adam(b.parameters())\n"
    ),
    "groups of an optimizer": (
        "def f(model):\n    opt = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    for g in opt.param_groups:\n        g['initial_lr'] = 0.1\n"
        "    for g in opt.param_groups:\n        g['lr'] *= 0.9\n    return opt\n"
    ),
    "an iterator that is wrapped again": (
        "def f(a, b, rnd=None):\n    params = chain(a.parameters(), b.parameters())\n"
        "    if rnd:\n        params = chain(params, rnd.parameters())\n"
        "    params = list(params)\n    return torch.optim.Adam(params, lr=1e-3)\n"
    ),
    "in one branch each": (
        "def f(model, kind):\n    params = filter(lambda p: p.requires_grad, model.parameters())\n"
        "    if kind == 'adam':\n        return torch.optim.Adam(params)\n"
        "    if kind == 'sgd':\n        opt = torch.optim.SGD(params, lr=0.1)\n"
        "    else:\n        opt = torch.optim.AdamW(params)\n    return opt\n"
    ),
    "one element after the other": (
        "def f(model, batches):\n    it = iter(batches)\n    first = next(it)\n"
        "    opt = torch.optim.SGD(model.parameters(), lr=0.1)\n    model(next(it))\n    return first, opt\n"
    ),
    "the view of a dict": (
        "def f(model, saved):\n    keys = model.state_dict().keys()\n"
        "    print(set(keys) - set(saved), set(saved) - set(keys))\n"
        "    return torch.optim.SGD(model.parameters(), lr=0.1)\n"
    ),
    "values to compare with": (
        "def f(model):\n    opt = torch.optim.SGD([p for p in model.parameters() if p.ndim >= 2], lr=0.1)\n"
        "    before = [p.detach().clone() for p in model.parameters()]\n    opt.step()\n"
        "    print([(p - q).norm() for p, q in zip(model.parameters(), before)])\n"
    ),
    "gradients that are cleared": (
        "def f(model):\n    every = list(model.parameters())\n    opt = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    for p in every:\n        p.grad = None\n    return opt\n"
    ),
    "an assertion that nothing is left": (
        "def f(model):\n    mats = [p for p in model.parameters() if p.ndim == 2]\n"
        "    vecs = [p for p in model.parameters() if p.ndim < 2]\n"
        "    more = [p for p in model.parameters() if p.ndim > 2]\n    assert len(more) == 0\n"
        "    return torch.optim.AdamW([{'params': mats}, {'params': vecs, 'lr': 1e-3}], lr=1e-3)\n"
    ),
    "an error where something is left": (
        "def f(model):\n    mats = [p for p in model.parameters() if p.ndim == 2]\n"
        "    vecs = [p for p in model.parameters() if p.ndim < 2]\n"
        "    if any(p.ndim > 2 for p in model.parameters()):\n        raise ValueError\n"
        "    return torch.optim.AdamW([{'params': mats}, {'params': vecs, 'lr': 1e-3}], lr=1e-3)\n"
    ),
    "a table of optimizers": (
        "def f(model, name):\n    table = {'adam': torch.optim.Adam(model.parameters(), lr=0.01),\n"
        "             'sgd': torch.optim.SGD(model.parameters(), lr=0.1)}\n    return table[name]\n"
    ),
    "lists, for who calls": (
        "def f(model):\n    mats = [p for p in model.parameters() if p.ndim == 2]\n"
        "    vecs = [p for p in model.parameters() if p.ndim < 2]\n    return mats, vecs\n"
    ),
    "a set to ask": "def f(model):\n    return {p for n, p in model.named_parameters() if n.startswith('head')}\n",
    "names, for who calls": (
        "class Mine(Base):\n    def overrides(self, model):\n"
        "        mats = [n for n, p in model.named_parameters() if p.ndim == 2]\n"
        "        vecs = [n for n, p in model.named_parameters() if p.ndim < 2]\n"
        "        return [dict(params=mats), dict(params=vecs, weight_decay=0.0)]\n"
    ),
}
WRONG = {
    "one layer": ("def f():\n    a = nn.Linear(4, 2)\n    b = a\n" + TWO, "PML502"),
    "a copy of the reference": ("def f(m):\n    a, b = copy.copy(m), m\n" + TWO, "PML502"),
    "groups with a hole": (
        "def f(model):\n    mats = [p for p in model.parameters() if p.ndim == 2]\n"
        "    vecs = [p for p in model.parameters() if p.ndim < 2]\n"
        "    return [{'params': mats, 'lr': 1}, {'params': vecs}]\n",
        "PML501",
    ),
    "an optimizer that was looked up": (
        "def f(cfg, model, registry):\n    mats = [p for p in model.parameters() if p.ndim > 1]\n"
        "    vecs = [p for p in model.parameters() if p.ndim < 1]\n"
        "    return registry[cfg.name]([{'params': mats}, {'params': vecs, 'lr': 1}])\n",
        "PML501",
    ),
    "walked twice": (
        "def f(model):\n    params = chain(model.parameters(), [])\n    n = sum(p.numel() for p in params)\n"
        "    return torch.optim.Adam([p for p in params], lr=n)\n",
        "PML503",
    ),
    "given to an optimizer, then clipped": (
        "def f(model):\n    params = filter(lambda p: p.requires_grad, model.parameters())\n"
        "    opt = torch.optim.Adam(params)\n    torch.nn.utils.clip_grad_norm_(params, 1.0)\n    return opt\n",
        "PML503",
    ),
    "counted, then given": (
        "def f(model):\n    params = model.parameters()\n    print(sum(p.numel() for p in params))\n"
        "    return torch.optim.Adam(params)\n",
        "PML503",
    ),
    "its ids taken, then in a group": (
        "def f(model):\n    head = model.head.parameters()\n    ids = list(map(id, head))\n"
        "    base = filter(lambda p: id(p) not in ids, model.parameters())\n"
        "    return torch.optim.SGD([{'params': base}, {'params': head, 'lr': 0.1}], lr=0.01)\n",
        "PML503",
    ),
    "wrapped, and walked twice": (
        "def f(a, rnd=None):\n    params = chain(a.parameters())\n"
        "    if rnd:\n        params = chain(params, rnd.parameters())\n"
        "    print([p.shape for p in params])\n    return torch.optim.Adam([p for p in params], lr=1e-3)\n",
        "PML503",
    ),
}


@pytest.mark.parametrize("what", RIGHT)
def test_silent(what: str, tmp_path: Path) -> None:
    assert errors(RIGHT[what], tmp_path) == []


@pytest.mark.parametrize("what", WRONG)
def test_its_twin_is_found(what: str, tmp_path: Path) -> None:
    source, code = WRONG[what]
    assert errors(source, tmp_path) == [code]
