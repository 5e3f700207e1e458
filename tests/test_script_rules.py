"""What the rules on scripts say of whole partitions, iterators and sets, and where they are silent."""

from __future__ import annotations

import pytest
from script_rules import GROUPS, KNOWN, RULES, TOP, codes, said

from paramlint.linting import lint_text


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


#: What follows two lists, `a` and `b`; a check of counts is in the last line.
COUNTED = (
    "assert len(a) + len(b) == len(list(model.parameters()))\n",
    "assert len(list(model.parameters())) - len(a) == len(b)\n",
    "total = sum(p.numel() for p in model.parameters())\nassert sum(p.numel() for x in (a, b) for p in x) == total\n",
    "n, m = len(a), len(b)\nk = len(list(model.parameters()))\nassert n + m == k\n",
    "assert len(a) + len(b) == args.num_params\n",
)
OF_SETS = (
    "ids = [id(p) for p in a + b]\nassert {id(p) for p in model.parameters()} == set(ids)\n",
    "ids = [id(p) for p in a + b]\nassert len(ids) == len(set(ids))\n",
    "shared = {id(p) for p in a} & {id(p) for p in b}\nassert len(shared) == 0\n",
    "shared = {id(p) for p in a} & {id(p) for p in b}\nif shared:\n    raise ValueError\n",
    "ids = {id(p) for p in a + b}\nassert all(id(p) in ids for p in model.parameters())\n",
    "missing = [n for n, p in model.named_parameters() if not any(p is q for q in a + b)]\nassert not missing\n",
    "seen = set()\nfor p in a + b:\n    if id(p) in seen:\n        raise ValueError\n    seen.add(id(p))\n",
)
NO_CHECKS = (
    "assert len(a) >= 1\n",
    "assert len(b) > 0, 'no such part'\n",
    "if not a:\n    raise ValueError('no parameters')\n",
    "if len(b) == 0:\n    raise ValueError('no parameters')\n",
    "assert len(a) == 12\n",
    "both = [a, b]\nassert len(both) == 2 and len(both) == len(args.rates)\n",
    "widths = set(args.widths(model).values())\nif len(widths) > 1:\n    raise ValueError('several widths')\n",
    "assert isinstance(a, list)\n",
    "if args.name not in ['sgd', 'adamw']:\n    raise ValueError(args.name)\n",
)


def test_a_check_of_the_script_is_enough() -> None:
    groups = f"optimizer = {GROUPS}"
    lists = """
a = [p for n, p in model.named_parameters() if n.startswith(args.prefix)]
b = [p for n, p in model.named_parameters() if n.endswith(args.suffix)]
"""
    assert codes(lists + groups) == [("PML515", 3)]
    for check in COUNTED:
        assert ("PML516", 2 + check.count("\n")) == codes(lists + check + groups)[0], check
    for check in OF_SETS:
        assert codes(lists + check + groups) == [], check
    for check in NO_CHECKS:
        assert [code for code, _ in codes(lists + check + groups)] == ["PML515"], check


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


#: A parameter `name` or `flag` of the script has a default that does not choose Muon.


def test_what_to_do_names_the_place() -> None:
    (found,) = said("return Muon(model.parameters(), lr=0.02)")
    assert "--in-place train.py:6" in found.help
