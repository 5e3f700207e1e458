"""What becomes of a script's options, schedulers and submodules where its optimizer is replaced in place."""

from __future__ import annotations

import pytest
import test_in_place as scripts
import torch
from test_in_place import HEAD, put, run, small

from paramlint.errors import ParamlintError


def test_a_scheduler_takes_two_optimizers_for_one() -> None:
    source = (
        "import torch\nfrom torch.optim.lr_scheduler import CosineAnnealingLR\n\nmodel = build()\n"
        "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)\n"
        "scheduler = CosineAnnealingLR(optimizer, T_max=2)\n\n\n"
        "def train(x):\n    optimizer.zero_grad()\n    model(x).sum().backward()\n    optimizer.step()\n"
        "    scheduler.step()\n"
    )
    result = put(source)
    assert not any("cheduler" in note for note in result.notes)
    scope = run(result.text, build=small)
    assert isinstance(scope["optimizer"], torch.optim.Optimizer)
    scope["train"](torch.zeros(2, dtype=torch.long))
    halved = [g["lr"] for each in scope["optimizer"].optimizers for g in each.param_groups]
    assert halved == pytest.approx([0.01, 5e-4, 5e-4])


def test_schedulers_with_an_lr_of_their_own_are_told() -> None:
    source = HEAD + "opt = torch.optim.AdamW(model.parameters())\n"
    cycle = source + "s = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-3)\n"
    note = "train.py:5: give OneCycleLR an lr for each group, in a list, and cycle_momentum=False: they differ now"
    assert note in put(cycle).notes
    assert not any("OneCycleLR" in n for n in put(source + "def OneCycleLR():\n    pass\n").notes)
    assert not any("OneCycleLR" in n for n in put(cycle, "adamw").notes)  # lr is one


@pytest.mark.parametrize(
    ("call", "expected", "found"),
    [
        ("AdamW(model.parameters(), eps=1e-6, fused=True)", "eps=1e-6, fused=True", {"eps": 1e-6, "fused": True}),
        ("Adam(model.parameters(), 1, amsgrad=True)", "adamw_lr=1, amsgrad=True", {"lr": 1, "amsgrad": True}),
        ("AdamW(model.parameters(), **extra)", 'foreach=extra.get("foreach", None)', {"foreach": True}),
    ],
)
def test_options_of_adam_go_to_the_adamw_half(call: str, expected: str, found: dict[str, object]) -> None:
    result = put(HEAD + f"extra = {{'foreach': True}}\nopt = torch.optim.{call}\n")
    assert f"Together(build_optimizer(model, {expected}))" in result.text
    assert not any("dropped" in n for n in result.notes)
    muon, adamw = run(result.text, build=small)["opt"].optimizers
    assert all(group.items() >= found.items() for group in adamw.param_groups)
    assert muon.param_groups[0]["eps"] == 1e-7 and "fused" not in muon.param_groups[0]


@pytest.mark.parametrize(
    ("call", "gone"),
    [
        ("AdamW(model.parameters(), maximize=True, eps=1e-6)", "maximize=True"),  # Muon's half would go the other way
        ("NAdam(model.parameters(), eps=1e-6)", "eps=1e-6"),
        ("Muon(model.parameters(), nesterov=False)", "nesterov=False"),
    ],
)
def test_what_is_dropped_is_told(call: str, gone: str) -> None:
    result = put(HEAD + f"opt = torch.optim.{call}\n")
    assert f"dropped, without a counterpart in torch-muon: {gone}" in result.notes
    assert gone not in result.text


@pytest.mark.parametrize(
    ("call", "optimizer", "told"),
    [
        ("AdamW(model.parameters())", "torch-muon", ["weight_decay=0.1", "betas=(0.9, 0.95)"]),
        ("AdamW(model.parameters(), weight_decay=0)", "torch-muon", ["betas=(0.9, 0.95)"]),
        ("SGD(model.parameters(), 0.1)", "torch-muon", ["weight_decay=0.1"]),
        ("RMSprop(model.parameters())", "adamw", ["weight_decay=0.01"]),
        ("AdamW(model.parameters())", "keller", ["betas=(0.9, 0.95)"]),
        ("SGD(model.parameters(), 0.1)", "sgd", []),
        ("AdamW(model.parameters())", "adamw", []),
    ],
)
def test_defaults_of_another_class_are_told(call: str, optimizer: str, told: list[str]) -> None:
    notes = put(HEAD + f"opt = torch.optim.{call}\n", optimizer).notes
    assert [n.partition(" is new: ")[0] for n in notes if " is new: " in n] == told
    if told and call.startswith("AdamW(model.parameters())"):
        assert "betas=(0.9, 0.95) is new: AdamW had (0.9, 0.999) by default" in notes


def test_what_a_mapping_may_lack_is_told() -> None:
    notes = put(HEAD + "opt = torch.optim.AdamW(model.parameters(), **kw)\n").notes
    assert "read from kw where it has them: weight_decay, betas, lr; what else it has is dropped" in notes
    assert "weight_decay=0.1 is new where kw has none: AdamW had 0.01 by default" in notes
    stays = put(HEAD + "opt = torch.optim.AdamW(model.parameters(), **kw)\n", "adamw").notes
    assert "read from kw where it has them: lr, weight_decay" in stays


# The planned model is a Sequential with the children 0 to 5


def in_class(name: str, model: str) -> str:
    return f"import torch\n\n\nclass {name}:\n    def configure(self):\n        return torch.optim.AdamW({model})\n"


@pytest.mark.parametrize(
    "source",
    [
        HEAD + "opt = torch.optim.AdamW(model.head.parameters())\n",
        HEAD + "opt = torch.optim.AdamW([p for p in model.blocks[1].parameters() if p.requires_grad])\n",
        HEAD + "opt = torch.optim.AdamW(ddp.module.head.parameters())\n",
        in_class("Lit", "self.model.head.parameters()"),
        in_class("Net", "self.head.parameters()"),
    ],
)
def test_a_part_of_the_planned_model_is_refused(source: str) -> None:
    with pytest.raises(
        ParamlintError, match=r"train\.py:\d: AdamW is given the parameters of .*, and the plan is for"
    ) as e:
        scripts.rewrite(source, "train.py", None, net())
    assert "all of Net; name what builds that part as the target" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(
    "source",
    [
        HEAD + "opt = torch.optim.AdamW(model.parameters())\n",
        HEAD + "opt = torch.optim.AdamW(ddp.module.parameters())\n",
        HEAD + "opt = torch.optim.AdamW(trainer.other.parameters())\n",
        HEAD + "head = model.head\nopt = torch.optim.AdamW(head.parameters())\n",
        in_class("Lit", "self.head.parameters()"),  # what a class of another name calls so is a model
        in_class("Lit", "self.model.parameters()"),
        in_class("Net", "self.parameters()"),
    ],
)
def test_what_may_be_the_whole_model_is_not(source: str) -> None:
    assert "param_groups(" in scripts.rewrite(source, "train.py", None, net()).text


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(10, 8)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(2))
        self.head = torch.nn.Linear(8, 10)


def net() -> scripts.Generated:
    known = scripts.knowledge.load()
    inventory = scripts.paramlint.inspect(Net(), trace=False)
    made, profile = scripts.plan(inventory, known, "adamw"), known.profile("adamw")
    return scripts.Generated(scripts.generate(made, inventory, profile), profile, made, known)
