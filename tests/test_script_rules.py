"""What the rules on scripts say of whole partitions, iterators and sets, and where they are silent."""

from __future__ import annotations

import pytest
from test_source_pages import KNOWN

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


@pytest.mark.parametrize(
    "body",
    [
        f"""
a = [p for p in model.parameters() if p.ndim >= 2]
b = [p for p in model.parameters() if p.ndim < 2]
return {GROUPS}
""",
        f"""
b = [p for n, p in model.named_parameters() if p.ndim < 2 or n.endswith(".bias")]
ids = set(map(id, b))
a = [p for p in model.parameters() if id(p) not in ids]
return {GROUPS}
""",
        f"""
a, b = [], []
for n, p in model.named_parameters():
    if not p.requires_grad:
        continue
    (b if p.ndim < 2 or "norm" in n else a).append(p)
return {GROUPS}
""",
        """
hidden = [p for p in model.blocks.parameters() if p.ndim == 2]
return Muon(hidden, lr=0.02)
""",
        f"""
named = list(model.named_parameters())
a = [p for n, p in named if p.ndim >= 2]
b = [p for n, p in named if p.ndim < 2]
return {GROUPS}
""",
        "return AdamW(model.parameters(), lr=1e-3)",
    ],
)
def test_right_groups(body: str) -> None:
    assert codes(body) == []


def test_a_hole_shows_a_parameter() -> None:
    body = f"""
a = [p for p in model.parameters() if p.ndim == 2]
b = [p for p in model.parameters() if p.ndim < 2]
return {GROUPS}
"""
    (found,) = said(body)
    assert found.code == "PML501" and "3-D parameter" in found.message


def test_an_overlap_names_both_lines() -> None:
    body = f"""
a = [p for p in model.parameters() if p.ndim >= 2]
b = [p for p in model.parameters() if p.ndim <= 2]
return {GROUPS}
"""
    (found,) = said(body)
    assert found.code == "PML502" and "line 6 and line 7" in found.message
    assert found.location and found.location.line == 7


@pytest.mark.parametrize(
    "body",
    [
        """
first = AdamW(model.parameters(), lr=1e-3)
args.warm_up(first)
b = [p for p in model.parameters() if p.ndim < 2]
return AdamW(b, lr=1e-4)
""",
        """
a = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blocks")]
b = [p for n, p in model.named_parameters() if p.ndim != 2 or not n.startswith("blocks")]
adamw = AdamW(b, lr=1e-3)
try:
    return Muon(a, lr=0.02), adamw
except ImportError:
    return AdamW([{"params": a}, {"params": b}], lr=1e-3)
""",
    ],
    ids=["another stage", "a stand-in"],
)
def test_optimizers_that_are_not_stepped_together(body: str) -> None:
    assert "PML502" not in dict(codes(body))


def test_optimizers_that_are() -> None:
    assert "PML502" in dict(
        codes("a = [p for p in model.parameters() if p.ndim == 2]\nreturn Muon(a), AdamW(model.parameters())")
    )
    body = """
a = [p for n, p in model.named_parameters() if p.ndim == 2]
b = [p for n, p in model.named_parameters() if p.ndim <= 2]
a += [p for p in model.parameters() if p.ndim > 2]
muon = Muon(a, lr=0.02)
adamw = AdamW(b, lr=1e-3)
"""
    assert "PML502" in dict(codes(body))


def test_an_argument_that_is_walked_twice() -> None:
    text = TOP + (
        "def split(named):\n"
        "    a = [p for n, p in named if p.ndim > 1]\n"
        "    return a, [p for n, p in named if p.ndim < 2]\n\n\n"
        "def groups(model):\n"
        "    a, b = split(model.named_parameters())\n"
        f"    return {GROUPS}\n"
    )
    (found,) = lint_text(text, "train.py", KNOWN, codes=RULES)
    assert found.code == "PML503" and "`named`" in found.message and "line 6" in found.message
    assert found.fix and found.fix.safe and found.fix.start == (11, 18)


def test_one_note_for_all_branches_of_a_function() -> None:
    body = """
a = [p for n, p in model.named_parameters() if n.startswith(args.prefix)]
b = [p for n, p in model.named_parameters() if n.endswith(args.suffix)]
if args.name == "adamw":
    return AdamW([{"params": a}, {"params": b, "weight_decay": 0.0}], lr=1e-3)
elif args.name == "slow":
    return AdamW([{"params": a}, {"params": b, "weight_decay": 0.0}], lr=1e-4)
"""
    assert [code for code, _ in codes(body)] == ["PML515"]


def test_a_check_of_the_script_is_enough() -> None:
    groups = f"optimizer = {GROUPS}"
    lists = """
a = [p for n, p in model.named_parameters() if n.startswith(args.prefix)]
b = [p for n, p in model.named_parameters() if n.endswith(args.suffix)]
"""
    counted = "assert len(a) + len(b) == len(list(model.parameters()))\n"
    sets = "ids = [id(p) for p in a + b]\nassert {id(p) for p in model.parameters()} == set(ids)\n"
    assert codes(lists + groups) == [("PML515", 3)]
    assert codes(lists + counted + groups) == [("PML516", 3)]
    assert codes(lists + sets + groups) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return Muon(model.parameters(), lr=0.02)", "PML508"),
        ("return Muon([p for p in model.parameters() if p.ndim == 2], lr=0.02)", "PML509"),
        ("return AdamW(set(model.parameters()), lr=1e-3)", "PML106"),
    ],
)
def test_one_optimizer(body: str, code: str) -> None:
    found = [f for f in said(body) if f.severity == "error"]
    assert [f.code for f in found] == [code]


def test_what_to_do_names_the_place() -> None:
    (found,) = said("return Muon(model.parameters(), lr=0.02)")
    assert "--in-place train.py:6" in found.help
