"""What scripts do with defaults, with values that parameters share, and in which order."""

from __future__ import annotations

import pytest
from script_rules import GROUPS, KNOWN, RULES, TOP, codes, said

from paramlint.linting import lint_text

DEFAULTS = {
    "lower case": "(model, name='adamw')\nname = name.lower()\nif name == 'muon':",
    "an alternative": "(model, name=None)\nname = name or 'adamw'\nif name == 'muon':",
    "under another name": "(model, name='adamw')\nkind = str(name).strip().lower()\nif kind in ('muon', 'muon+adamw'):",
    "set where it is missing": "(model, name=None)\nif name is None:\n    name = 'adamw'\nif name == 'muon':",
    "an empty configuration": "(model, cfg=None)\ncfg = cfg or {}\nif cfg.get('optimizer') == 'muon':",
    "one that is made": "(model, cfg=None)\nif cfg is None:\n    cfg = {}\nif cfg.get('optimizer', 'adamw') == 'muon':",
    "a choice": "(model, flag=False)\nname = 'muon' if flag else 'adamw'\nif name == 'muon':",
    "a test kept": "(model, name='adamw')\non = name == 'muon'\nif on:",
    "and more": "(model, flag=False)\non = flag and args.available\nif on:",
    "a truth value": "(model, flag=False)\non = bool(flag)\nif on:",
    "an attribute": "(model, name='adamw')\nargs.name = name.lower()\nif args.name == 'muon':",
    "a helper": "(model, name='adamw')\nname = tidy(name)\nif name == 'muon':",
    "counted up": "(model, level=0)\nlevel += 1\nif level > 2:",
    "a match": "(model, name='adamw')\nname = name.lower()\nmatch name:\n  case 'muon':",
}


@pytest.mark.parametrize("form", DEFAULTS)
def test_the_branch_that_a_default_does_not_take(form: str) -> None:
    """What is computed from a default is one: a user may give another value."""
    head, *rows = DEFAULTS[form].split("\n")
    depth = 4 if rows[-1].startswith("  ") else 2
    rows += [" " * depth + "return Muon(model.parameters(), lr=0.02)", "return AdamW(model.parameters(), lr=1e-3)"]
    text = (
        TOP
        + "def tidy(text):\n  return text.lower()\n\n\n"
        + f"def groups{head}:\n"
        + "".join(f"  {r}\n" for r in rows)
    )
    found = lint_text(text, "train.py", KNOWN, codes=RULES)
    assert [(f.code, f.location and f.location.line) for f in found] == [("PML508", text.count("\n") - 1)]


@pytest.mark.parametrize(
    "rows",
    [
        "name = name.lower()\nif name == 'muon':\n  name = 'adamw'\nif name == 'muon':\n  bad()",
        "name = 'adamw'\nif name == 'muon':\n  bad()",
        "on = name == 'muon'\nif on and name != 'muon':\n  bad()",
        "for name in ['adamw', 'sgd']:\n  if name == 'muon':\n    bad()",
    ],
)
def test_a_value_that_no_user_can_give(rows: str) -> None:
    body = rows.replace("bad()", "return Muon(model.parameters(), lr=0.02)").replace("\n", "\n  ")
    text = TOP + f"def groups(model, name='adamw'):\n  {body}\n  return AdamW(model.parameters(), lr=1e-3)\n"
    assert lint_text(text, "train.py", KNOWN, codes=RULES) == ()


def test_values_keep_their_defaults() -> None:
    """Only tests are read with defaults left open: 2 is the number of dimensions here."""
    text = TOP + (
        "def groups(model, least=None, rate=3e-4):\n"
        "    least = least or 2\n"
        "    a = [p for p in model.parameters() if p.ndim >= least]\n"
        "    b = [p for p in model.parameters() if p.ndim < 2]\n"
        f"    return {GROUPS}\n"
    )
    assert lint_text(text, "train.py", KNOWN, codes=RULES) == ()


UNSTABLE = ("p.dtype", "p.device", "str(p.shape)", "(p.dtype, p.ndim)", "type(p)", "p")
STABLE = ("p.shape", "tuple(p.shape)", "p.numel()", "p.ndim", "p.shape[0]", "(p.ndim, p.numel())", "p.ndim > 1")


@pytest.mark.parametrize("key", UNSTABLE + STABLE)
def test_the_order_of_a_set(key: str) -> None:
    """Numbers hash alike in every run, and tuples of them."""
    loop = "one group for each:"
    body = f"""
groups = []
for {loop.split()[0]} in {{{key} for p in model.parameters()}}:
    groups.append({{"params": [p for p in model.parameters() if {key} == one]}})
return AdamW(groups, lr=1e-3)
"""
    assert codes(body) == ([("PML106", 2)] if key in UNSTABLE else [])


def test_the_order_of_indices() -> None:
    made = "return AdamW([p for i in {%s} for p in model.layers[i].parameters()], lr=1e-3)"
    assert codes(made % "0, 1, 2") == []
    assert codes(made % "'left', 'right'") == [("PML106", 1)]


MATRICES = """
a = [p for n, p in model.named_parameters() if p.ndim == 2 and "bias" not in n]
b = [p for n, p in model.named_parameters() if p.ndim != 2 or "bias" in n]
groups = [dict(params=b, weight_decay=0.0)]
"""
SHARED = {
    "sorted({p.shape for p in a})": "p.shape == one",
    "set(p.shape for p in a)": "one == p.shape",
    "sorted({tuple(p.shape) for p in a})": "tuple(p.shape) == one and p.requires_grad",
    "list(dict.fromkeys(p.numel() for p in a))": "p.numel() == one",
    "dict.fromkeys(p.shape[0] for p in a)": "p.size(0) == one",
    "sorted(list(set([p.ndim for p in a])))": "p.dim() == one",
    "sorted({p.dtype for p in a}, key=str)": "p.dtype is one",
}


@pytest.mark.parametrize("over", SHARED)
def test_a_group_for_each_value_that_parameters_have(over: str) -> None:
    loop = f"for one in {over}:\n    groups.append(dict(params=[p for p in %s if {SHARED[over]}], lr=0.1))\n"
    end = "return AdamW(groups, lr=1e-3)"
    assert codes(MATRICES + loop % "a" + end) == []
    assert codes(MATRICES + loop % "a" + loop % "a" + end)[0][0] == "PML502"
    (other,) = said(MATRICES + loop % "model.parameters()" + end)
    assert other.code == "PML515" and all("q." in d for d in other.details)


def test_parts_that_have_values_in_common() -> None:
    """The list is filled at two places: of a shape that both have there is one group."""
    body = """
a, b = [], []
for n, p in model.named_parameters():
    if p.ndim == 2 and "attn" in n:
        a.append(p)
    elif p.ndim == 2 and "mlp" in n:
        a.append(p)
    else:
        b.append(p)
groups = [dict(params=b)]
for shape in sorted({p.shape for p in a}):
    groups.append(dict(params=[p for p in a if p.shape == shape]))
return AdamW(groups, lr=1e-3)
"""
    assert codes(body) == []
    repeated = body.replace("sorted({p.shape for p in a})", "[p.shape for p in a]")
    assert [code for code, _ in codes(repeated)] == ["PML515"]


def test_two_groups_in_each_turn() -> None:
    body = """
groups = []
for shape in sorted({p.shape for p in model.parameters()}):
    groups.append({"params": [p for p in model.parameters() if p.shape == shape], "lr": 0.1})
    groups.append({"params": [p for p in model.parameters() if p.shape == shape], "lr": 0.2})
return AdamW(groups, lr=1e-3)
"""
    assert [code for code, _ in codes(body)] == ["PML502"]
