"""PML505: which tests that can never hold are spoken of."""

from __future__ import annotations

from textwrap import indent

import pytest
from test_needles import said


def built(loop: str, *, helper: str = "", call: str = "") -> str:
    """A function that makes an optimizer of three lists, which a loop fills, and calls a helper."""
    return f"""
{helper}

def groups(model, least):
    a, b, c = [], [], []
    {call}
    for n, p in model.named_parameters():
{indent(loop, " " * 8)}
    return AdamW([{{"params": a}}, {{"params": b, "lr": 0.1}}, {{"params": c, "lr": 0.2}}], lr=1e-3)
"""


@pytest.mark.parametrize(
    ("loop", "dead"),
    [
        ("if 'head' in n:\n    a.append(p)\nelif 'head' in n:\n    b.append(p)", True),
        ("if 'head' in n:\n    continue\na.append(p)\nif 'lm_head' in n:\n    print(n)", False),
        ("if 'head' in n:\n    continue\na.append(p)\nif 'head' in n:\n    print(n)", False),
    ],
)
def test_a_branch_matters_where_a_group_hangs_on_it(loop: str, dead: bool) -> None:
    assert ("PML505" in dict(said(built(loop)))) == dead


NORMS = """
def norms(model, names=None):
    for n, p in model.named_parameters():
        if names is not None and n not in names:
            continue
        if p.ndim == 2:
            print(n, p.norm())
"""
SPLIT = """
def split(model, skip, least):
    a, b, c = [], [], []
    for n, p in model.named_parameters():
        if {first}:
            a.append(p)
        elif 'lm_head' in n:
            b.append(p)
        else:
            c.append(p)
    return a, b, c
"""


def test_a_function_that_builds_no_groups_is_left_alone() -> None:
    call = "norms(model, [n for n, p in model.named_parameters() if p.ndim == 4])"
    assert "PML505" not in dict(said(built("a.append(p)", helper=NORMS, call=call)))


@pytest.mark.parametrize(
    ("first", "call", "dead"),
    [
        ("'head' in n", "split(model, (), 2)", True),
        ("'head' in n or skip.all", "split(model, args, 2)", True),
        ("skip in n", "split(model, 'head', 2)", False),
        ("any(k in n for k in skip)", "split(model, ['head', 'norm'], 2)", False),
        ("'head' in n and p.ndim >= least", "split(model, (), 0)", False),
    ],
)
def test_what_today_s_callers_ask_for_rules_nothing_out(first: str, call: str, dead: bool) -> None:
    source = built("pass", helper=SPLIT.format(first=first)).replace(
        "a, b, c = [], [], []\n    \n", f"a, b, c = {call}\n"
    )
    assert ("PML505" in dict(said(source))) == dead


def test_an_option_hangs_on_a_branch_too() -> None:
    source = """
    def groups(model):
        made = []
        for n, p in model.named_parameters():
            lr = 1e-3
            if "head" in n:
                lr = 2e-3
            elif "lm_head" in n:
                lr = 3e-3
            made.append({"params": [p], "lr": lr})
        return AdamW(made)
    """
    assert "PML505" in dict(said(source))
    assert "PML505" not in dict(said(source.replace('"lr": lr', '"lr": 1e-3')))
