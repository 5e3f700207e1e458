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


SPLIT = """
hidden, rest = [], []
for n, p in model.named_parameters():
    (hidden if p.ndim == 2 and "embed" not in n and "lm_head" not in n else rest).append(p)
"""


@pytest.mark.parametrize(
    "groups",
    [
        "AutoMuon([dict(params=hidden, use_muon=True), dict(params=rest, use_muon=False)])",
        "AutoMuon([dict(params=hidden, use_muon=True), dict(params=rest)])",
        'AutoMuon([dict(params=hidden, kind="muon"), dict(params=rest, kind="adamw")])',
        "AutoMuon([dict(params=hidden, force_adam=False), dict(params=rest, force_adam=True)])",
        'AutoMuon([dict(params=hidden, name="muon"), dict(params=rest, name="adamw")])',
        "AutoMuon([dict(params=model.parameters(), use_muon=False)])",
        "AutoMuon(model.named_parameters(), lr=0.02)",
        "AutoMuon(model.parameters(), adamw_lr=3e-4)",
        "AutoMuon(model.parameters(), model=model)",
        "AutoMuon(model.parameters(), model)",
        'AutoMuon(model.parameters(), exclude=("embed", "lm_head"))',
        'AutoMuon(model.parameters(), last_layer_names=["head"])',
        "build_muon(model.named_parameters(), lr=0.02, adamw_lr=3e-4)",
    ],
)
def test_a_muon_that_is_not_read_may_know_more(groups: str) -> None:
    assert codes(f"{SPLIT}\nfrom mylab.optim import AutoMuon, build_muon\nreturn {groups}") == []


@pytest.mark.parametrize(
    "call",
    [
        "AutoMuon(model.parameters(), lr=0.02, momentum=0.95)",
        'AutoMuon([dict(params=model.parameters(), lr=0.02, name="all")])',
        "AutoMuon([dict(params=hidden, lr=0.02), dict(params=rest, weight_decay=0.0)])",
    ],
)
def test_a_muon_that_is_not_read_and_told_nothing(call: str) -> None:
    assert {code for code, _ in codes(f"{SPLIT}\nfrom mylab.optim import AutoMuon\nreturn {call}")} == {"PML508"}


FLAGS_ITS_GROUPS = """
from somewhere.base import Base


class Muon(Base):
    def __init__(self, params, lr=0.02):
        super().__init__(params, dict(lr=lr))

    def step(self):
        for group in self.param_groups:
            if {test}:
                for p in group["params"]:
                    p.add_(zeropower(p.grad), alpha=-group["lr"])
            else:
                self.adam(group)


def groups(model):
    return Muon(model.parameters(), lr=0.02)
"""


def test_a_class_whose_base_is_not_read() -> None:
    def found(test: str) -> list[str]:
        text = FLAGS_ITS_GROUPS.format(test=test)
        return [f.code for f in lint_text(text, "train.py", KNOWN, codes=RULES)]

    assert found('group["use_muon"]') == []
    assert found('group["params"][0].ndim >= 2') == ["PML508"]


def test_each_model_is_looked_at_by_itself() -> None:
    def found(last: str) -> list[tuple[str, int]]:
        body = f"{SPLIT.strip()}\nfirst = Muon(hidden), AdamW(rest)\n{last}"
        return [f for f in codes(body) if f[0] in ("PML508", "PML509")]

    assert found("return first, Muon(args.parameters())") == [("PML508", 5)]
    assert found("return first, Muon([p for p in args.parameters() if p.ndim > 1])") == [("PML509", 5)]
    two = "a = [p for p in model.parameters() if p.ndim > 1]\nb = [p for p in args.parameters() if p.ndim > 1]\n"
    assert [line for code, line in codes(two + "return Muon(a), Muon(b)") if code == "PML509"] == [1, 2]


def test_a_muon_of_hidden_layers_beside_one_of_all() -> None:
    body = f"{SPLIT.strip()}\nfirst = Muon(hidden)\nreturn first, Muon(model.parameters())"
    assert [line for code, line in codes(body) if code == "PML508"] == [5]


PAST = [
    'p.ndim == 2 and n.endswith(".weight")',
    'p.ndim == 2 and "weight" in n',
    'p.ndim >= 2 and "norm" not in n and not n.endswith("bias")',
    '"bias" not in n',
    "p.ndim == 2 and p.size(0) > 1 and p.size(1) > 1",
    "p.ndim == 2 and min(p.shape) > 1",
]
APART = [
    'p.ndim == 2 and "weight" in n and "emb" not in n',
    'p.ndim == 2 and "bias" not in n and "pos_embed" not in n',
    'p.ndim == 2 and "bias" not in n and n != "tokens.weight"',
    'p.ndim == 2 and "bias" not in n and "final" not in n',
    'p.ndim == 2 and "bias" not in n and "blocks." in n',
    'p.ndim == 2 and "lora" in n',
    "p.ndim == 2 and p.size(0) < 10000",
    'p.ndim == 2 and "bias" not in n and id(p) not in args.kept',
]


@pytest.mark.parametrize(("test", "seen"), [(t, True) for t in PAST] + [(t, False) for t in APART])
def test_names_that_tell_nothing_of_embeddings_and_heads(test: str, seen: bool) -> None:
    body = f"a = [p for n, p in model.named_parameters() if {test}]\nreturn Muon(a, lr=0.02)"
    found = [f for f in said(body) if f.code == "PML509"]
    assert [f.location.line for f in found if f.location] == [6] * seen
    assert all("those called `embed_tokens.weight` or `lm_head.weight`" in f.message for f in found)
    assert "PML509" not in dict(codes(body.replace("model.named", "model.blocks.named")))


@pytest.mark.parametrize(
    ("params", "seen"),
    [
        ("params = list(model.blocks.parameters()) if args.some else model.parameters()", [("PML508", 2)]),
        ("params = model.parameters() if args.all else model.blocks.parameters()", [("PML508", 2)]),
        (
            'params = [p for n, p in model.named_parameters() if "bias" not in n] if args.some else model.parameters()',
            [("PML509", 1), ("PML508", 2)],
        ),
        ("params = list(model.blocks.parameters()) if args.use_muon else model.parameters()", []),
        ("params = model.blocks.parameters() if args.some else model.layers.parameters()", []),
    ],
)
def test_alternatives(params: str, seen: list[tuple[str, int]]) -> None:
    found = codes(f"{params}\nreturn Muon(params, lr=0.02)")
    assert [f for f in found if f[0] in ("PML508", "PML509")] == seen


def test_alternatives_of_another_optimizer() -> None:
    body = """
if args.name == "adamw":
    params = model.parameters()
else:
    params = model.blocks.parameters()
return AdamW(params) if args.name == "adamw" else Muon(params)
"""
    assert codes(body) == []
