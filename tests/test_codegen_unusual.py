"""Generated modules for models with parameters of unusual names, dtypes and sizes, and for packages that are absent."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import generated
import pytest
import torch
from generated import KNOWN
from torch import nn

import paramlint
from paramlint import planning
from paramlint.codegen.generate import generate
from paramlint.codegen.proof import other_release
from paramlint.codegen.styles import Style
from paramlint.codegen.text import literal, regex
from paramlint.model.groups import read
from paramlint.model.recorder import standing_in

KEYS = ["w one", 'it\'s "q"', "a\"b'c'd", "{0,3}", "*", "**", "b\\s", "new\nline", "(2, 2)", "ünï", "7"]


class Odd(nn.Module):
    """Matrices and vectors under one odd key, beside numbered ones; the embedding is tied to the head."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.d = nn.ParameterDict({key: torch.zeros(8, 8), "0": torch.zeros(8), "1": torch.zeros(8, 8)})
        self.m = nn.ModuleDict({key: nn.Linear(8, 8)})
        self.ws = nn.ParameterList(torch.zeros(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 20)
        self.table = nn.ParameterDict({key: self.head.weight})
        self.key = key

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = nn.functional.embedding(ids, self.table[self.key])
        for w in (self.d[self.key], self.d["1"], *self.ws):
            x = x + torch.tanh(x @ w)
        return self.head(self.m[self.key](x) + self.d["0"])


def module(model: nn.Module, style: Style, optimizer: str = "torch-muon") -> tuple[str, Any, dict[str, str]]:
    """The text, the module, and the kinds that it should give."""
    inventory = paramlint.inspect(model, inputs=lambda: torch.zeros(1, 4, dtype=torch.long))
    plan = planning.plan(inventory, KNOWN, optimizer)
    text = generate(plan, inventory, KNOWN.profile(optimizer), style=style)
    return text, generated.run(text), {n: plan.labels[n] for n in plan.trainable}


@pytest.mark.parametrize("style", ["rules", "names"])
@pytest.mark.parametrize("key", KEYS)
def test_any_name_that_torch_takes(key: str, style: Style) -> None:
    model = Odd(key)
    _, code, labels = module(model, style)
    assert labels[f"d.{key}"] == "muon" and labels["d.0"] == "no_decay"
    assert code.kinds_of(model) == labels


@pytest.mark.parametrize("style", ["rules", "names"])
def test_the_code_for_such_names_is_clean(style: Style, tmp_path: Path) -> None:
    for i, key in enumerate(KEYS):
        (tmp_path / f"odd_{i}.py").write_text(module(Odd(key), style)[0], encoding="utf-8")
    strings = [*KEYS, "'\"", "\\'\"", "'''\"\"\"", "\t'\"\0", "'\\", "\"'\\", ""]
    assert [eval(literal(s)) for s in strings] == strings
    patterns = [r"h\.\d+", r"it's\.\d+", 'a"b', r'say\ "x"', "a\\\nb", "plain"]
    assert [eval(regex(p)) for p in patterns] == patterns
    quoted = "".join(f"x = {text}\n" for text in (*map(literal, strings), *map(regex, patterns)))
    (tmp_path / "strings.py").write_text(quoted, encoding="utf-8")
    for width in ("88", "120"):
        command = ["ruff", "format", "--check", "--isolated", "--line-length", width, str(tmp_path)]
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_an_absent_package_is_no_other_release() -> None:
    """The newest release is taken for a class that a recorder stands in for, and none is installed."""
    model, inventory = generated.build("gpt"), generated.inventory("gpt")
    with standing_in(KNOWN.profiles):
        code = generated.run(generated.text("gpt", "keller-pypi"))
        proposal = read(code.build_optimizer, model, inventory, KNOWN.profiles)
    (use,) = proposal.optimizers
    assert use.recorded and use.profile == "keller"
    assert other_release(proposal, KNOWN.profile("keller-pypi")) == ""
    there = replace(proposal, optimizers=(replace(use, recorded=False),))
    assert other_release(there, KNOWN.profile("keller-pypi")) == "keller"


class Spectral(nn.Module):
    """A matrix of complex numbers, and parameters without elements."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 16)
        self.spectral = nn.Parameter(torch.randn(16, 16, dtype=torch.cfloat) / 4)
        self.mix = nn.Linear(16, 16)
        self.more, self.shift = nn.Parameter(torch.zeros(0, 16)), nn.Parameter(torch.zeros(0))
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.inner(x).relu(), self.more])
        x = (x.to(torch.cfloat) @ self.spectral).real
        return self.head(self.mix(x.relu()).relu()) + self.shift.sum()


def test_a_step_with_complex_and_empty_parameters() -> None:
    model = Spectral()
    inventory = paramlint.inspect(model, inputs=lambda: torch.zeros(2, 8))
    plan = planning.plan(inventory, KNOWN, "torch-muon")
    code = generated.run(generate(plan, inventory, KNOWN.profile("torch-muon")))
    both = code.Together(code.build_optimizer(model))
    before = model.spectral.detach().clone()
    model(torch.ones(2, 8)).square().sum().backward()
    both.step()
    assert not torch.equal(before.imag, model.spectral.imag)
    assert [p for g in plan.groups if g.kind.half == "muon" for p in g.parameters] == ["mix.weight"]
