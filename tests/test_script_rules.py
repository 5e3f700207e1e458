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
