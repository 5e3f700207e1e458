"""`paramlint codegen` as it is used: from a target to a module that `paramlint check` has nothing to say of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from in_process import in_process

from paramlint.cli.main import cli

ROOT = Path(__file__).parent.parent

RECIPE = """\
import os
import sys

import torch

sys.path.insert(0, {examples!r})
from gpt import build


def build_small():
    return build(n_layer=2, n_head=2, n_embd=32, vocab_size=64, block_size=16)


def build_noted():
    with open("log", "a") as log:
        print(os.getpid(), file=log)
    return build_small()


def build_once():
    with open("log") as log:
        if str(os.getpid()) in log.read().split():
            os._exit(1)
    return build_noted()


def configure(model):
    # the usual numbers
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=1e-3,  # peak
        weight_decay=0.1,
    )
    return optimizer


def get_num_layer(name, num_max_layer):
    if name.startswith(("wte", "wpe")):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("h.") else num_max_layer - 1
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.py"
    path.write_text(RECIPE.format(examples=str(ROOT / "examples")))
    return path


def invoke(*arguments: str) -> Result:
    with in_process():
        return with_worker(*arguments)


def with_worker(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize(("style", "optimizer"), [("rules", "muon"), ("names", "keller"), ("call", "adamw")])
def test_what_is_written_passes_the_check(script: Path, style: str, optimizer: str) -> None:
    made = invoke("codegen", "train.py:build_small", "--optimizer", optimizer, "--style", style, "-o", "made.py")
    assert made.exit_code == 0 and made.stdout == ""
    assert "all 36 trained parameters of GPT; run on the model and checked: no findings" in made.stderr
    for option in ("--groups=made.py:param_groups", "--optimizer=made.py:build_optimizer"):
        named = ("--optimizer", optimizer) if "groups" in option else ()
        checked = invoke("check", "train.py:build_small", option, *named)
        assert (checked.exit_code, "All checks passed" in checked.stdout) == (0, True), checked.output
    assert ("paramlint import" in (script.parent / "made.py").read_text()) == (style == "call")


def test_one_process_looks_and_proves_and_gives_the_same_bytes_as_any(script: Path) -> None:
    arguments = ("codegen", "train.py:build_noted", "--optimizer", "muon", "-q")
    made = with_worker(*arguments)
    (process, again) = (script.parent / "log").read_text().split()
    assert process == again and not Path(f"/proc/{process}").exists()
    here = invoke(*arguments)
    assert made.exit_code == 0 and made.stdout_bytes == here.stdout_bytes and made.stderr == here.stderr == ""


def test_a_target_that_builds_once_in_a_process_gets_another(script: Path) -> None:
    (script.parent / "log").touch()
    made = with_worker("codegen", "train.py:build_once", "--optimizer", "muon")
    assert made.exit_code == 0 and "checked: no findings" in made.stderr
    assert len(set((script.parent / "log").read_text().split())) == 2


def test_a_file_is_not_overwritten_unless_forced(script: Path) -> None:
    arguments = ("codegen", "train.py:build_small", "--optimizer", "adamw", "-o", "made.py")
    (script.parent / "made.py").write_text("mine")
    refused = invoke(*arguments)
    assert (refused.exit_code, refused.stderr) == (2, "error: made.py: exists already; --force overwrites it\n")
    assert (script.parent / "made.py").read_text() == "mine"
    assert invoke(*arguments, "--force").exit_code == 0
    assert "def param_groups" in (script.parent / "made.py").read_text()


def test_target_and_optimizer_come_from_the_configuration(script: Path) -> None:
    text = '[tool.paramlint]\n[tool.paramlint.targets.small]\ntarget = "train.py:build_small"\n'
    (script.parent / "pyproject.toml").write_text(text)
    made = invoke("codegen", "--optimizer", "muon")
    assert made.exit_code == 0 and "Written by paramlint" in made.stdout and "optim.Muon(" in made.stdout
    (script.parent / "pyproject.toml").write_text(text + 'optimizer = "keller"\n')
    assert "SingleDeviceMuonWithAuxAdam(" in invoke("codegen").stdout
    (script.parent / "pyproject.toml").write_text(text + '[tool.paramlint.targets.two]\ntarget = "train.py:b"\n')
    several = invoke("codegen", "--optimizer", "muon")
    assert several.exit_code == 2 and "one of small, two" in several.stderr


def test_layers_of_ones_own(script: Path) -> None:
    arguments = ("train.py:build_small", "--optimizer", "muon", "--layer-decay", "0.5", "--layers", ":get_num_layer")
    planned = invoke("plan", *arguments, "--output-format", "json")
    groups = json.loads(planned.stdout)["targets"][0]["groups"]
    assert {label: g["lr_scale"] for label, g in groups.items() if label.endswith("_muon")} == {
        "layer_1_muon": 0.25,
        "layer_2_muon": 0.5,
    }
    made = invoke("codegen", *arguments, "-o", "made.py")
    assert made.exit_code == 0, made.output
    assert "LAYER_DECAY = 0.5" in (script.parent / "made.py").read_text()
    wrong = invoke("plan", *arguments[:-2], "--layers", ":build_small")
    assert wrong.exit_code == 2 and wrong.stderr.count("\n") == 1 and "raised TypeError" in wrong.stderr


def test_in_place_shows_a_diff_and_then_writes(script: Path) -> None:
    before = script.read_text()
    arguments = ("codegen", "train.py:build_small", "--optimizer", "adamw", "--in-place", "train.py")
    shown = invoke(*arguments, "--diff")
    assert shown.exit_code == 0 and script.read_text() == before
    assert "-        model.parameters(),\n" in shown.stdout
    assert "+        param_groups(model, lr=1e-3, weight_decay=0.1),\n" in shown.stdout
    assert invoke(*arguments).exit_code == 0
    after = script.read_text()
    assert "lr=1e-3,  # peak" in after and "# the usual numbers" in after
    checked = invoke("check", "train.py:build_small", "--optimizer", ":configure")
    assert checked.exit_code == 0 and "All checks passed" in checked.stdout
    again = invoke(*arguments)
    assert again.exit_code == 2 and script.read_text() == after


def test_in_place_with_muon(script: Path) -> None:
    arguments = ("codegen", "train.py:build_small", "--optimizer", "muon", "--in-place", "train.py:31")
    made = invoke(*arguments)
    assert made.exit_code == 0, made.output
    assert "build_optimizer(" in script.read_text() and "adamw_lr=1e-3,  # peak" in script.read_text()
    checked = invoke("check", "train.py:build_small", "--optimizer", ":configure")
    assert checked.exit_code == 0 and ", 12 (24.6k) to Muon" in checked.stdout, checked.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing option '--optimizer'"),
        (("--optimizer", "mouon"), "no optimizer 'mouon'; did you mean 'muon'?"),
        (("--optimizer", "muon", "--diff"), "--diff is for --in-place"),
        (("--optimizer", "muon", "--in-place", "train.py", "-o", "x.py"), "exclude each other"),
        (("--optimizer", "muon", "--in-place", "no.py"), "no.py: No such file or directory"),
        (("--optimizer", "muon", "--layers", "beit"), "--layers are for --layer-decay"),
        (("--optimizer", "muon", "--layer-decay", "2"), "is not over 0 and up to 1"),
        (("--optimizer", "muon", "--layer-decay", "0.1,1"), "2 lr scales for 4 layers"),
        (("--optimizer", "muon", "--layer-decay", "0.5", "--layers", "bite"), "did you mean 'beit'?"),
        (("--optimizer", "muon", "--layer-decay", "0.5", "--layers", "beit"), "preset"),
        (("--optimizer", "optax"), "optax trains JAX models"),
        (("--optimizer", "moonlight", "--layer-decay", "0.5"), "moonlight has one lr"),
    ],
)
def test_bad_input_is_two_and_says_why(script: Path, arguments: tuple[str, ...], said: str) -> None:
    result = invoke("codegen", "train.py:build_small", *arguments)
    assert result.exit_code == 2 and result.stdout == ""
    assert said in " ".join(result.stderr.split()), result.stderr
    assert "Traceback" not in result.stderr


def test_a_fused_matrix_is_told_and_can_be_had_whole(tmp_path: Path) -> None:
    vit = f"{ROOT / 'examples' / 'vit.py'}:build"
    left = invoke("codegen", vit, "--optimizer", "muon")
    assert "12 fused matrices" in left.stderr and '"blocks.*.attn.qkv.weight": "decay",  # fused matrix' in left.stdout
    whole = invoke("codegen", vit, "--optimizer", "muon", "--fused", "whole")
    assert whole.exit_code == 0 and "fused" not in whole.stderr and "qkv" not in whole.stdout
    split = invoke("codegen", vit, "--optimizer", "dion-muon")
    assert '"split_sizes": (192, 192, 192)' in split.stdout
