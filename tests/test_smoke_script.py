"""`codegen --smoke`: the script that it writes runs a real step without paramlint, and sees what is wrong with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from generated import KNOWN
from in_process import in_process
from real_steps import SIZES as TINY

import paramlint
from paramlint import planning
from paramlint.cli.main import cli
from paramlint.codegen.generate import generate
from paramlint.codegen.smoke_inputs import inputs_function, outputs
from paramlint.codegen.smoke_model import model_function
from paramlint.codegen.smoke_script import smoke_script
from paramlint.errors import ParamlintError
from paramlint.model import torchvision_ops
from paramlint.parameter import Pass

ROOT = Path(__file__).parent.parent
PACKAGES = Path(sys.prefix) / "optimizers"
OPTIMIZERS = ("torch-muon", "adamw", "timm")
INSTALLED = ("keller-pypi", "keller-pypi-dist")  # the second talks to a process group
LONGER = {"gpt": {"block_size": 32}, "lora": {"max_len": 32}}  # the trace takes 16 tokens
SIZES = {example: {**sizes, **LONGER.get(example, {})} for example, sizes in TINY.items()}

#: Runs the scripts that it is told, where paramlint cannot be imported. Packages of models want torchvision, which may
#: be one for another torch.
RUNNER = f"""
import contextlib, io, json, runpy, sys
runpy.run_path({torchvision_ops.__file__!r})["install"]()
sys.modules["paramlint"] = None
found = {{}}
for path in sys.argv[1:]:
    sys.argv[1:], out, status = ["--device", "cpu"], io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            status = end.code
    found[path] = [status, out.getvalue()]
print(json.dumps(found))
"""


def run(*scripts: Path):
    """Status and output of each."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUNNER, *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return [found[str(path)] for path in scripts]


@lru_cache
def inventory(example):
    return paramlint.inspect(__import__(example).build(**SIZES[example]))


def write(folder: Path, example, optimizer, change=lambda text: text, examples: Path | str = ROOT / "examples"):
    """The module and the script for one example, and the script's path."""
    folder.mkdir(parents=True, exist_ok=True)
    profile, known = KNOWN.profile(optimizer), inventory(example)
    plan = planning.plan(known, KNOWN, optimizer)
    target = f"{examples}/{example}.py:build"
    (folder / "groups.py").write_text(change(generate(plan, known, profile)))
    script = folder / "groups_smoke.py"
    script.write_text(smoke_script(plan, known, target, SIZES[example], "groups", profile=profile, folder=folder))
    return script


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What every script for an example said. One process for all: imports take longer than steps."""
    folder = tmp_path_factory.mktemp("scripts")
    scripts = {(e, o): write(folder / e / o, e, o) for e in SIZES for o in OPTIMIZERS}
    scripts |= {("gpt", o): write(folder / "gpt" / o, "gpt", o) for o in INSTALLED if PACKAGES.is_dir()}
    scripts |= {f: write(folder / f"fault {i}", "gpt", "torch-muon", FAULTS[f][0]) for i, f in enumerate(FAULTS)}
    return dict(zip(scripts, run(*scripts.values()), strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("example", SIZES)
def test_a_step_of_the_example_is_as_it_should_be(outcomes, example, optimizer):
    status, said = outcomes[example, optimizer]
    assert status == 0, said
    lines = said.splitlines()
    names = [re.sub(r" of .*", "", line[5:].partition(":")[0]) for line in lines[:-1]]
    assert all(line.startswith("ok   ") for line in lines[:-1]), said
    trained = sum(p.trainable for p in inventory(example).parameters)
    assert f"ok   moved: {trained} of {trained} trained parameters" in lines
    assert set(names) >= {"loss", "gradients", "moved", "updates", "state", "resume"}
    muon = any(line.startswith("ok   updates of muon") for line in lines)
    assert ("singular values" in names) == muon


def test_frozen_parameters_are_counted(outcomes):
    frozen = sum(not p.trainable for p in inventory("lora").parameters)
    assert f"ok   still: {frozen} of {frozen} frozen parameters\n" in outcomes["lora", "adamw"][1]


def apart(text, *, lr):
    """The module with h.0.mlp.c_fc.weight in a group of its own, under another lr."""
    return text + (
        "\n\nsound = build_optimizer\n\n\n"
        "def build_optimizer(model):\n"
        "    made = sound(model)\n"
        "    one = model.h[0].mlp.c_fc.weight\n"
        "    group = made[0].param_groups[0]\n"
        "    group['params'] = [p for p in group['params'] if p is not one]\n"
        f"    made[0].add_param_group({{**group, 'params': [one], 'lr': group['lr'] * {lr}}})\n"
        "    return made\n"
    )


def dropped(text):
    """The module whose optimizers lack h.0.mlp.c_fc.weight."""
    return apart(text, lr=1).replace("    made[0].add_param_group", "    assert group or made[0].add_param_group")


#: What is changed in the module for GPT and torch's Muon, the check that has to fail, and what it has to name.
FAULTS = {
    "lr 0": (lambda text: apart(text, lr=0), "moved", "h.0.mlp.c_fc.weight"),
    "lr 0, gradients cleared": (
        lambda text: apart(text, lr=0).replace(
            "    return made\n", "    made[0].register_step_post_hook(lambda o, *_: o.zero_grad())\n    return made\n"
        ),
        "moved",
        "h.0.mlp.c_fc.weight",
    ),
    "in no group": (dropped, "moved", "h.0.mlp.c_fc.weight"),
    "in no group, as the module sees": (
        lambda text: text.replace(
            "if kinds.get(name) == label]", 'if kinds.get(name) == label and "c_fc" not in name]'
        ),
        "run",
        "h.0.mlp.c_fc.weight",
    ),
    "plain momentum": (lambda text: text.replace("optim.Muon(", "optim.SGD("), "updates of muon", "h.0.attn.q.weight"),
    "state that is not saved": (
        lambda text: (
            text.replace(
                "return optimizers",
                "[o.register_state_dict_post_hook(emptied) for o in optimizers]\n    return optimizers",
            )
            + "\n\ndef emptied(optimizer, saved):\n    return {**saved, 'state': {}}\n"
        ),
        "resume",
        "wte.weight",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_check_by_name(outcomes, fault):
    status, said = outcomes[fault]
    _, check, named = FAULTS[fault]
    assert status == 1, said
    (line,) = [line for line in said.splitlines() if line.startswith(f"FAIL {check}: ")]
    assert named in line


def test_an_optimizer_that_clears_gradients_does_not_hide_what_stands_still(outcomes):
    assert "FAIL moved: 35 of 36 trained parameters" in outcomes["lr 0, gradients cleared"][1]


@pytest.mark.parametrize("optimizer", INSTALLED)
def test_an_optimizer_of_many_processes_gets_a_group_of_one(outcomes, optimizer):
    if not PACKAGES.is_dir():
        pytest.skip(f"{PACKAGES} is missing: `make test` fills it with optimizers")
    status, said = outcomes["gpt", optimizer]
    assert status == 0, said


def test_an_optimizer_for_cuda_says_so(tmp_path):
    assert "on CUDA: run this on a GPU" in write(tmp_path, "gpt", "muon-2024").read_text()
    assert "CUDA" not in write(tmp_path, "gpt", "keller").read_text()


def test_the_same_plan_gives_the_same_bytes(tmp_path):
    first = write(tmp_path, "moe", "keller").read_bytes()
    assert write(tmp_path, "moe", "keller").read_bytes() == first


FORMS = [
    ("gpt", "torch-muon"),
    ("vit", "adamw"),
    ("convnext", "keller"),
    ("convnext", "timm"),
    ("moe", "keller"),
    ("mamba", "sgd"),
    ("lora", "scion"),
    ("gpt", "muon-2024"),
    ("moe", "normuon"),
    ("gpt", "moonlight"),
]


def test_scripts_are_formatted_and_typed(tmp_path, monkeypatch):
    scripts = []
    shutil.copytree(ROOT / "examples", tmp_path / "examples")  # near, so that no line is as long as a path
    monkeypatch.chdir(tmp_path)
    for example, optimizer in FORMS:
        text = write(tmp_path / example / optimizer, example, optimizer, examples="examples").read_text()
        scripts.append(tmp_path / f"{example}_{optimizer.replace('-', '_')}.py")
        scripts[-1].write_text(text)

    def clean(*command):
        done = subprocess.run([sys.executable, "-m", *command, *scripts], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr

    clean("ruff", "check", "--isolated", "--extend-select", "E501")
    for width in ("88", "120"):
        clean("ruff", "format", "--isolated", "--diff", "--line-length", width)
    clean("mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"))


def test_paths_of_any_length_leave_it_formatted(tmp_path, monkeypatch):
    made = []
    for length in range(1, 101, 3):
        folder = tmp_path / ("x" * length)
        (folder / "package").mkdir(parents=True)
        (folder / "package/__init__.py").touch()
        (folder / "config.json").touch()
        (folder / "model.py").touch()
        monkeypatch.chdir(folder)
        for script in (tmp_path, folder):
            for target in ("model.py:build", "package/__init__.py:a.build", "package:build", "hf:config.json"):
                made.append(model_function(target, {"width": 8}, "transformers.M", script))
            made.append(model_function(f"{folder}/model.py:build", {}, "m.M", script))
    for length in range(1, 101):
        made.append(model_function(f"{'m' * length}.n:build", {}, "m.M", tmp_path))
        made.append(model_function("hf:llama", {"depth": 2}, f"{'m' * length}.{'M' * 30}", tmp_path))
        made.append(model_function("hf:llama", {}, f"m.{'M' * min(length, 65)}", tmp_path))
        made.append(model_function(f"timm:{'v' * length}", {"depth": 2}, "m.M", tmp_path))
    script = tmp_path / "lengths.py"
    script.write_text("\n\n\n".join(made) + "\n")
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", "--line-length", "88", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_several_passes_and_values_that_matter_are_written_out(tmp_path):
    ids = {"tensor": (2, 6), "dtype": "int64", "runs": ((5, 1), (7, 5), (5, 1), (7, 5))}
    places = {"tensor": (4,), "dtype": "int64", "runs": ((0, 1), (1, 1), (2, 1), (3, 1))}
    mask = {"tensor": (2, 6), "dtype": "bool", "runs": ((1, 12),)}
    nested = {"tuple": ({"list": ({"value": 3}, {"value": None})},)}
    given = [{"args": (ids, places), "kwargs": {}}, {"args": (), "kwargs": {"mask": mask, "sizes": nested}}]
    passes = [Pass("", training=i > 0, new=1, given=g) for i, g in enumerate(given)]
    space: dict = {"torch": torch, "Any": object}
    exec("from __future__ import annotations\n" + inputs_function(passes), space)
    (args, none), (nothing, kwargs) = space["inputs"](torch.device("cpu"))
    assert none == {} and nothing == ()
    assert args[0].tolist() == [[5, 7, 7, 7, 7, 7]] * 2 and args[1].tolist() == [0, 1, 2, 3]
    assert kwargs["mask"].dtype == torch.bool and kwargs["mask"].all() and kwargs["sizes"] == ([3, None],)
    assert outputs(passes) == "[model(*a, **k) for a, k in inputs(device)]"


def test_without_inputs_there_is_no_script(tmp_path):
    known = replace(inventory("gpt"), passes=(Pass("", stopped="TypeError: no"),))
    plan = planning.plan(known, KNOWN, "adamw")
    with pytest.raises(ParamlintError, match="no inputs are known"):
        smoke_script(plan, known, "m.py:build", {}, "g", profile=KNOWN.profile("adamw"), folder=tmp_path)


HF = {
    "hf:gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 64, "n_positions": 32},
    "timm:vit_tiny_patch16_224": {"depth": 2, "embed_dim": 16, "num_heads": 2, "img_size": 32, "num_classes": 8},
}


def test_the_command_writes_both_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scripts = []
    for target, kwargs in HF.items():
        name = f"groups_{target.partition(':')[0]}"
        command = ["codegen", target, "--kwargs", json.dumps(kwargs), "--optimizer", "muon", "-o", f"{name}.py"]
        with in_process():
            done = CliRunner().invoke(cli, [*command, "--smoke"])
        assert done.exit_code == 0, done.output
        assert f"python {name}_smoke.py" in done.stderr
        scripts.append(tmp_path / f"{name}_smoke.py")
    for status, said in run(*scripts):
        assert status == 0, said


def test_the_script_needs_a_file_to_lie_beside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for more in ([], ["-o", "groups"], ["--in-place", "train.py"]):
        done = CliRunner().invoke(cli, ["codegen", "m.py:build", "--optimizer", "muon", "--smoke", *more])
        assert done.exit_code == 2 and "-o FILE.py" in done.stderr
    Path("g_smoke.py").write_text("mine")
    done = CliRunner().invoke(cli, ["codegen", "m.py:build", "--optimizer", "muon", "--smoke", "-o", "g.py"])
    assert done.exit_code == 2 and "g_smoke.py: exists already" in done.stderr
