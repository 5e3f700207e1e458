"""What the rules on scripts say of what is given to Muon."""

from __future__ import annotations

import pytest
from script_rules import KNOWN, RULES, codes, said

from paramlint.linting import lint_text

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


def test_a_muon_that_is_not_read_has_the_first_of_two_lists() -> None:
    body = """\
from lab import Muon as Other
a = [p for p in model.parameters() if p.ndim >= 2]
b = [p for p in model.parameters() if p.ndim < 2]
return Other(a, b, lr=0.02, adamw_lr=3e-4)
"""
    assert [code for code, _ in codes(body)] == ["PML509"]
