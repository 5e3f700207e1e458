"""Methods of a project's own modules: read where the script calls them, on objects whose class it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from paramlint import knowledge
from paramlint.linting import lint_text

KNOWN = knowledge.load()
CODES = frozenset(("PML501", "PML508", "PML509", "PML515"))
MODULE = """\
import torch
from torch import nn
from muon import MuonWithAuxAdam


class Net(nn.Module):
    def halves(self, least=2):
        hidden = [p for p in self.parameters() if p.ndim >= least]
        rest = [p for p in self.parameters() if p.ndim < 2]
        return hidden, rest


def make_optimizer(hidden, rest):
    return MuonWithAuxAdam([dict(params=hidden, use_muon=True), dict(params=rest, use_muon=False)])


"""


def said(tmp_path: Path, source: str) -> list[tuple[str, int]]:
    path = tmp_path / "train.py"
    path.write_text(source)
    return [(f.code, f.location.line) for f in lint_text(source, str(path), KNOWN, codes=CODES) if f.location]


@pytest.mark.parametrize(
    "make",
    [
        "def main():\n    model = Net().to('cuda')\n    return make_optimizer(*model.halves())\n",
        "def main(model: Net):\n    return make_optimizer(*model.halves())\n",
        "def main(model: 'Net'):\n    return make_optimizer(*torch.compile(model).halves())\n",
        "class Trainer:\n    def __init__(self):\n        self.net = Net().cuda()\n\n"
        "    def make(self):\n        return make_optimizer(*self.net.halves())\n",
    ],
    ids=["made", "annotated", "text", "attribute"],
)
def test_the_halves_of_a_model(tmp_path: Path, make: str) -> None:
    assert said(tmp_path, MODULE + make) == [("PML509", 8)]
    holed = said(tmp_path, (MODULE + make).replace("halves()", "halves(3)"))
    assert [code for code, _ in holed] == ["PML501"] and holed[0][1] > 10, "where the optimizer is made"


def test_what_a_method_leaves_over_may_be_taken_by_its_caller(tmp_path: Path) -> None:
    source = MODULE.replace(">= least", "== 2") + (
        "def main():\n    model = Net()\n    hidden, rest = model.halves()\n    ids = {id(p) for p in hidden + rest}\n"
        "    more = [p for p in model.parameters() if id(p) not in ids]\n"
        "    return torch.optim.AdamW([{'params': hidden}, {'params': rest + more, 'weight_decay': 0.0}])\n"
    )
    assert said(tmp_path, source) == []


def test_a_class_that_overrides_parameters_is_believed(tmp_path: Path) -> None:
    source = MODULE + (
        "class Part(nn.Module):\n    def parameters(self, recurse=True):\n        return self.blocks.parameters()\n\n\n"
        "def main():\n    return torch.optim.Muon(Part().parameters())\n"
    )
    assert said(tmp_path, source) == []
