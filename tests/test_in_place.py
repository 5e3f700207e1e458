"""`codegen --in-place`: a script's optimizer gets the right groups, and nothing else in the script changes."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paramlint
from paramlint import knowledge
from paramlint.codegen.generate import generate
from paramlint.codegen.in_place import Generated, Rewritten, diff, read_source, replace_file, rewrite
from paramlint.errors import ParamlintError
from paramlint.planning import plan

EXAMPLES = Path(__file__).parent.parent / "examples"


def small() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(10, 8), nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 10)
    )


@cache
def generated(optimizer: str) -> Generated:
    known = knowledge.load()
    inventory = paramlint.inspect(small())
    made = plan(inventory, known, optimizer, target="m.py:small")
    profile = known.profile(optimizer)
    return Generated(generate(made, inventory, profile), profile, made, known)


def put(source: str, optimizer: str = "torch-muon", line: int | None = None) -> Rewritten:
    return rewrite(source, "train.py", line, generated(optimizer))


def changed(source: str, optimizer: str = "torch-muon", line: int | None = None) -> str:
    """The lines that are not of the inserted block and were not there, joined."""
    return "\n".join(x[2:] for x in edits(source, put(source, optimizer, line).text) if x.startswith("+ "))


def edits(old: str, new: str) -> list[str]:
    """Lines with their marks; the inserted definitions are left out."""
    rows = list(difflib.ndiff(old.splitlines(), outside(new).splitlines()))
    return [row for row in rows if row[0] in "+-"]


def outside(text: str) -> str:
    """The text of a script without the definitions that were put in, which end where two empty lines and another
    top-level statement come after the last of them."""
    import ast

    lines = text.splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if "Written by paramlint" in line)
    tree = ast.parse(text)
    ours = [s for s in tree.body if s.lineno > start + 1 and isinstance(s, (ast.FunctionDef, ast.ClassDef, ast.Assign))]
    known = {s.name for s in ast.parse(generated("torch-muon").module).body if hasattr(s, "name")} | {"NAMES"}

    def name(statement: Any) -> str:
        return getattr(statement, "name", "") or ast.unparse(statement.targets[0])

    last = [s for s in ours if any(name(s) == k or name(s).startswith(f"{k}_") or name(s) == f"{k}Muon" for k in known)]
    return "".join(lines[:start] + lines[max(s.end_lineno or 0 for s in last) :])


def run(text: str, **given: Any) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "script", **given}
    exec(compile(text, "train.py", "exec"), scope)
    return scope


def labels(optimizer: Any, model: nn.Module) -> dict[str, dict[str, Any]]:
    """The options that each parameter has, by name."""
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}


HEAD = "import torch\n\nmodel = build()\n"


# What is written


def test_the_class_stays_where_it_is_the_planned_one() -> None:
    source = HEAD + "optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)\n"
    line = changed(source, "adamw").splitlines()[-5:]
    assert "    param_groups(model, lr=3e-4, weight_decay=0.1)," in line
    model = small()
    groups = labels(run(put(source, "adamw").text, build=lambda: model)["optimizer"], model)
    assert groups["1.weight"]["weight_decay"] == 0.1 and groups["2.weight"]["weight_decay"] == 0.0
    assert {g["lr"] for g in groups.values()} == {3e-4}


def test_a_call_with_room_stays_in_its_line() -> None:
    source = HEAD + "opt = torch.optim.SGD(model.parameters(), lr=rate)  # low\n"
    assert "opt = torch.optim.SGD(param_groups(model, lr=rate, weight_decay=0), lr=rate)  # low" in changed(
        source, "sgd"
    )


@pytest.mark.parametrize("optimizer", ["torch-muon", "adamw", "timm", "dion-muon", "keller", "moonlight", "heavyball"])
def test_the_result_is_python_with_the_planned_call(optimizer: str) -> None:
    text = put(HEAD + "opt = torch.optim.AdamW(model.parameters(), lr=1e-3)\n", optimizer).text
    compile(text, "train.py", "exec")
    assert ("build_optimizer(model" in text.rpartition("opt =")[2]) == (optimizer != "adamw")


def test_two_optimizers_are_one_object_and_every_parameter_is_in_one() -> None:
    source = HEAD + "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.8, 0.9), maximize=True)\n"
    model, result = small(), put(source)
    optimizer = run(result.text, build=lambda: model)["optimizer"]
    groups = labels(optimizer, model)
    assert set(groups) == {n for n, _ in model.named_parameters()}
    assert groups["0.weight"]["lr"] == 1e-3 and groups["0.weight"]["betas"] == (0.8, 0.9)
    assert groups["3.weight"]["lr"] == 0.02
    assert any("maximize=True" in n for n in result.notes) and any("several optimizers" in n for n in result.notes)
    model(torch.zeros(2, dtype=torch.long)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("optimizer", ["torch-muon", "adamw"])
def test_the_check_has_nothing_to_say(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    known = knowledge.load()
    from gpt import build  # type: ignore[import-not-found]

    model = build()
    inventory = paramlint.inspect(model)
    made, profile = plan(inventory, known, optimizer), known.profile(optimizer)
    source = "import torch\n\n\ndef make(model):\n    return torch.optim.AdamW(model.parameters(), lr=3e-4)\n"
    given = Generated(generate(made, inventory, profile), profile, made, known)
    optimizers = run(rewrite(source, "train.py", None, given).text)["make"](model)
    found = paramlint.check(model, getattr(optimizers, "optimizers", optimizers)).findings
    assert [f for f in found if f.severity in ("error", "warning")] == []


def test_comments_and_layout_of_what_is_kept_stay() -> None:
    call = (
        "optimizer = torch.optim.AdamW(  # the usual\n"
        "    model.parameters(),  # all of them\n"
        "    lr=rate,  # peak\n"
        "    # as in the paper\n"
        "    betas=(0.9, 0.95),\n"
        "    maximize=True,  # faster\n"
        "    weight_decay=(\n"
        "        0.1  # strong\n"
        "    ),\n"
        ")  # end\n"
    )
    result = put("import torch\n\nrate = 1e-3\nmodel = build()\n" + call)
    assert result.text.endswith(
        "optimizer = Together(\n"
        "    build_optimizer(  # the usual\n"
        "        model,  # all of them\n"
        "        adamw_lr=rate,  # peak\n"
        "        # as in the paper\n"
        "        betas=(0.9, 0.95),\n"
        "        weight_decay=(\n"
        "            0.1  # strong\n"
        "        ),\n"
        "    )\n"
        ")  # end\n"
    )
    assert "gone with an argument: # faster" in result.notes
    kept = put("import torch\n\nrate = 1e-3\nmodel = build()\n" + call, "adamw").text
    assert kept.partition("lr=rate,  # peak")[2] == call.partition("lr=rate,  # peak")[2]
    assert "AdamW(  # the usual\n    param_groups(" in kept and "),  # all of them\n    lr=rate," in kept


def test_arguments_under_the_bracket_stay_there() -> None:
    under = " " * 22
    call = f"x = torch.optim.AdamW(net.parameters(), r,\n{under}maximize=True,  # a\n{under}betas=b)\n"
    text = put("import torch\n\n" + call).text
    assert text.endswith("x = Together(build_optimizer(net, adamw_lr=r,\n" + " " * 29 + "betas=b))\n")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("AdamW(model.parameters(), 1 +\n    2)", "build_optimizer(model, adamw_lr=(1 +\n    2))"),
        ("AdamW(\n    model.parameters(), lr=1,\n    maximize=True)", "build_optimizer(\n    model, adamw_lr=1)"),
        ("AdamW(\n    model.parameters(), maximize=m, lr=1\n)", "build_optimizer(\n        model, adamw_lr=1\n    )"),
        ("AdamW(maximize=True, params=model.parameters())", "build_optimizer(model)"),
        ("AdamW(lr=1, params=model.parameters())", "build_optimizer(adamw_lr=1, model=model)"),
        ("AdamW(model.parameters(), 1, (0.9, 0.99))", "build_optimizer(model, adamw_lr=1, betas=(0.9, 0.99))"),
        ("AdamW(model.parameters(), **kw)", 'adamw_lr=kw.get("lr", 3e-4)'),
        ("AdamW(model.parameters(), maximize=True, differentiable=None)", "Together(build_optimizer(model))"),
        ("Muon(model.parameters(), 0.03, momentum=0.9)", "build_optimizer(model, lr=0.03, momentum=0.9)"),
        ("SGD(model.parameters(), 0.1, 0.9)", "Together(build_optimizer(model))"),
        ("NAdam(model.parameters(), lr=1)", "Together(build_optimizer(model, adamw_lr=1))"),
    ],
)
def test_where_arguments_go(call: str, expected: str) -> None:
    text = put("from torch.optim import *\n\nkw = load()\nmodel = build()\nopt = " + call + "\n").text
    compile(text, "train.py", "exec")
    assert expected in text.partition("opt = ")[2]


def test_a_mapping_whose_keys_are_plain_is_read() -> None:
    source = HEAD + "extra = dict(maximize=x) if cuda else {}\nopt = torch.optim.AdamW(model.parameters(), **extra)\n"
    assert "param_groups(model)" in changed(source, "adamw")
    assert "Together(build_optimizer(model))" in changed(source)
    with pytest.raises(ParamlintError, match=r"cannot be told"):
        put(HEAD + "opt = torch.optim.AdamW(model.parameters(), **load())\n")


def test_a_class_that_stays_keeps_its_own_defaults() -> None:
    given = generated("adamw")
    text = given.module.replace("weight_decay: float = 0.01", "weight_decay: float = 0.1")
    source = HEAD + "opt = torch.optim.AdamW(model.parameters(), lr=1)\n"
    other = Generated(text, given.profile, given.plan, given.known)
    result = rewrite(source, "train.py", None, other)
    assert "param_groups(model, lr=1, weight_decay=0.01)" in result.text
    assert any("default that AdamW had" in n for n in result.notes)


def test_an_import_that_has_no_use_any_more_is_told() -> None:
    call = "from torch.optim import AdamW\n\nopt = AdamW(model.parameters())\n"
    assert "the import of AdamW is no longer used" in put(call).notes
    assert not any("no longer used" in n for n in put(call, "adamw").notes)


def test_lr_of_another_size_and_coupled_decay_are_told() -> None:
    result = put(HEAD + "opt = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=5e-4)\n")
    assert "lr of the Muon half starts from 0.02: lr=0.1 was of SGD's size" in result.notes
    assert any(n.startswith("weight_decay=5e-4: SGD added it to the gradient") for n in result.notes)
    assert "lr=0.1" not in result.text


def test_one_lr_for_every_group_is_told() -> None:
    loop = "for group in opt.param_groups:\n    group['lr'] = rate()\n"
    relative = "for group in opt.param_groups:\n    group['lr'] = group['initial_lr'] * rate()\n"
    source = HEAD + "opt = torch.optim.AdamW(model.parameters())\n"
    assert any("train.py:6 sets lr" in n for n in put(source + loop).notes)
    assert not any("sets lr" in n for n in put(source + relative).notes)


# Where it is found


@pytest.mark.parametrize(
    ("imports", "name"),
    [
        ("import torch", "torch.optim.AdamW"),
        ("import torch.optim", "torch.optim.AdamW"),
        ("import torch.optim as optim", "optim.AdamW"),
        ("from torch import optim as o", "o.AdamW"),
        ("from torch.optim import AdamW as A", "A"),
        ("from torch.optim.adamw import AdamW", "AdamW"),
        ("import torch as t", "t.optim.AdamW"),
        ("from torch.optim import *", "AdamW"),
        ("from dion import Muon", "Muon"),
    ],
)
def test_import_aliases(imports: str, name: str) -> None:
    assert "build_optimizer(model)" in changed(f"{imports}\n\nmodel = build()\nopt = {name}(model.parameters())\n")


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ("self.model.parameters()", "self.model"),
        ("list(net.module.parameters())", "net.module"),
        ("filter(lambda p: p.requires_grad, m.parameters())", "m"),
        ("filter(lambda q: q.requires_grad == True, m.parameters())", "m"),
        ("[p for p in m.parameters() if p.requires_grad]", "m"),
        ("(p for n, p in m.named_parameters() if p.requires_grad)", "m"),
        ("p for p in m.parameters()", "m"),
        ("[(n, p) for n, p in m.named_parameters()]", "m"),
        ("m.named_parameters()", "m"),
        ("[*m.parameters()]", "m"),
        ("get('a', b[0]).parameters()", "get('a', b[0])"),
    ],
)
def test_forms_of_a_whole_model(given: str, model: str) -> None:
    assert f"param_groups({model})" in changed(f"import torch\n\nopt = torch.optim.AdamW({given})\n", "adamw")


@pytest.mark.parametrize(
    "given",
    [
        "[{'params': m.parameters()}]",
        "[p for p in m.parameters() if p.ndim > 1]",
        "[p for n, p in m.named_parameters() if 'bias' not in n]",
        "list(a.parameters()) + list(b.parameters())",
        "filter(keep, m.parameters())",
        "m.parameters(recurse=False)",
        "groups",
        "[p.data for p in m.parameters()]",
    ],
)
def test_what_has_groups_already_is_left_alone(given: str) -> None:
    with pytest.raises(ParamlintError, match=r"train\.py:3: AdamW is not given a whole model's parameters"):
        put(f"import torch\n\nopt = torch.optim.AdamW({given}, lr=1)\n")


def test_a_variable_is_followed_unless_it_changes() -> None:
    body = (
        "def main():\n    params = [p for p in net.parameters() if p.requires_grad]\n"
        "{}    return torch.optim.Adam(params)\n"
    )
    source = "import torch\n\n\n" + body.format("")
    assert "Together(build_optimizer(net))" in changed(source)
    assert "params is no longer given to the optimizer" in put(source).notes
    for change in ("    params += more\n", "    params.append(x)\n", "    for params in y:\n        pass\n"):
        with pytest.raises(ParamlintError, match="but params"):
            put("import torch\n\n\n" + body.format(change))


def test_one_of_several_is_chosen_by_line() -> None:
    source = (
        "import torch\n\n"
        "gen_opt = torch.optim.Adam(gen.parameters(), lr=2e-4)\n"
        "disc_opt = torch.optim.Adam(\n    disc.parameters(),\n    lr=2e-4,\n)\n"
    )
    with pytest.raises(ParamlintError) as e:
        put(source)
    assert str(e.value) == "train.py:3, train.py:4: say which with train.py:LINE"
    for line in (4, 5, 7):
        assert "disc,\n" in put(source, line=line).text and "gen.parameters()" in put(source, line=line).text
    with pytest.raises(
        ParamlintError, match=r"train\.py:1: no optimizer is made here; there is train\.py:3, train\.py:4"
    ):
        put(source, line=1)


def test_nothing_to_replace_and_what_is_not_python() -> None:
    with pytest.raises(ParamlintError, match=r"^train\.py: no optimizer is made here"):
        put("import torch\nx = AdamW(model.parameters())\n")
    with pytest.raises(ParamlintError, match=r"^train\.py:2: not Python"):
        put("import torch\ndef f(:\n")


@pytest.mark.parametrize("optimizer", ["torch-muon", "adamw", "sgd"])
def test_again_finds_nothing(optimizer: str) -> None:
    text = put(HEAD + "optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)\n", optimizer).text
    with pytest.raises(ParamlintError, match="whole model's parameters"):
        put(text, optimizer)


# Where it is put


LIGHTNING = '''\
# -*- coding: utf-8 -*-
"""A module.

With a docstring.
"""
from __future__ import annotations

import os
from typing import Any

import lightning as L
import torch
from torch import nn

BATCH = 3


class Lit(L.LightningModule):
    """Of small things."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 3)

    def param_groups(self):
        return None

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)


if __name__ == '__main__':
    Lit( )
'''


def test_only_imports_block_and_call_change() -> None:
    new = put(LIGHTNING).text
    rows = [row for row in edits(LIGHTNING, new) if row[1:].strip()]
    assert rows == [
        "+ import re",
        "+ from collections import Counter",
        "+ from collections.abc import Callable",
        "+ from torch import optim",
        "-         return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)",
        "+         return Together(build_optimizer(self, adamw_lr=self.hparams.lr))",
    ]
    assert not any(row.startswith("-") and not row[1:].strip() for row in edits(LIGHTNING, new))
    assert new.index("class Together") < new.index("class Lit")
    assert "\n\n\nclass Lit(L" in new and "BATCH = 3\n\n\n# Param groups" in new


def formatted(text: str, tmp_path: Path, length: int) -> bool:
    path = tmp_path / "train.py"
    path.write_text(text)
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", f"--line-length={length}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return True


@pytest.mark.parametrize("optimizer", ["torch-muon", "adamw", "keller"])
@pytest.mark.parametrize("length", [88, 120])
def test_a_formatted_script_stays_formatted(optimizer: str, length: int, tmp_path: Path) -> None:
    body = (
        '"""Trains."""\n\nimport torch\n\nfrom somewhere import build\n\n\ndef rate():\n    return 1e-3\n\n\n'
        "def main(args):\n    model = build()\n"
        "    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=args.betas)\n"
        "    return optimizer\n\n\n"
        "model = build()\n\n# the other\nother = torch.optim.AdamW(\n"
        "    [p for p in model.parameters() if p.requires_grad],\n"
        "    lr=rate(),  # peak\n    weight_decay=0.1,\n)\n"
    )
    assert formatted(body, tmp_path, length)
    for line in (14, 21):
        assert formatted(put(body, optimizer, line).text, tmp_path, length)


def test_taken_names_get_a_suffix_everywhere() -> None:
    source = (
        "import torch\nfrom torch import nn as nn\n\noptim = 'adamw'\nNAMES = []\n\n\n"
        "def kinds_of(x):\n    return x\n\n\n"
        "def make(model, build_optimizer=None):\n    return torch.optim.AdamW(model.parameters(), lr=1)\n"
    )
    model, text = small(), put(source).text
    assert "import optim as optim_muon" in text and "def kinds_of_muon(" in text
    assert "from torch import nn\n" not in text.replace("from torch import nn as nn", "")
    scope = run(text)
    assert len(scope["make"](model).optimizers) == 2 and scope["kinds_of"](3) == 3 and scope["NAMES"] == []
    assert scope["optim"] == "adamw"


def test_a_second_one_in_the_same_script() -> None:
    source = (
        "import torch\n\na, b = build(), build()\n"
        "x = torch.optim.AdamW(a.parameters())\ny = torch.optim.Adam(b.parameters())\n"
    )
    models = [small(), small()]
    once = put(source, line=4).text
    twice = put(once, line=None).text
    scope = run(twice, build=iter(models).__next__)
    assert len(scope["x"].optimizers) == len(scope["y"].optimizers) == 2
    assert set(labels(scope["y"], models[1])) == {n for n, _ in models[1].named_parameters()}


def test_shadowed_builtins_do_not_reach_the_definitions() -> None:
    source = HEAD + "id = 3\nfor list in range(2):\n    pass\nopt = torch.optim.AdamW(model.parameters())\n"
    model = small()
    assert set(labels(run(put(source).text, build=lambda: model)["opt"], model)) == {
        n for n, _ in model.named_parameters()
    }


def test_tabs_and_other_indents_are_the_scripts_own() -> None:
    source = "import torch\n\n\ndef make(model):\n\tif model:\n\t\treturn torch.optim.AdamW(model.parameters(), lr=1)\n"
    text = put(source).text
    inside = [line for line in text.splitlines() if line.startswith(" ")]
    assert inside == [] and "\tdef step(" in text
    assert len(run(text)["make"](small()).optimizers) == 2
    two = put(source.replace("\t", "  ")).text
    assert "\n  def step(" in two and len(run(two)["make"](small()).optimizers) == 2


def test_imports_go_where_their_like_are() -> None:
    call = "opt = torch.optim.AdamW(model.parameters())\n"
    alone = put("# of mine\nimport torch\n\n" + call).text
    standard = (
        "import re\nfrom collections import Counter\nfrom collections.abc import Callable\nfrom typing import Any\n"
    )
    assert alone.startswith(f"# of mine\n{standard}" + "\nimport torch\nfrom torch import nn, optim\n\n\n# Param")
    mixed = put("import os\nimport torch\nimport mine\n\n" + call).text
    assert mixed.startswith("import os\nimport re\nfrom collections import Counter\n")
    assert "import Any\nimport torch\nfrom torch import nn, optim\nimport mine\n" in mixed
    star = put("import os\nimport torch\nfrom mine import *\nimport other\n\n" + call).text
    assert "import *\nimport re\nfrom collections import Counter\n" in star and "nn, optim\nimport other\n" in star


def test_a_comment_stays_with_its_statement() -> None:
    source = (
        "import torch\n\nmodel = build()\n# a section\n\n# the optimizer\nopt = torch.optim.AdamW(model.parameters())\n"
    )
    text = put(source).text
    assert "model = build()\n# a section\n\n\n# Param groups" in text
    assert "\n\n\n# the optimizer\nopt = Together(" in text


def test_a_script_that_begins_with_its_function() -> None:
    source = "# first\n\n# make\ndef make(model):\n    return torch.optim.AdamW(model.parameters())\n\n\nimport torch\n"
    text = put(source).text
    assert text.startswith("# first\n")
    assert "\n\n\n# make\ndef make(model):" in text
    assert len(run(text)["make"](small()).optimizers) == 2


# Files


def test_line_ends_encoding_mark_and_mode_stay(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    source = (
        "# coding: latin-1\r\nimport torch\r\n\r\nname = 'caf\xe9'\r\nopt = torch.optim.AdamW(model.parameters())\r\n"
    )
    path.write_bytes(source.encode("latin-1"))
    path.chmod(0o750)
    read = read_source(path)
    assert read == source
    replace_file(path, put(read).text)
    data = path.read_bytes()
    assert b"caf\xe9" in data and data.count(b"\n") == data.count(b"\r\n") > 50
    assert path.stat().st_mode & 0o777 == 0o750 or sys.platform == "win32"
    assert os.listdir(tmp_path) == ["train.py"]

    path.write_bytes(b"\xef\xbb\xbfx = '\xc3\xa9'\n")
    assert read_source(path) == "x = 'é'\n"
    replace_file(path, "y = 'é'\n")
    assert path.read_bytes() == b"\xef\xbb\xbfy = '\xc3\xa9'\n"


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(b"x = 1\ny = '\xe9'\n")
    with pytest.raises(ParamlintError, match=r"train\.py:2: not utf-8: byte 0xe9"):
        read_source(path)
    path.write_bytes(b"# coding: latin-1\nx = 1\n")
    with pytest.raises(ParamlintError, match="has no '→'"):
        replace_file(path, "# coding: latin-1\n# →\n")
    assert path.read_bytes() == b"# coding: latin-1\nx = 1\n"
    path.write_bytes(b"# coding: klingon\n")
    with pytest.raises(ParamlintError, match="klingon"):
        read_source(path)
    with pytest.raises(ParamlintError, match="No such file"):
        read_source(tmp_path / "other.py")


@pytest.mark.skipif(not Path("/usr/bin/patch").exists(), reason="no patch")
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_diff_is_a_patch(end: str, closed: bool, tmp_path: Path) -> None:
    lines = ["import torch", "", "opt = torch.optim.AdamW(model.parameters())", "\x0cx = 1"]
    source = end.join(lines) + end * closed
    new = put(source).text
    path = tmp_path / "train.py"
    path.write_bytes(source.encode())
    patch = diff(source, new, "train.py")
    done = subprocess.run(["patch", "--binary", "-p0"], cwd=tmp_path, input=patch.encode(), capture_output=True)
    assert done.returncode == 0, done.stdout
    assert path.read_bytes() == new.encode() and diff(new, new, "train.py") == ""
