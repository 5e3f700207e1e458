"""Rules on options of groups in scripts, on where optimizers come from, and on several optimizers of one scope."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from paramlint import knowledge
from paramlint.checks import scripts
from paramlint.finding import Finding

KNOWN = knowledge.load()
CODES = ("PML301", "PML302", "PML303", "PML308", "PML512", "PML513")

SPLIT = """
    hidden = [p for n, p in model.named_parameters() if p.ndim >= 2 and "embed" not in n and "head" not in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim >= 2 and "embed" not in n and "head" not in n)]
"""

#: A Muon as projects keep their own, with the factor on lr in %s.
OWN = """
import torch


def zeropower(g):
    return g / g.norm()


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr=0.02, momentum=0.95):
        super().__init__(params, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                g = zeropower(p.grad) * group["momentum"]
                p.add_(g, alpha=-group["lr"] * %s)
"""
KELLER = "max(1, g.size(-2) / g.size(-1)) ** 0.5"
MATCHED = "0.2 * max(g.size(-2), g.size(-1)) ** 0.5"


def found(source: str, folder: Path, **others: str) -> list[Finding]:
    """What the rules of this file say of a script; `others` are modules beside it."""
    for name, text in others.items():
        (folder / f"{name}.py").write_text(dedent(text), encoding="utf-8")
    path = folder / "train.py"
    text = dedent(source)
    path.write_text(text, encoding="utf-8")
    every = scripts.examine(ast.parse(text), text, str(path), KNOWN)
    return [f for f in every if f.code in CODES]


def said(source: str, folder: Path, **others: str) -> list[tuple[str, str, str]]:
    """Code, severity and the text of the line of each finding."""
    lines = dedent(source).splitlines()
    return [
        (f.code, f.severity, lines[f.location.line - 1].strip() if f.location else "")
        for f in found(source, folder, **others)
    ]


def keller(groups: str, call: str = "SingleDeviceMuonWithAuxAdam(groups)") -> str:
    return f"""
from muon import SingleDeviceMuonWithAuxAdam


def build(model, cfg):
{SPLIT}
    groups = [
{groups}
    ]
    return {call}
"""


# PML301


def test_a_group_without_the_flag(tmp_path: Path) -> None:
    source = keller("        dict(params=hidden, use_muon=True, lr=0.02),\n        dict(params=rest, lr=3e-4),")
    (finding,) = found(source, tmp_path)
    assert (finding.code, finding.severity) == ("PML301", "error")
    assert finding.location is not None and "params=rest" in source.splitlines()[finding.location.line - 1]
    assert "use_muon" in finding.message and "False" in finding.help


def test_parameters_without_groups(tmp_path: Path) -> None:
    source = """
    from muon import SingleDeviceMuonWithAuxAdam

    def build(model):
        return SingleDeviceMuonWithAuxAdam(model.parameters())
    """
    assert [f.code for f in found(source, tmp_path)] == ["PML301"]


@pytest.mark.parametrize(
    "second",
    [
        "dict(params=rest, use_muon=False),",
        "dict(params=rest, **cfg.adam),",
        "{'params': rest, **cfg.adam},",
        "cfg.group(rest),",
    ],
)
def test_a_flag_that_is_there_or_may_be(second: str, tmp_path: Path) -> None:
    assert found(keller(f"        dict(params=hidden, use_muon=True),\n        {second}"), tmp_path) == []


def test_a_flag_that_is_set_later(tmp_path: Path) -> None:
    source = keller("        dict(params=hidden, use_muon=True),\n        dict(params=rest),").replace(
        "    return Single",
        "    groups[1]['use_muon'] = False\n    for g in groups:\n        g['use_muon'] = cfg.x\n    return Single",
    )
    assert found(source, tmp_path) == []


@pytest.mark.parametrize(("check", "codes"), [("assert 'use_muon' in group", ["PML301"]), ("pass", [])])
def test_a_class_of_the_project_insists_or_does_not(check: str, codes: list[str], tmp_path: Path) -> None:
    own = f"""
    import torch

    class HybridMuon(torch.optim.Optimizer):
        def __init__(self, param_groups):
            for group in param_groups:
                {check}
            super().__init__(param_groups, dict(lr=0.02))

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    if group["use_muon"]:
                        p.add_(zeropower(p.grad), alpha=-group["lr"])
                    else:
                        p.add_(p.grad.sign(), alpha=-group["lr"])

    def zeropower(g):
        return g
    """
    source = keller(
        "        dict(params=hidden, use_muon=True),\n        dict(params=rest),", "HybridMuon(groups)"
    ).replace("from muon import SingleDeviceMuonWithAuxAdam", "from hybrid import HybridMuon")
    assert [f.code for f in found(source, tmp_path, hybrid=own)] == codes


# PML302


def test_keys_that_an_exact_set_lacks(tmp_path: Path) -> None:
    source = keller(
        "        dict(params=hidden, use_muon=True, lr=0.02, nesterov=True),\n"
        "        dict(params=rest, use_muon=False, lr=3e-4, name='rest'),"
    )
    findings = found(source, tmp_path)
    assert [(f.code, f.severity) for f in findings] == [("PML302", "error")] * 2
    assert "`nesterov`" in findings[0].message and "`name`" in findings[1].message
    assert "`momentum`" in findings[0].help and "`betas`" in findings[1].help


def test_a_key_that_a_scheduler_adds_later_is_no_key_of_the_group(tmp_path: Path) -> None:
    source = keller(
        "        dict(params=hidden, use_muon=True, lr=0.02),\n        dict(params=rest, use_muon=False),",
        "start(SingleDeviceMuonWithAuxAdam(groups))",
    )
    source += "\n\ndef start(opt):\n    for g in opt.param_groups:\n        g['initial_lr'] = g['lr']\n    return opt\n"
    assert found(source, tmp_path) == []


def test_muon_does_not_look_at_a_flag(tmp_path: Path) -> None:
    source = f"""
import torch


def build(model):
{SPLIT}
    return torch.optim.Muon([
        {{"params": hidden, "use_muon": True}},
        {{"params": rest, "use_muon": False, "lr": 3e-4}},
    ], lr=0.02)
"""
    (finding,) = [f for f in found(source, tmp_path) if f.code == "PML302"]
    assert finding.severity == "error" and "orthogonalised all the same" in finding.message
    assert finding.location is not None and "False" in source.splitlines()[finding.location.line - 1]


def test_adamw_does_not_look_at_a_flag_either(tmp_path: Path) -> None:
    source = f"""
import torch


def build(model):
{SPLIT}
    return torch.optim.AdamW([dict(params=hidden, use_muon=True), dict(params=rest, use_muon=False)], lr=3e-4)
"""
    assert [(f.code, f.severity) for f in found(source, tmp_path)] == [("PML302", "warning")]
    read_back = source + "\n\ndef halves(opt):\n    return [g for g in opt.param_groups if g['use_muon']]\n"
    assert found(read_back, tmp_path) == []


def test_groups_that_serve_either_optimizer(tmp_path: Path) -> None:
    source = keller(
        "        dict(params=hidden, use_muon=True, lr=0.02),\n        dict(params=rest, use_muon=False),",
        "SingleDeviceMuonWithAuxAdam(groups) if cfg.muon else torch.optim.AdamW(groups)",
    ).replace("\n\ndef build", "\nimport torch\n\n\ndef build")
    assert found(source, tmp_path) == []


def test_keys_of_the_users_own_are_nobodys_business(tmp_path: Path) -> None:
    source = f"""
import torch


def build(model):
{SPLIT}
    return torch.optim.AdamW([dict(params=hidden, lr_scale=0.5, name="a"), dict(params=rest, initial_lr=1)], lr=3e-4)
"""
    assert found(source, tmp_path) == []


def test_arguments_that_a_class_does_not_take(tmp_path: Path) -> None:
    call = "Muon(model.blocks.parameters(), lr=0.02, {}=1)"
    source = "from own import Muon\n\n\ndef build(model, kw):\n    return " + call
    assert [f.code for f in found(source.format("rank"), tmp_path, own=OWN % KELLER)] == ["PML302"]
    assert found(source.format("momentum"), tmp_path, own=OWN % KELLER) == []
    open_ended = (OWN % KELLER).replace("momentum=0.95):", "momentum=0.95, **kw):")
    assert found(source.format("rank"), tmp_path, own=open_ended) == []


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ("torch.optim.Muon(p, lr=0.02, betas=(0.9, 0.95))", "betas"),
        ("torch.optim.Muon(p, lr=0.02, fused=True)", "fused"),
        ("torch.optim.AdamW(p, lr=1e-3, momentum=0.9)", "momentum"),
        ("torch.optim.AdamW(p, lr=1e-3, fused=True, some_new_switch=1)", None),
        ("torch.optim.Muon(p, lr=0.02, adjust_lr_fn='original')", None),
        ("torch.optim.SGD(p, lr=0.1, **kw)", None),
    ],
)
def test_arguments_that_torch_does_not_take(call: str, wrong: str | None, tmp_path: Path) -> None:
    source = f"import torch\n\n\ndef build(model, kw):\n    p = model.blocks.parameters()\n    return {call}\n"
    findings = found(source, tmp_path)
    assert [f.message.split("`")[1] for f in findings] == ([wrong] if wrong else [])


def test_a_class_that_derives_from_one_of_torch_has_arguments_of_its_own(tmp_path: Path) -> None:
    source = """
    import torch

    class Slow(torch.optim.AdamW):
        def __init__(self, params, momentum=0.9):
            super().__init__(params, lr=1e-3, betas=(momentum, 0.999))

    def build(model):
        return Slow(model.parameters(), momentum=0.8), Slow(model.parameters(), rank=0)
    """
    (finding,) = found(source, tmp_path)
    assert "`rank`" in finding.message


def test_a_name_that_may_be_another_class(tmp_path: Path) -> None:
    source = """
    import torch
    try:
        from torch.optim import Muon
    except ImportError:
        from own import Muon

    def build(model):
        return Muon(model.blocks.parameters(), lr=0.02, ns_steps=5)
    """
    assert found(source, tmp_path, own=OWN % KELLER) == []


# PML303


def two(muon: str, adam: str = "lr=3e-4", muon_from: str = "from torch.optim import Muon") -> str:
    return f"""
{muon_from}
from torch.optim import AdamW


def build(model, cfg):
{SPLIT}
    return Muon(hidden, {muon}), AdamW(rest, {adam})
"""


@pytest.mark.parametrize(
    ("muon", "adam", "speaks"),
    [
        ("lr=0.02", "lr=3e-4", False),
        ("lr=1e-3", "lr=3e-4", False),
        ("lr=3e-4", "lr=1e-3", True),
        ("lr=0.02, adjust_lr_fn='match_rms_adamw'", "lr=3e-4", True),
        ("lr=3e-4, adjust_lr_fn='match_rms_adamw'", "lr=3e-4", False),
        ("lr=0.02, adjust_lr_fn=cfg.adjust", "lr=3e-4", False),
        ("lr=1.0, adjust_lr_fn='match_rms_adamw'", "lr=1.0", False),
        ("lr=cfg.lr", "lr=cfg.lr", True),
        ("lr=cfg.lr, adjust_lr_fn='match_rms_adamw'", "lr=cfg.lr", False),
        ("lr=cfg.muon_lr", "lr=cfg.lr", False),
        ("lr=cfg.lr * 20", "lr=cfg.lr", False),
    ],
)
def test_learning_rates_of_torch(muon: str, adam: str, speaks: bool, tmp_path: Path) -> None:
    findings = found(two(muon, adam), tmp_path)
    assert [(f.code, f.severity) for f in findings] == [("PML303", "warning")] * speaks


@pytest.mark.parametrize(
    ("scale", "lr", "speaks"),
    [
        (KELLER, "3e-4", True),
        (KELLER, "0.02", False),
        (MATCHED, "0.02", True),
        (MATCHED, "3e-4", False),
        ("1", "3e-4", False),
    ],
)
def test_learning_rates_of_a_class_of_the_project(scale: str, lr: str, speaks: bool, tmp_path: Path) -> None:
    source = two(f"lr={lr}", "lr=1e-3", "from own import Muon")
    findings = found(source, tmp_path, own=OWN % scale)
    assert [f.code for f in findings] == ["PML303"] * speaks


def test_the_expected_updates_of_both_are_told(tmp_path: Path) -> None:
    (finding,) = found(two("lr=0.02, adjust_lr_fn='match_rms_adamw'"), tmp_path)
    assert "Muon at lr 0.02 moves a weight of 1024 x 1024 by about 0.004" in finding.details[0]
    assert "AdamW at lr 0.0003 moves a weight of 1024 x 1024 by about 6e-05" in finding.details[1]
    assert any("arxiv.org/abs/2502.16982" in d for d in finding.details)


def test_a_number_in_a_variable_is_followed(tmp_path: Path) -> None:
    source = two("lr=rate").replace("    return", "    rate = 3e-4\n    return")
    assert [f.code for f in found(source, tmp_path)] == ["PML303"]


def test_dion_gives_an_adam_group_its_own_rate(tmp_path: Path) -> None:
    source = f"""
from dion import Muon


def build(model):
{SPLIT}
    return Muon([dict(params=hidden), dict(params=rest, algorithm="adamw")], lr=0.02)
"""
    (finding,) = found(source, tmp_path)
    assert finding.code == "PML303" and "without lr" in finding.message
    assert found(source.replace('"adamw"', '"adamw", lr=3e-4'), tmp_path) == []


# PML308

WITH_MUON = """
from muon import SingleDeviceMuonWithAuxAdam


def build(model):
    hidden = [p for p in model.blocks.parameters() if p.ndim >= 2]
    rest = [p for p in model.blocks.parameters() if p.ndim < 2]
    return SingleDeviceMuonWithAuxAdam([dict(params=hidden, use_muon=True), dict(params=rest, use_muon=False)])
"""


@pytest.mark.parametrize(
    ("name", "text", "speaks"),
    [
        ("requirements.txt", "torch\nmuon\n", True),
        ("requirements-train.txt", "muon>=0.1.5  # the optimizer\n", True),
        ("requirements.txt", "muon-optimizer\n", False),
        ("requirements.txt", "# pip install muon\ntorch\n", False),
        ("requirements.txt", "muon @ git+https://github.com/KellerJordan/Muon\n", False),
        ("pyproject.toml", '[project]\nname = "x"\ndependencies = ["torch", "muon"]\n', True),
        ("pyproject.toml", '[project]\nname = "x"\noptional-dependencies = { train = ["muon==0.1.9"] }\n', True),
        ("pyproject.toml", '[tool.poetry.dependencies]\nmuon = "^0.1"\n', True),
        (
            "pyproject.toml",
            '[tool.poetry.dependencies]\nmuon = { git = "https://github.com/KellerJordan/Muon" }\n',
            False,
        ),
        (
            "pyproject.toml",
            '[project]\nname = "x"\ndependencies = ["muon"]\n[tool.uv.sources]\nmuon = { git = "https://x" }\n',
            False,
        ),
        ("pyproject.toml", "[project\n", False),
        ("setup.py", "from setuptools import setup\nsetup(name='x', install_requires=['torch', 'muon'])\n", True),
        ("README.md", "pip install muon\n", False),
    ],
)
def test_what_the_project_asks_for(name: str, text: str, speaks: bool, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / name).write_text(text, encoding="utf-8")
    findings = found(WITH_MUON, tmp_path)
    assert [(f.code, f.severity) for f in findings] == [("PML308", "error")] * speaks
    assert all(f.location is not None and f.location.line == 2 and name in f.message for f in findings)


@pytest.mark.parametrize(("asked", "speaks"), [("muon>=0.1", True), ("muon-optimizer", False)])
def test_what_the_script_asks_for(asked: str, speaks: bool, tmp_path: Path) -> None:
    header = f'# /// script\n# dependencies = [\n#   "torch[opt]",\n#   "{asked}",\n# ]\n# ///'
    assert [f.code for f in found(header + WITH_MUON, tmp_path)] == ["PML308"] * speaks


def test_a_module_of_the_project_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("muon\n", encoding="utf-8")
    own = "from own import Muon as SingleDeviceMuonWithAuxAdam\n"
    assert found(WITH_MUON, tmp_path, muon=own) == []


def test_the_omics_library_itself(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("muon\n", encoding="utf-8")
    source = "import muon\nfrom torch.optim import AdamW\n\n\ndef build(m):\n    return AdamW(m.parameters())\n"
    assert found(source, tmp_path) == []


# PML512


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("weight_decay=cfg.max_grad_norm", "cfg.max_grad_norm"),
        ("lr=args.weight_decay", "args.weight_decay"),
        ("betas=(cfg.lr, 0.95)", "cfg.lr"),
        ("eps=cfg['weight_decay']", "cfg['weight_decay']"),
        ("weight_decay=float(cfg.get('adam_eps', 0))", "float(cfg.get('adam_eps', 0))"),
        ("weight_decay=cfg.wd, eps=cfg.adam_epsilon, lr=cfg.learning_rate", None),
        ("betas=(cfg.momentum, 0.999)", None),
        ("weight_decay=cfg.l2", None),
        ("weight_decay=cfg.lr * 0.1", None),
        ("lr=cfg.head_lr", None),
        ("lr=cfg.adam.lr", None),
    ],
)
def test_values_of_other_settings(options: str, wrong: str | None, tmp_path: Path) -> None:
    source = (
        f"import torch\n\n\ndef build(model, cfg, args):\n    return torch.optim.AdamW(model.parameters(), {options})\n"
    )
    findings = found(source, tmp_path)
    assert [(f.code, f.severity) for f in findings] == [("PML512", "warning")] * (wrong is not None)
    assert all(f"`{wrong}`" in f.message for f in findings)


def test_values_in_a_group(tmp_path: Path) -> None:
    source = """
    import torch

    class Trainer:
        def optimizer(self):
            groups = [{"params": self.model.parameters(), "weight_decay": self.cfg.max_grad_norm}]
            return torch.optim.AdamW(groups, lr=self.cfg.lr)
    """
    assert [f.code for f in found(source, tmp_path)] == ["PML512"]


def test_calls_that_make_no_optimizer(tmp_path: Path) -> None:
    source = """
    import torch

    def build(model, cfg):
        report(weight_decay=cfg.max_grad_norm)
        return torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    """
    assert found(source, tmp_path) == []


# PML513


def loop(body: str, made: str = "", after: str = "") -> str:
    return f"""
import torch


def train(model, cfg, data):
{SPLIT}
    muon = torch.optim.Muon(hidden, lr=0.02)
    adam = torch.optim.AdamW(rest, lr=3e-4)
{made}
    for x in data:
        model(x).backward()
{body}
{after}
"""


BOTH = "        muon.step()\n        adam.step()\n"


@pytest.mark.parametrize(
    ("body", "after", "says"),
    [
        ("        muon.step()\n        muon.zero_grad()\n        adam.zero_grad()", "", "never stepped"),
        ("        muon.step()\n        model.zero_grad()", "", "never stepped"),
        (BOTH + "        muon.zero_grad()", "", "never zeroed"),
        (
            BOTH + "        muon.zero_grad()\n        adam.zero_grad()",
            "    torch.save({'model': model.state_dict(), 'muon': muon.state_dict()}, cfg.path)",
            "not saved",
        ),
        (
            BOTH + "        model.zero_grad()\n        torch.save([muon.state_dict(), adam.state_dict()], cfg.path)",
            "    muon.load_state_dict(torch.load(cfg.path)[0])",
            "never restored",
        ),
    ],
)
def test_one_is_left_out(body: str, after: str, says: str, tmp_path: Path) -> None:
    source = loop(body, after=after)
    (finding,) = found(source, tmp_path)
    assert (finding.code, finding.severity) == ("PML513", "warning")
    assert "`adam`" in finding.message and says in finding.message and "muon" in finding.help
    assert finding.location is not None and "adam = " in source.splitlines()[finding.location.line - 1]


@pytest.mark.parametrize(
    "body",
    [
        BOTH + "        muon.zero_grad()\n        adam.zero_grad()",
        BOTH + "        model.zero_grad()",
        BOTH + "        muon.zero_grad()\n        for p in rest:\n            p.grad = None",
        "        muon.step()\n        scaler.step(adam)",
        "        for opt in (muon, adam):\n            opt.step()",
        "        muon.step()\n        advance(adam)",
        "        muon.step()\n        if adam is not None:\n            adam.step()",
        "        muon.step()\n        other = adam\n        other.step()",
    ],
)
def test_all_are_seen_to_or_may_be(body: str, tmp_path: Path) -> None:
    assert found(loop(body), tmp_path) == []


@pytest.mark.parametrize(
    "made",
    [
        "    both = [muon, adam]\n    for o in both:\n        o.step()",
        "    cfg.engine.register(adam)",
        "    adam = cfg.accelerator.prepare(adam)",
        "    cfg.optimizers['adam'] = adam",
    ],
)
def test_one_goes_where_it_is_not_seen(made: str, tmp_path: Path) -> None:
    assert found(loop("        muon.step()", made), tmp_path) == []


def test_schedulers_do_not_hide_an_optimizer(tmp_path: Path) -> None:
    made = "    sched = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 10)"
    assert [f.code for f in found(loop("        muon.step()\n        sched.step()", made), tmp_path)] == ["PML513"]


def test_alternatives_are_not_several(tmp_path: Path) -> None:
    source = """
    import torch

    def train(model, cfg, data):
        if cfg.muon:
            first = torch.optim.Muon(model.blocks.parameters(), lr=0.02)
        else:
            second = torch.optim.AdamW(model.parameters(), lr=3e-4)
        for x in data:
            first.step()
    """
    assert [f for f in found(source, tmp_path) if f.code == "PML513"] == []


def test_one_that_is_made_after_the_other_has_done_its_work(tmp_path: Path) -> None:
    source = """
    import torch

    def test_resume(model, path):
        first = torch.optim.AdamW(model.parameters(), lr=3e-4)
        first.step()
        torch.save(first.state_dict(), path)
        second = torch.optim.AdamW(model.parameters(), lr=3e-4)
        second.load_state_dict(torch.load(path))
        assert second.state_dict()["state"]
    """
    assert found(source, tmp_path) == []


AGENT = """
import torch


class Agent{base}:
    def __init__(self, actor, critic):
        self.actor_opt = torch.optim.AdamW(actor.parameters(), lr=3e-4)
        self.critic_opt = torch.optim.AdamW(critic.parameters(), lr=3e-4)

    def update(self, loss):
        self.actor_opt.zero_grad()
        self.critic_opt.zero_grad()
        loss.backward()
        self.actor_opt.step()
"""


def test_optimizers_of_a_class(tmp_path: Path) -> None:
    (finding,) = found(AGENT.format(base=""), tmp_path)
    assert "`self.critic_opt` is never stepped" in finding.message
    assert found(AGENT.format(base="(Trainer)"), tmp_path) == []
    assert found(AGENT.format(base="") + "\n\ndef later(agent):\n    agent.critic_opt.step()\n", tmp_path) == []
    unused = AGENT.format(base="").replace("        self.critic_opt.zero_grad()\n", "")
    assert found(unused, tmp_path) == []
