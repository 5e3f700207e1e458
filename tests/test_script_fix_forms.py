"""Fixes that keep embeddings, heads and the like out of Muon, in the forms that loops have, and for any depth."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_script_fixes import MODEL, assert_mended, loaded, mended, script


@pytest.mark.parametrize(
    "body",
    [
        """
named = {n: p for n, p in model.named_parameters()}
named = {n: p for n, p in named.items() if p.requires_grad}
hidden = [p for n, p in named.items() if p.dim() >= 2]
others = [p for n, p in named.items() if p.dim() < 2]
""",
        """
params = list(model.parameters())
hidden = [p for p in params if p.ndim >= 2]
others = [p for p in params if p.ndim < 2]
""",
        """
hidden, others = [], []
for n, p in model.named_parameters():
    (hidden if p.ndim >= 2 else others).append(p)  # by shape
""",
        """
hidden, others = [], []
for n, p in model.named_parameters():
    bucket = others if p.ndim < 2 else hidden
    bucket.append(p)
""",
        """
groups = {"muon": [], "adam": []}
for n, p in model.named_parameters():
    groups["muon" if p.requires_grad and p.ndim >= 2 else "adam"].append(p)
hidden, others = groups["muon"], groups["adam"]
""",
        """
hidden, others = [], []
for n, p in model.named_parameters():
    if p.ndim < 2:
        others.append(p)
        continue
    hidden.append(p)
""",
        """
hidden = list(filter(lambda q: q.ndim >= 2, model.parameters()))
others = list(filter(lambda q: q.ndim < 2, model.parameters()))
""",
    ],
    ids=["dict", "list", "choice", "bucket", "key", "continue", "filter"],
)
def test_forms_that_go_by_dimensions_alone(body: str, tmp_path: Path) -> None:
    """The class of the model is in the file: its head leaves Muon with the embeddings, whatever the loop looks like."""
    text = script(body, "    return Muon(hidden, lr=0.02), AdamW(others, lr=3e-4)\n")
    text = text.replace("import AdamW", "import AdamW, Muon").replace("def build", "def make")
    new, codes = assert_mended(text, tmp_path / "script.py")
    assert "PML509" in codes and "id(model.lm_head.weight)" in new


def test_a_class_of_another_file_shows_its_head(tmp_path: Path) -> None:
    (tmp_path / "lm.py").write_text(MODEL.partition("def groups")[0], encoding="utf-8")
    text = """
import torch
from lm import build
from torch.optim import AdamW, Muon


def main():
    model = build().cuda()
    hidden = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return Muon(hidden, lr=0.02), AdamW(others, lr=3e-4)
"""
    new, codes = mended(text, tmp_path / "script.py")
    assert "PML509" in codes and "id(model.lm_head.weight)" in new and "torch.nn.Embedding" in new


def test_what_each_block_has_is_told_by_its_name(tmp_path: Path) -> None:
    """No block is told by its number: the fixed groups hold for a model of another depth as well."""
    text = script(
        """
hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
"""
    )
    text = text.replace(
        "        self.down = nn.Linear(64, 16)\n",
        "        self.down = nn.Linear(64, 16)\n        self.A_log = nn.Parameter(torch.zeros(16, 4))\n",
    ).replace(
        "return x + self.down",
        "decay = torch.exp(-torch.exp(self.A_log)).sum(-1)\n        return x * decay + self.down",
    )
    new, codes = assert_mended("import torch\n" + text, tmp_path / "script.py")
    assert "PML206" in codes
    assert 'for n, p in model.named_parameters() if n.endswith(".A_log")' in " ".join(new.split())
    assert new.count("not_muon = {") == 1 and "not_muon_ids" not in new
    deeper = loaded(tmp_path / "script.py")
    model = deeper.LM()
    model.blocks.append(deeper.Block())
    hidden = {id(p) for p in deeper.groups(model)[0]["params"]}
    assert not any(id(b.A_log) in hidden for b in model.blocks) and id(model.blocks[2].up.weight) in hidden
