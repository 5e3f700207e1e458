"""The check that a script is given of its groups: where it stands, of which models, and that it changes no group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_script_fixes import comments, loaded
from test_source_pages import KNOWN
from torch import nn

from paramlint.linting import lint_text
from paramlint.rewrite import apply

IMPORTS = """
from types import SimpleNamespace

from torch import nn
from torch.optim import SGD, Adam, AdamW

"""


def checked(source: str, path: Path) -> str:
    """The text with its checks in, where there is a fix that inserts them."""
    text = IMPORTS + source
    found = lint_text(text, str(path), KNOWN, codes={"PML515", "PML516"})
    assert found
    result = apply(text, [f.fix for f in found if f.fix is not None]).text
    assert comments(result) == comments(text)
    return result


def added(source: str, path: Path) -> tuple[str, str]:
    """The line that the check comes after, and what it says of the models."""
    rows = checked(source, path).splitlines()
    (at,) = [i for i, row in enumerate(rows) if row.strip().startswith("grouped = ")]
    return rows[at - 1].strip(), " ".join(" ".join(rows[at + 2 :]).split())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.tok = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)


SIZES = {
    "behind the optimizer": """
def make(model: nn.Module):
    groups = [{"params": model.body.parameters()}, {"params": [*model.tok.parameters(), *model.head.parameters()]}]
    opt = AdamW(groups, lr=1e-3)
    return opt
""",
    "behind the last group": """
def make(model):
    weights, biases = [], []
    for m in model.modules():
        for n, p in m.named_parameters(recurse=False):
            (biases if n == "bias" else weights).append(p)
    opt = SGD(biases, lr=0.1)
    if weights:
        opt.add_param_group({"params": weights, "weight_decay": 0.1})
    return opt
""",
    "behind the chain": """
def make(model: nn.Module, kind="sgd"):
    rest = [*model.tok.parameters(), *model.head.parameters()]
    groups = [{"params": list(model.body.parameters())}, {"params": rest}]
    if kind == "adam":
        opt = Adam(groups, lr=0.1)
    elif kind == "sgd":
        opt = SGD(groups, lr=0.1)
    else:
        raise ValueError(kind)
    return opt
""",
    "of lists": """
def make(model, cfg=SimpleNamespace(prefix="body")):
    body = [p for n, p in model.named_parameters() if n.startswith(cfg.prefix)]
    rest = [p for n, p in model.named_parameters() if not n.startswith("body")]
    return AdamW([{"params": body}, {"params": rest}], lr=0.1)
""",
}


@pytest.mark.parametrize("name", SIZES)
def test_the_groups_stay_as_they_are(name: str, tmp_path: Path) -> None:
    """Run before and after: a check that walks an iterator would leave the optimizer nothing."""
    path = tmp_path / "script.py"
    text = checked(SIZES[name], path)
    assert text.count("assert ") == 2
    sizes = []
    for one in (IMPORTS + SIZES[name], text):
        path.write_text(one, encoding="utf-8")
        made: Any = loaded(path).make(Net())
        sizes.append([len(g["params"]) for g in made.param_groups])
    assert sizes[0] == sizes[1] and sum(sizes[0]) == 6
    incomplete = text.replace("*model.tok.parameters(), ", "").replace('startswith("body")', 'startswith(("b", "t"))')
    incomplete = incomplete.replace(".append(p)", ".append(p) if m is not model.tok else None")
    path.write_text(incomplete, encoding="utf-8")
    with pytest.raises(AssertionError, match="a parameter is in no group"):
        loaded(path).make(Net())


PLACES = {
    "of what a holder calls its model": (
        """
class Lit(LightningModule):
    def configure_optimizers(self):
        enc = list(self.model.encoder.parameters())
        rest = [p for n, p in self.model.named_parameters() if "encoder" not in n]
        opt = AdamW([{"params": enc, "lr": 1e-5}, {"params": rest}], lr=1e-3)
        return opt
""",
        "opt = AdamW(",
        "self.model.parameters()",
    ),
    "of the module itself": (
        """
class GPT(nn.Module):
    def configure_optimizers(self):
        opt = AdamW([{"params": self.h.parameters()}, {"params": self.wte.parameters()}], lr=1e-3)
        return opt
""",
        "opt = AdamW(",
        "p in self.parameters()",
    ),
    "of both models": (
        """
def main(gen: nn.Module, disc: nn.Module):
    opt_g = AdamW([{"params": gen.body.parameters()}, {"params": gen.head.parameters()}], lr=1e-3)
    opt_d = AdamW([{"params": disc.body.parameters()}, {"params": disc.head.parameters()}], lr=1e-3)
    return opt_g, opt_d
""",
        "opt_d = AdamW(",
        "for m in (gen, disc) for p in m.parameters()",
    ),
    "in the one branch that makes these groups": (
        """
def main(model: nn.Module, stage):
    if stage == 1:
        opt = AdamW([{"params": model.body.parameters(), "lr": 1e-5}, {"params": model.head.parameters()}], lr=1e-3)
    else:
        opt = AdamW(model.head.parameters(), lr=1e-3)
    return opt
""",
        "opt = AdamW([",
        "p in model.parameters()",
    ),
    "behind a chain without an else": (
        """
def build(model: nn.Module, kind):
    groups = [{"params": list(model.body.parameters())}, {"params": list(model.head.parameters())}]
    if kind == "adam":
        opt = Adam(groups, lr=0.1)
    elif kind == "sgd":
        opt = SGD(groups, lr=0.1)
    return opt
""",
        "opt = SGD(",
        "p in model.parameters()",
    ),
    "of the model as this function calls it": (
        """
class GPT(nn.Module):
    def setup(self):
        opt = AdamW([{"params": list(self.h.parameters())}, {"params": list(self.wte.parameters())}], lr=1e-3)
        return opt


model = GPT()
optimizer = model.setup()
""",
        "opt = AdamW(",
        "p in self.parameters()",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_where_it_stands_and_of_what(name: str, tmp_path: Path) -> None:
    source, before, models = PLACES[name]
    row, said = added(source, tmp_path / "script.py")
    assert row.startswith(before) and models in said


NONE = {
    "before groups are returned that are iterators": """
def groups(model: nn.Module):
    groups = [{"params": model.body.parameters()}, {"params": model.head.parameters(), "lr": 1e-4}]
    return AdamW(groups, lr=1e-3)
""",
    "before iterators are returned": """
def groups(model: nn.Module, lr):
    body = model.body.parameters()
    head = (p for p in model.head.parameters() if p.requires_grad)
    return AdamW([{"params": body, "lr": lr}, {"params": head}], lr=1e-3)
""",
    "of settings": """
def main(args):
    opt = Adam([{"params": args.actor.parameters()}, {"params": args.critic.parameters(), "lr": 1e-3}])
    return opt
""",
    "of a dict": """
class Trainer:
    def __init__(self, models, lr):
        self.models = models
        self.optimizer = Adam([
            {"params": self.models["pose"].parameters(), "lr": lr},
            {"params": self.models["depth"].parameters(), "lr": lr * 3},
        ])
""",
    "of what is in a dict": """
class Trainer:
    def __init__(self, nets):
        self.net = nets["g"]
        self.opt = AdamW([{"params": self.net.body.parameters()}, {"params": self.net.head.parameters()}], lr=1e-3)
""",
    "of something that nothing shows to be a module": """
def main(agent):
    opt = Adam([{"params": agent.actor.parameters()}, {"params": agent.critic.parameters(), "lr": 1e-3}])
    return opt
""",
    "where groups are added elsewhere": """
def main(model: nn.Module):
    opt = Adam([{"params": model.body.parameters()}, {"params": model.neck.parameters(), "lr": 1e-3}])
    return opt


def thaw(opt, model):
    opt.add_param_group({"params": model.head.parameters()})
""",
    "over the stages of two models": """
def main(first: nn.Module, second: nn.Module):
    model = first
    opt = AdamW(model.body.parameters(), lr=0.1)
    model = second
    opt2 = AdamW(model.body.parameters(), lr=0.1)
    opt3 = AdamW(model.head.parameters(), lr=0.1)
    return opt, opt2, opt3
""",
    "over optimizers that take each other's place": """
class Net(nn.Module):
    def make(self):
        opt = AdamW(self.body.parameters(), lr=0.1)
        later = SGD(self.body.parameters(), lr=0.1)
        return opt, later
""",
    "of a model that a setting leaves away": """
def main(model: nn.Module, extra: nn.Module, cfg):
    groups = [{"params": list(model.parameters())}]
    if cfg.use_extra:
        groups += [{"params": list(extra.body.parameters())}, {"params": list(extra.head.parameters())}]
    opt = AdamW(groups, lr=0.1)
    return opt
""",
    "of what a loop went through": """
def main(models, lr):
    first, rest = [], []
    for model in models:
        for n, p in model.named_parameters():
            (first if n.startswith(lr.prefix) else rest).append(p)
    opt = AdamW([{"params": first}, {"params": [p for p in rest if p.ndim > lr.most]}], lr=0.1)
    return opt
""",
    "in one line with more": """
def main(model: nn.Module):
    if True: opt = Adam([{"params": model.a.parameters()}, {"params": model.b.parameters()}]); print(opt)
""",
}


@pytest.mark.parametrize("name", NONE)
def test_none_that_would_be_wrong(name: str, tmp_path: Path) -> None:
    assert "grouped" not in checked(NONE[name], tmp_path / "script.py")
