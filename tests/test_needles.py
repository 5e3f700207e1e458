"""Rules on tests of names and on branches: what scripts say of parameters by their names."""

from __future__ import annotations

from textwrap import dedent

import pytest
import torch
from torch import nn

from paramlint import knowledge
from paramlint.finding import Finding
from paramlint.linting import lint_text
from paramlint.model import facts
from paramlint.model.trace.found import traced
from paramlint.parameter import Inventory
from paramlint.rewrite import apply
from paramlint.roles.judge import judge

KNOWN = knowledge.load()
CODES = ("PML505", "PML506", "PML507", "PML510", "PML511", "PML514", "PML517")
HEAD = "import torch\nfrom torch.optim import AdamW, Muon\n\n\n"


def lint(source: str, *, inventory: Inventory | None = None) -> tuple[Finding, ...]:
    return lint_text(HEAD + dedent(source).strip() + "\n", "train.py", KNOWN, codes=CODES, inventory=inventory)


def said(source: str, *, inventory: Inventory | None = None) -> list[tuple[str, str]]:
    return [(f.code, f.severity) for f in lint(source, inventory=inventory)]


def split(*tests: str, before: str = "", last: str = "rest.append(p)") -> str:
    """A function whose loop sends parameters, by one test after the other, to Muon and to AdamW in turn."""
    lines = ["def groups(model, args):", "    muon, rest = [], []", "    for n, p in model.named_parameters():"]
    lines += [f"        {line}" for line in before.splitlines()]
    for i, test in enumerate(tests):
        lines += [f"        {'elif' if i else 'if'} {test}:", f"            {'rest' if i % 2 else 'muon'}.append(p)"]
    lines += ["        else:", f"            {last}", "    return Muon(muon, lr=0.02), AdamW(rest, lr=1e-3)"]
    return "\n".join(lines)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.q_proj = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.fc2(torch.relu(self.fc1(torch.tanh(self.q_proj(self.norm1(x))))))


class Net(nn.Module):
    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.tok = nn.Embedding(500, 32)
        self.blocks = nn.ModuleList(Block(32) for _ in range(2))
        self.multihead_mix = nn.Linear(32, 32)
        self.lm_head = nn.Linear(32, 500, bias=False)
        if tied:
            self.lm_head.weight = self.tok.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tok(ids)
        for block in self.blocks:
            x = block(x)
        return self.lm_head(torch.relu(self.multihead_mix(x)))


def inventory_of(tied: bool) -> Inventory:
    with torch.device("meta"):
        model = Net(tied)
    return judge(traced(model, facts.inventory(model)), KNOWN.policy("default"))


NET, TIED = inventory_of(False), inventory_of(True)


# Branches


@pytest.mark.parametrize(
    ("tests", "dead"),
    [
        (("p.ndim == 2", "'embed' in n and p.ndim == 2"), True),
        (("'head' in n", "'lm_head' in n"), True),
        (("n.endswith('weight')", "n == 'embed.weight'"), True),
        (("p.ndim >= 2", "p.ndim == 2 or p.ndim == 3"), True),
        (("p.ndim == 2 and 'embed' not in n", "'embed' in n and p.ndim == 2"), False),
        (("'lm_head' in n", "'head' in n"), False),
        (("'HEAD' in n", "'head' in n"), False),
        (("args.all", "'head' in n"), False),
        (("args.all and 'head' in n", "'head' in n and not args.all"), False),
        (("args.all", "args.all and 'head' in n"), False),  # the settings rule it out, not what comes before
        (("n in args.names", "'head' in n"), False),
    ],
)
def test_a_branch_that_nothing_is_left_for(tests: tuple[str, ...], dead: bool) -> None:
    assert [c for c, _ in said(split(*tests)) if c == "PML505"] == ["PML505"] * dead


def test_branches_after_continue_and_in_comprehensions() -> None:
    source = split("'head' in n", before="if 'head' in n:\n    rest.append(p)\n    continue")
    (found,) = [f for f in lint(source) if f.code == "PML505"]
    assert found.location is not None and found.location.line == 11
    assert "PML505" in dict(
        said("def f(model):\n    return AdamW([p for n, p in model.named_parameters() if p.ndim > 2 and p.ndim < 2])")
    )


def test_a_test_that_refuses_is_meant_never_to_hold() -> None:
    body = "if p.ndim == 2:\n    muon.append(p)\n    continue\nif p.ndim == 2:\n    raise ValueError(n)"
    assert "PML505" not in dict(said(split("p.ndim == 1", before=body)))


def test_a_helper_that_is_called_twice_is_judged_over_both_calls() -> None:
    source = """
    def chosen(model, dims):
        found = []
        for n, p in model.named_parameters():
            if p.ndim < 2:
                continue
            if p.ndim == dims:
                found.append(p)
        return found


    def groups(model):
        return AdamW([{"params": chosen(model, 1)}, {"params": chosen(model, 2)}], lr=1e-3)
    """
    assert "PML505" not in dict(said(source))
    assert "PML505" in dict(said(source.replace("chosen(model, 2)", "chosen(model, 0)")))


@pytest.mark.parametrize(
    ("tests", "before", "found"),
    [
        (("'attn' in n", "p.ndim < 2"), "", True),
        (("'attn' in n and p.ndim == 2", "p.ndim < 2"), "", False),
        (("'attn' in n", "'embed' in n"), "", False),  # dimensions are tested nowhere
        (("'attn' in n", "p.ndim == 2"), "if p.ndim < 2:\n    rest.append(p)\n    continue", False),
        (("'attn' in n and 'bias' not in n and 'norm' not in n", "p.ndim < 2"), "", False),
        (("'attn' in n and 'bias' not in n", "p.ndim < 2"), "", True),
        (("n.endswith('attn.weight')", "p.ndim < 2"), "", False),
    ],
)
def test_names_that_let_vectors_into_muon(tests: tuple[str, ...], before: str, found: bool) -> None:
    assert ("PML514" in dict(said(split(*tests, before=before)))) == found


# Case, and wrappers


def test_the_case_is_mended_where_the_string_is_written() -> None:
    source = split("p.ndim == 2 and not any(k in n.lower() for k in ('LayerNorm', 'bias'))")
    (found,) = [f for f in lint(source) if f.code == "PML510"]
    assert found.fix is not None and not found.fix.safe
    text = HEAD + source + "\n"
    assert apply(text, [found.fix]).text == text.replace("'LayerNorm'", "'layernorm'")


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("'Norm' in n.lower()", True),
        ("n.lower().startswith('Head')", True),
        ("n.lower().split('.')[0] == 'Head'", True),
        ("'norm' in n.upper()", True),
        ("'Norm' in n", False),
        ("'norm' in n.lower()", False),
        ("'Norm'.lower() in n.lower()", False),
        ("'H' in n.lower().replace('head', 'HEAD')", False),
        ("args.name.lower() == 'Muon'", False),
    ],
)
def test_capitals_in_lower_case_names(test: str, found: bool) -> None:
    assert ("PML510" in dict(said(split(test)))) == found


WRAPPED = """
def groups(model):
    head, rest = [], []
    for n, p in model.named_parameters():
        (head if {test} else rest).append(p)
    return AdamW([{{"params": head, "lr": 1e-2}}, {{"params": rest}}], lr=1e-3)


def main(args):
    model = make(args)
    {line}
    return groups({given})
"""


@pytest.mark.parametrize(
    ("test", "line", "given", "found"),
    [
        ("n.startswith('head.')", "model = torch.compile(model)", "model", True),
        ("n == 'head'", "model = torch.nn.parallel.DistributedDataParallel(model)", "model", True),
        ("n.startswith('head.')", "pass", "model", False),
        ("n.startswith('head.')", "model = torch.compile(model)", "model._orig_mod", False),
        ("n.startswith('head.')", "raw = torch.compile(model)", "model", False),
        ("n.startswith('_orig_mod.head.')", "model = torch.compile(model)", "model", False),
        ("n.replace('_orig_mod.', '').startswith('head.')", "model = torch.compile(model)", "model", False),
        ("'head.' in n", "model = torch.compile(model)", "model", False),
        ("n.endswith('head')", "model = torch.compile(model)", "model", False),
    ],
)
def test_names_of_a_wrapped_model(test: str, line: str, given: str, found: bool) -> None:
    source = WRAPPED.format(test=test, line=line, given=given)
    assert ("PML511", "note") in said(source) if found else "PML511" not in dict(said(source))


# Needles, without a model and over one


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("p.ndim == 2 and 'proj' not in n", True),
        ("p.ndim == 2 and not any(k in n for k in ('wte', 'head', 'ln'))", True),
        ("p.ndim == 2 and 'proj' in n", False),  # chosen for Muon by it
        ("p.ndim == 2 and 'proj' not in n.split('.')", False),
        ("p.ndim == 2 and n.split('.')[0] != 'head'", False),
        ("p.ndim == 2 and 'lm_head' not in n and 'embed' not in n", False),
    ],
)
def test_short_needles_without_a_model(test: str, found: bool) -> None:
    assert [s for c, s in said(split(test)) if c == "PML507"] == ["note"] * found


@pytest.mark.parametrize(
    ("needle", "severity", "hit"),
    [
        ("proj", "warning", "blocks.0.q_proj.weight"),
        ("head", "warning", "multihead_mix.weight"),
        ("fc", "warning", "blocks.0.fc1.weight"),
        ("lm_head", None, ""),
        ("q_proj", None, ""),  # this one says what it is about
    ],
)
def test_what_a_needle_takes_of_a_model(needle: str, severity: str | None, hit: str) -> None:
    source = split(f"p.ndim == 2 and 'tok' not in n and {needle!r} not in n and 'lm_head' not in n")
    found = [f for f in lint(source, inventory=NET) if f.code == "PML507"]
    assert [f.severity for f in found] == [severity] * (severity is not None)
    assert all(hit in f.parameters for f in found)


def test_the_share_of_what_is_kept_out_of_muon() -> None:
    (found,) = [f for f in lint(split("p.ndim == 2 and 'fc' not in n"), inventory=NET) if f.code == "PML507"]
    matrices = [p for p in NET.parameters if p.destination == "muon"]
    share = sum(p.numel for p in matrices if "fc" in p.name) / sum(p.numel for p in matrices)
    assert f"{100 * share:.0f} %" in found.message


DECAY = """
def groups(model):
    decayed, others = [], []
    for n, p in model.named_parameters():
        if {test}:
            others.append(p)
        else:
            decayed.append(p)
    return AdamW([{{"params": decayed, "weight_decay": 0.1}}, {{"params": others, "weight_decay": 0.0}}], lr=1e-3)
"""


@pytest.mark.parametrize(
    ("test", "severity"),
    [
        ("'bias' in n or 'LayerNorm' in n", "warning"),
        ("any(k in n for k in ('bias', 'LayerNorm.weight', 'ln'))", "warning"),
        ("'bias' in n or 'norm' in n", None),
        ("'bias' in n or 'norm' in n or 'LayerNorm' in n", "note"),
        ("p.ndim < 2 or 'LayerNorm' in n", "note"),
        ("p.ndim < 2 or 'wpe' in n", "note"),  # the model has no positions
        ("p.ndim < 2 or 'time_embed' in n", "note"),  # not the embedding that the model has
        ("p.ndim < 2 or n == 'embed.weight'", "warning"),
        ("p.ndim < 2 or n.startswith('model.tok')", None),  # a part of the model that is meant
        ("p.ndim < 2 or n.startswith('module.head')", None),
    ],
)
def test_needles_that_match_nothing(test: str, severity: str | None) -> None:
    found = [s for c, s in said(DECAY.format(test=test), inventory=NET) if c == "PML506"]
    assert found == [severity] * (severity is not None)


def test_the_parameters_that_a_dead_needle_misses_and_where_it_is_written() -> None:
    source = DECAY.format(test="any(k in n for k in NO_DECAY)").strip()
    (found,) = lint("NO_DECAY = ['bias',\n    'LayerNorm']\n" + source, inventory=NET)
    assert found.parameters == ("blocks.0.norm1.weight", "blocks.1.norm1.weight")
    assert found.location is not None and (found.location.line, found.location.column) == (6, 5)


def test_a_dead_needle_that_leaves_muon_without_parameters() -> None:
    (found,) = [f for f in lint(split("p.ndim == 2 and 'layers' in n"), inventory=NET) if f.code == "PML506"]
    assert found.severity == "warning" and "empty" in found.message


def test_a_needle_that_an_earlier_branch_leaves_nothing_for_is_not_dead() -> None:
    assert "PML506" not in dict(said(split("p.ndim == 2", "'fc1' in n"), inventory=NET))


def test_the_name_of_a_tied_weight_is_a_name() -> None:
    source = split("p.ndim == 2 and 'tok' not in n and 'lm_head' not in n")
    assert said(source, inventory=TIED) == []


# Tied heads


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("p.ndim == 2 and 'tok' not in n", True),
        ("p.ndim == 2 and n.startswith('blocks')", False),
        ("p.ndim == 2 and 'tok' not in n and p is not model.lm_head.weight", False),
        ("p.ndim == 2", False),  # the tied tensor is in Muon as it is
    ],
)
def test_a_head_that_is_out_of_muon_since_it_is_tied(test: str, found: bool) -> None:
    assert ("PML517" in dict(said(split(test), inventory=TIED))) == found
    assert "PML517" not in dict(said(split(test), inventory=NET))


def test_a_long_chain_has_a_dead_branch_only_where_one_name_holds_another() -> None:
    names = [f"part{i}" for i in range(10, 34)]
    chain = split(*(f"{n!r} in n and p.ndim == {2 + i % 2}" for i, n in enumerate(names)))
    assert "PML505" not in dict(said(chain))
    assert "PML505" in dict(said(chain.replace("'part33'", "'part10.weight'").replace("p.ndim == 3", "p.ndim == 2")))
