"""What the rules on scripts say of a function that is written down in a test."""

from __future__ import annotations

from handmade_models import KNOWN

from paramlint.finding import Finding
from paramlint.linting import lint_text

RULES = {"PML106", "PML501", "PML502", "PML503", "PML504", "PML508", "PML509", "PML515", "PML516"}
TOP = "from torch import nn\nfrom torch.optim import AdamW, Muon\n\n\n"
GROUPS = 'AdamW([{"params": a, "weight_decay": 0.1}, {"params": b, "weight_decay": 0.0}], lr=1e-3)'


def said(body: str) -> tuple[Finding, ...]:
    rows = (f"    {row}" for row in body.strip("\n").split("\n"))
    return lint_text(TOP + "def groups(model, args):\n" + "\n".join(rows) + "\n", "train.py", KNOWN, codes=RULES)


def codes(body: str) -> list[tuple[str, int]]:
    """The findings, with the line of the body that each is in."""
    return [(f.code, f.location.line - 5) for f in said(body) if f.location]
