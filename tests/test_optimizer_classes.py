"""Optimizer classes in sources: which classes are looked at, what is said of them, and what a class tells of itself.

Each rule's plain cases are on its page (tests/test_source_pages.py); here are the forms that real classes have.
"""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent, indent

import pytest
import torch

from paramlint import knowledge
from paramlint.checks.optimizer_classes import examine
from paramlint.finding import Finding
from paramlint.source import imports
from paramlint.source.class_facts import optimizer_class, optimizers
from paramlint.source.script import OptimizerClass

KNOWN = knowledge.load()
IMPORTS = "import math\nimport torch\nfrom torch import optim\nfrom torch.optim import Optimizer\n\n\n"


def said(source: str) -> tuple[Finding, ...]:
    return examine(ast.parse(source), source, "m.py", KNOWN)


def codes(source: str) -> set[str]:
    """The codes of what is found, but for the rule that is off by default."""
    return {f.code for f in said(source)} - {"PML612"}


def stepping(body: str, *, bases: str = "Optimizer", after: str = "") -> str:
    """A class without a fault whose step does this with each parameter `p` of a `group`, and what stands below it."""
    lines = indent(dedent(body).strip(), " " * 16)
    return f"""{IMPORTS}class Own({bases}):
    def __init__(self, params, lr=0.1):
        if lr < 0:
            raise ValueError(lr)
        super().__init__(params, dict(lr=lr, betas=(0.9, 0.99), weight_decay=0.0))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
{lines}
        return loss
{after}"""


def built(body: str) -> str:
    """A class without a fault but for what its constructor does, which begins with `def __init__`."""
    head, _, _ = stepping("pass").partition("    def __init__")
    rest = (
        "    @torch.no_grad()"
        + stepping("p.add_(p.grad, alpha=-group['lr']) if p.grad is not None else None").partition(
            "    @torch.no_grad()"
        )[2]
    )
    return f"{head}{indent(dedent(body).strip(), '    ')}\n\n{rest}"


# Which classes


@pytest.mark.parametrize(
    "source",
    [
        "import torch\nclass Own(torch.optim.Optimizer):",
        "import torch as T\nclass Own(T.optim.Optimizer):",
        "from torch import optim as o\nclass Own(o.Optimizer):",
        "from torch.optim.optimizer import Optimizer as Base\nclass Own(Base):",
        "from torch.optim import *\nclass Own(Optimizer):",
        "try:\n    from torch.optim import Optimizer\nexcept ImportError:\n    pass\nclass Own(Optimizer):",
        "import torch\nclass Base(torch.optim.Optimizer):\n    pass\nclass Own(Base):",
        "import abc, torch\nclass Own(abc.ABC, torch.optim.Optimizer):",
        "import torch\nclass Own(torch.optim.AdamW):",
        "def make():\n    import torch\n    class Own(torch.optim.Optimizer):\n        pass\nclass Own(make):",
    ],
)
def test_optimizers_are_known_by_what_they_derive_from(source: str) -> None:
    tree = ast.parse(source + "\n    pass")
    assert "Own" in {c.name for c in optimizers(tree, imports.read(tree), KNOWN)}


@pytest.mark.parametrize(
    "source",
    [
        "from enum import Enum\nimport torch\nclass Optimizer(Enum):\n    pass\nclass Own(Optimizer):",
        "from keras import Optimizer\nimport torch\nclass Own(Optimizer):",
        "import torch\nclass Own(torch.nn.Module):",
        "class Own(torch.optim.Optimizer):",
        "import torch\nclass Own(Own):",
    ],
)
def test_other_classes_are_not(source: str) -> None:
    tree = ast.parse(source + "\n    pass")
    assert not optimizers(tree, imports.read(tree), KNOWN)


def test_torch_s_own_optimizers_are_without_fault() -> None:
    folder = Path(torch.optim.__file__).parent
    files = sorted(folder.glob("*.py"))
    relative, absolute = "from .optimizer import", "from torch.optim.optimizer import"
    texts = {p.name: p.read_text(encoding="utf-8").replace(relative, absolute) for p in files}
    found = {name: said(text) for name, text in texts.items()}
    classes = [c for t in texts.values() for c in optimizers(ast.parse(t), imports.read(ast.parse(t)), KNOWN)]
    assert len(classes) > 10
    faults = [(name, f.code, f.location) for name, found_in in found.items() for f in found_in if f.code != "PML612"]
    assert not faults


def test_findings_come_in_the_order_of_lines_and_count_characters() -> None:
    source = stepping('step = p.grad; äöü = torch.add; p.mul_(2).add_(1, step) if "ö" else p.sub_(2, step)')
    found = [f for f in said(source) if f.code == "PML607"]
    line = source.splitlines().index(next(x for x in source.splitlines() if "äöü" in x))
    columns = [source.splitlines()[line].index(text) + 1 for text in ("p.mul_", "p.sub_")]
    assert [(f.location.line, f.location.column) for f in found if f.location] == [(line + 1, c) for c in columns]
    places = [(f.location.line, f.location.column) for f in said(source) if f.location]
    assert places == sorted(places)


def test_a_helper_of_two_classes_is_spoken_of_once() -> None:
    body = "update(p.grad)"
    one = stepping(f"{body} if p.grad is not None else None")
    two = one.partition("class Own")[2].replace("(Optimizer)", "Other(Optimizer)", 1)
    source = f"{one}\n\nclass Own{two}\n\ndef update(grad):\n    return grad.mul_(2)\n"
    assert [f.code for f in said(source) if f.code != "PML612"] == ["PML613"]


# What is said

SKIP = "if p.grad is None:\n    continue\n"


@pytest.mark.parametrize(
    ("test", "validated"),
    [
        ("if not 0.0 <= lr:\n    raise ValueError", True),
        ("assert lr > 0", True),
        ("if lr is None:\n    lr = 0.1", False),
        ("if lr == 0:\n    raise ValueError", False),
        ("self.validate_learning_rate(lr)", True),
        ("for name, value in {'lr': lr}.items():\n    assert value > 0, name", True),
        ("print(lr)", False),
    ],
)
def test_ways_to_validate_the_lr(test: str, validated: bool) -> None:
    body = f"def __init__(self, params, lr):\n{indent(test, '    ')}\n    super().__init__(params, dict(lr=lr))"
    assert codes(built(body)) == (set() if validated else {"PML601"})


def test_a_base_in_the_file_validates_for_its_heirs() -> None:
    heir = "\n\nclass Heir(Own):\n    def __init__(self, params, lr=1.0):\n        super().__init__(params, lr)\n"
    assert codes(stepping(SKIP + "p.add_(p.grad)", after=heir)) == set()


def test_what_a_base_elsewhere_does_is_not_known() -> None:
    body = "def __init__(self, params, lr):\n    super().__init__(params, dict(lr=lr))"
    source = (
        built(body).replace("Own(Optimizer)", "Own(Checks, Optimizer)").replace("import math", "from x import Checks")
    )
    assert codes(source) == set()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("for p in params:\n    p.seen = True\nsuper().__init__(params, dict(eps=1))", {"PML611"}),
        ("assert all(p.ndim == 2 for p in params)\nsuper().__init__(params, dict(eps=1))", {"PML611"}),
        ("given = list(params)\nsuper().__init__(given, dict(eps=1))\nfor p in params:\n    print(p)", {"PML611"}),
        ("params = list(params)\nfor p in params:\n    print(p)\nsuper().__init__(params, dict(eps=1))", set()),
        ("groups = [{'params': [p]} for p in params]\nsuper().__init__(groups, dict(eps=1))", set()),
        ("assert isinstance(params, list)\nprint(*params)\nsuper().__init__(params, dict(eps=1))", set()),
        ("super().__init__(params, dict(eps=1))\nfor group in self.param_groups:\n    print(group)", set()),
        ("super().__init__(params, {})", {"PML606"}),
        ("defaults = dict()\nsuper().__init__(params, defaults=defaults)", {"PML606"}),
        ("defaults = {}\ndefaults['eps'] = 1\nsuper().__init__(params, defaults)", set()),
        ("Optimizer.__init__(self, params, dict(eps=1))", set()),
        ("super(Own, self).__init__(params, dict(eps=1))", set()),
        ("self.param_groups = list(params)", {"PML610"}),
        ("self.__dict__.update(params.__dict__)", set()),
    ],
)
def test_constructors(body: str, expected: set[str]) -> None:
    assert codes(built(f"def __init__(self, params):\n{indent(body, '    ')}")) == expected


# What a class tells of itself

NS = """

def zeropower(G, steps=5):
    X = G / G.norm()
    for _ in range(steps):
        A = X @ X.T
        X = 1.5 * X - 0.5 * A @ X
    return X
"""


def told(source: str) -> OptimizerClass:
    tree = ast.parse(source)
    definitions = {n.name: n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in ("Own", "Both"))
    return optimizer_class(node, imports.read(tree), KNOWN, definitions)


@pytest.mark.parametrize(
    ("body", "kind", "profile"),
    [
        (SKIP + "p.add_(zeropower(p.grad))", "muon", "keller-muon"),
        (SKIP + "p.add_(renamed(p.grad))", "muon", "keller-muon"),
        (SKIP + "g = p.grad\nif g.ndim == 4:\n    g = g.view(len(g), -1)\np.add_(zeropower(g))", "muon", "keller-muon"),
        (SKIP + "if p.ndim != 2:\n    raise ValueError\np.add_(zeropower(p.grad))", "muon", "keller-muon"),
        (SKIP + "u = zeropower(p) if p.size(0) > 9 else zeropower(p.T).T\np.add_(u)", "muon", "keller-muon"),
        (SKIP + "if p.ndim >= 2:\n    p.add_(zeropower(p.grad))\nelse:\n    p.add_(p.grad)", "routed", "heavyball"),
        (SKIP + "if p.ndim < 2:\n    p.add_(p.grad)\n    continue\np.add_(zeropower(p.grad))", "routed", "heavyball"),
        (SKIP + "p.add_(zeropower(p.grad) if p.ndim == 2 else p.grad)", "routed", None),
        (SKIP + "if id(p) in self.matrices:\n    p.add_(zeropower(p.grad))\nelse:\n    p.add_(p.grad)", "routed", None),
        (SKIP + "p.add_(zeropower(p.grad) if group['use_muon'] else p.grad)", "routed", "pytorch-optimizer"),
        (SKIP + "p.add_(zeropower(p) if hasattr(p, 'is_muon') else p)", "routed", None),
        (SKIP + "p.add_(zeropower(p) if self.is_matrix(p) else p)", "routed", None),
        (SKIP + "p.add_(zeropower(p) if group['nesterov'] else zeropower(-p))", "muon", "keller-muon"),
        (SKIP + "flag = group['algorithm'] == 'muon'\np.add_(zeropower(p) if flag else p)", "routed", "dion-muon"),
        (SKIP + "p.add_(p.grad, alpha=-group['lr'])\nb = group['betas']", "adam", "adamw"),
        (SKIP + "p.add_(p.grad, alpha=-group['lr'])", "adam", "sgd"),
        (SKIP + "p.add_(elsewhere(p.grad))", "unknown", None),
        (SKIP + "p.add_(self.left[p] @ p.grad)", "unknown", None),
        (SKIP + "p.add_(torch.linalg.qr(p.grad)[0])", "unknown", None),
    ],
)
def test_who_updates_what(body: str, kind: str, profile: str | None) -> None:
    found = told(stepping(body, after=NS + NS.replace("zeropower", "renamed")))
    assert (found.kind, found.profile, found.assumed) == (kind, profile, profile is not None)


def test_tests_in_a_helper_route_too() -> None:
    after = "\n\ndef muon_update(p):\n    if p.ndim < 2:\n        p.add_(1)\n        return\n    p.add_(zeropower(p))\n"
    assert told(stepping(SKIP + "muon_update(p)", after=after + NS)).kind == "routed"
    whole = "\n\ndef muon_update(p):\n    if p.ndim > 2:\n        p = p.flatten(1)\n    p.add_(zeropower(p))\n"
    assert told(stepping(SKIP + "muon_update(p)", after=whole + NS)).kind == "muon"


def test_exact_keys_and_two_lists() -> None:
    exact = """
        def __init__(self, groups):
            for group in groups:
                assert set(group.keys()) == {"params", "lr", "use_muon"}
            super().__init__(groups, dict())
    """
    step = "if group['use_muon']:\n    p.add_(zeropower(p.grad))\nelse:\n    p.add_(p.grad, alpha=group['lr'])"
    body = stepping(step, after=NS)
    source = body.replace(
        body[body.index("    def __init__") : body.index("    @torch")], indent(dedent(exact), "    ") + "\n"
    )
    found = told(source)
    assert (found.kind, found.profile, found.reads) == ("routed", "keller", frozenset({"params", "lr", "use_muon"}))
    lists = stepping("if self.state[p]['use_muon']:\n    p.add_(zeropower(p.grad))", after=NS)
    lists = lists.replace("params, lr=0.1", "muon_params, adamw_params=(), lr=0.1")
    assert (told(lists).kind, told(lists).profile) == ("routed", "moonlight")


@pytest.mark.parametrize(
    ("body", "reads"),
    [
        ("x = group['lr'] + group.get('eps', 0)", {"params", "lr", "eps"}),
        ("x = 'lr_mult' in group and self.param_groups[0]['scale']", {"params", "lr_mult", "scale"}),
        ("x = self.work(group)", {"params", "inside"}),
        ("x = dict(**group)", None),
        ("x = [group[k] for k in self.keys]", None),
    ],
)
def test_keys_that_a_class_reads(body: str, reads: set[str] | None) -> None:
    after = "\n    def work(self, group):\n        return group['inside']\n"
    found = told(stepping(body, after=after)).reads
    assert found == (None if reads is None else frozenset(reads))


def test_what_a_class_inherits_its_step_from() -> None:
    assert told("import torch\nclass Own(torch.optim.Adam):\n    pass") == OptimizerClass("Own", "adam", kind="adam")
    muon = told("from torch.optim import Muon\nclass Own(Muon):\n    pass")
    assert (muon.kind, muon.profile, muon.assumed) == ("muon", "torch-muon", False)
    assert told("import torch\nclass Own(torch.optim.NAdam):\n    pass").kind == "adam"
    assert told("import torch\nclass Own(torch.optim.Optimizer):\n    pass").kind == "unknown"


def test_a_class_that_makes_its_own_optimizers() -> None:
    source = (
        IMPORTS
        + """class Both(Optimizer):
    def __init__(self, params):
        self.muon, self.adam = optim.Muon(params), optim.AdamW(params)

    def step(self):
        self.muon.step()
        self.adam.step()
"""
    )
    assert told(source).kind == "routed"
