"""Fixes of what is wrong with groups: the fixed code is run on its model, and its groups are checked."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from rule_pages import Fence, read
from test_source_pages import KNOWN, inventory

import paramlint
from paramlint.finding import Finding
from paramlint.linting import lint_text
from paramlint.registry import RULES, page, rules_dir
from paramlint.rewrite import apply

#: Pages of rules on groups, in source or of a model.
PAGES = [read(page(r.code)) for r in RULES if r.code[3] in "125" and (rules_dir() / f"{r.code}.md").is_file()]
FENCES = [f for p in PAGES for f in p.fences if not f.good and ("def groups(" in f.source or p.code[3] == "5")]
ROUNDS = 8


def findings(text: str, path: Path) -> tuple[Finding, ...]:
    path.write_text(text, encoding="utf-8")
    codes = {r.code for r in RULES if r.on or r.code[3] == "5"}
    return lint_text(text, str(path), KNOWN, codes=codes, inventory=inventory(text, path))


def comments(text: str) -> Counter[str]:
    found = tokenize.generate_tokens(io.StringIO(text).readline)
    return Counter(t.string for t in found if t.type == tokenize.COMMENT)


def loaded(path: Path) -> ModuleType:
    # Not imported: bytecode of the text before, as long and of the same second, would be taken for this one's.
    module = ModuleType(path.stem)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    return module


def mended(source: str, path: Path, *, notes: bool = False) -> tuple[str, set[str]]:
    """A text after all its fixes, those of notes only where asked for, and the codes of what they mended."""
    text, codes = source, set()
    for _ in range(ROUNDS):
        wanted = [f for f in findings(text, path) if f.fix is not None and (notes or f.severity != "note")]
        done = apply(text, [f.fix for f in wanted if f.fix is not None])
        codes |= {f.code for f in wanted if f.fix in done.applied}
        if done.text == text:
            return text, codes
        text = done.text
    raise AssertionError("the fixes do not come to an end")


def assert_mended(source: str, path: Path, *, notes: bool = False) -> tuple[str, set[str]]:
    text, codes = mended(source, path, notes=notes)
    if not codes:
        return text, codes
    ast.parse(text)
    assert comments(text) == comments(source)
    assert not codes & {f.code for f in findings(text, path) if notes or f.severity != "note"}
    module = loaded(path)
    make = getattr(module, "build", getattr(module, "make", None))
    if make is not None and hasattr(module, "groups"):
        run = paramlint.check(make(), module.groups)
        assert not [(f.code, f.parameters, f.message) for f in run.findings if f.severity != "note"]
    return text, codes


@pytest.mark.parametrize("fence", FENCES, ids=str)
def test_example(fence: Fence, tmp_path: Path) -> None:
    path = tmp_path / f"{fence.code}_{fence.index}.py"
    notes = {e.severity for e in fence.expected} == {"note"}
    _, codes = assert_mended(fence.unmarked, path, notes=notes)
    assert fence.fixed is None or fence.code in codes


MODEL = """
from torch import nn
from torch.optim import AdamW


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.up = nn.Linear(16, 64)
        self.down = nn.Linear(64, 16)

    def forward(self, x):
        return x + self.down(self.up(self.norm(x)).relu())


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(100, 16)
        self.positions = nn.Embedding(32, 16)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.LayerNorm(16)
        self.lm_head = nn.Linear(16, 100, bias=False)

    def forward(self, ids):
        x = self.wte(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.norm(x))


def build():
    return LM()


def groups(model):
    # who gets what
"""
HALVES = """
    return [
        {"params": hidden, "use_muon": True, "lr": 0.02},  # matrices
        {"params": others, "use_muon": False, "lr": 3e-4},
    ]
"""


def script(body: str, end: str = HALVES) -> str:
    rows = body.strip("\n").split("\n")
    return MODEL.lstrip() + "".join(f"    {row}\n" for row in rows) + end.lstrip("\n")


@pytest.mark.parametrize(
    ("body", "mends"),
    [
        (
            """
hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]  # not the tables
others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
""",
            {"PML201", "PML202", "PML205"},
        ),
        (
            """
hidden, others = [], []
for n, p in model.named_parameters():
    if p.ndim >= 2 and "wte" not in n:
        hidden.append(p)  # hidden
    else:
        others.append(p)
""",
            {"PML202", "PML205"},
        ),
        (
            """
hidden, others = [], []
for n, p in model.named_parameters():
    if p.ndim < 2 or "lm_head" in n:
        others.append(p)
    else:
        hidden.append(p)
""",
            {"PML201", "PML205"},
        ),
        (
            """
hidden = [p for p in model.parameters() if p.ndim > 1]
taken = {id(p) for p in hidden}
others = [p for p in model.parameters() if id(p) not in taken]
""",
            {"PML201", "PML202", "PML205"},
        ),
        (
            """
hidden, others = [], []
for n, p in model.named_parameters():
    if "blocks" in n:
        hidden.append(p)
    else:
        others.append(p)
""",
            {"PML204"},
        ),
    ],
    ids=["two lists", "chain", "others first", "what is left", "vectors"],
)
def test_over_a_model(body: str, mends: set[str], tmp_path: Path) -> None:
    """What is in Muon by a test that let it through leaves it at that test."""
    _, codes = assert_mended(script(body), tmp_path / "script.py")
    assert mends <= codes


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (
            """
rest = []
for p in model.parameters():
    rest.append(p)  # all
return AdamW(rest, lr=3e-4)
""",
            "PML104",
        ),
        (
            """
rest = [p for p in model.parameters() if p.ndim < 2]
decay = [p for p in model.parameters() if p.ndim > 2]
return AdamW([{"params": decay}, {"params": rest, "weight_decay": 0.0}], lr=3e-4)
""",
            "PML101",
        ),
        (
            """
decay = [p for p in model.parameters() if p.ndim > 1]
rest = [p for p in model.parameters() if p.ndim <= 2]
return AdamW([{"params": decay}, {"params": rest, "weight_decay": 0.0}], lr=3e-4)
""",
            "PML102",
        ),
        (
            """
matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "wte" not in n]
tables = [p for n, p in model.named_parameters() if "wte" in n]
vectors = [p for n, p in model.named_parameters() if p.ndim > 2 and "wte" not in n]
return AdamW([{"params": matrices}, {"params": tables}, {"params": vectors, "weight_decay": 0.0}], lr=3e-4)
""",
            "PML101",
        ),
        (
            """
hidden = [p for p in model.blocks.parameters() if p.ndim == 2]
gains = [p for p in model.blocks.parameters() if p.ndim < 2]
others = [model.wte.weight, model.positions.weight, model.lm_head.weight, *gains]
return [dict(params=hidden, use_muon=True), dict(params=others, use_muon=False)]
""",
            "PML101",
        ),
    ],
)
def test_groups_over_a_model(body: str, code: str, tmp_path: Path) -> None:
    text = script(body, "").replace("    return LM()", FROZEN if code == "PML104" else "    return LM()")
    _, codes = assert_mended(text, tmp_path / "script.py")
    assert code in codes


FROZEN = "    model = LM()\n    model.wte.weight.requires_grad = False\n    return model"


NO_FIX = {
    "no complement where a third list takes some": """
def groups(model):
    a = [p for p in model.parameters() if p.ndim == 2]
    b = [p for p in model.parameters() if p.ndim == 1]
    c = [p for p in model.parameters() if p.ndim == 4]
    return AdamW([{"params": a}, {"params": b}, {"params": c}], lr=3e-4)
""",
    "no complement that would send names to Muon": """
def groups(model):
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and not n.startswith("head")]
    others = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("he")]
    return Muon(hidden, lr=0.02), AdamW(others, lr=3e-4)
""",
    "no else where branches do more than one thing": """
def groups(model):
    a, b = [], []
    for p in model.parameters():
        if p.ndim == 2:
            a.append(p)
        elif p.ndim < 2:
            for q in [p]:
                b.append(q)
    return AdamW([{"params": a}, {"params": b}], lr=3e-4)
""",
    "no order for a set that a function is given": """
def groups(model):
    head = set(model.head.parameters())
    body = [p for p in model.parameters() if p not in head]
    print(left_over(model, head))
    return AdamW([{"params": body}, {"params": list(head)}], lr=3e-4)


def left_over(model, seen):
    return len(set(model.parameters()) - seen)
""",
    "no order for a set that is returned": """
def head(model) -> frozenset:
    return frozenset(model.head.parameters())


def groups(model):
    return AdamW([{"params": list(head(model))}, {"params": list(model.body.parameters())}], lr=3e-4)
""",
    "no order for a set that grows": """
def groups(model):
    skip = {p for p in model.head.parameters()}
    skip |= {p for p in model.body.parameters()}
    return AdamW([{"params": list(skip)}], lr=3e-4)
""",
    "no list for what is stepped through": """
def groups(model):
    params = iter(model.parameters())
    first = next(params)
    decay = [p for p in params if p.ndim >= 2]
    rest = [p for p in params if p.ndim < 2]
    return AdamW([{"params": decay}, {"params": rest}, {"params": [first]}], lr=3e-4)
""",
    "no order for a set that is calculated with": """
def groups(model):
    a = {p for p in model.parameters() if p.ndim == 2}
    b = set(model.parameters()) - a
    return AdamW([{"params": list(a)}, {"params": list(b)}], lr=3e-4)
""",
    "no head that the file does not show": """
def groups(model):
    hidden = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    return Muon(hidden, lr=0.02), AdamW(others, lr=3e-4)
""",
    "no check without the model's name": """
def groups(build, prefix):
    first = [p for n, p in build().named_parameters() if n.startswith(prefix)]
    rest = [p for n, p in build().named_parameters() if n.endswith("bias")]
    return AdamW([{"params": first}, {"params": rest}], lr=3e-4)
""",
}


@pytest.mark.parametrize("why", NO_FIX)
def test_nothing_is_offered_that_may_be_wrong(why: str, tmp_path: Path) -> None:
    text = "from torch.optim import AdamW, Muon\n\n" + NO_FIX[why]
    found = [f for f in findings(text, tmp_path / "script.py") if f.code != "PML507"]
    assert found and all(f.fix is None or f.code in ("PML515", "PML516") for f in found), found
    if "check" in why:
        assert all(f.fix is None for f in found)


WALKED_HERE = """
from torch.optim import SGD, AdamW


def get_optim(params, args, named):
    \"\"\"Of what the script chose.\"\"\"
    if args.kind == "sgd":
        return SGD(params, lr=0.1)
    elif args.kind == "adam":
        filters = [p for n, p in named if p.ndim == 4]{choice}
        others = [p for n, p in named if p.ndim != 4]
        return AdamW([{{"params": filters, "lr": 1e-3}}, {{"params": others, "lr": 1e-4}}])
"""
MADE_THERE = """
from optims import get_optim


def main(model, args):
    return get_optim(model.parameters(), args, model.named_parameters())
"""


@pytest.mark.parametrize(("choice", "mends"), [("", True), (" if args.conv else []", False)])
def test_an_argument_becomes_a_list_only_where_it_is_walked(choice: str, mends: bool, tmp_path: Path) -> None:
    """Other callers may give None where the function walks nothing."""
    (tmp_path / "main.py").write_text(MADE_THERE, encoding="utf-8")
    text = WALKED_HERE.format(choice=choice)
    new, codes = mended(text, tmp_path / "optims.py")
    assert any(f.code == "PML503" for f in findings(text, tmp_path / "optims.py"))
    wrapped = text.replace("        filters = ", "        named = list(named)\n        filters = ")
    assert new == (wrapped if mends else text)
    assert ("PML503" in codes) == mends
