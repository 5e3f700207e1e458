"""A real step of real models, in this process: what sound groups show, and what is left behind."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from paramlint.cli.main import cli
from paramlint.errors import ParamlintError
from paramlint.knowledge import load
from paramlint.model import torchvision_ops
from paramlint.model.process import Request
from paramlint.parameter import Plain
from paramlint.report import smoke as report
from paramlint.smoke import expected, loss, process, real, shrink
from paramlint.smoke.process import SmokeRequest
from paramlint.smoke.run import smoke
from paramlint.smoke.step import Inputs, one_step, parameters
from paramlint.smoked import Smoke, SmokeCheck

torchvision_ops.install()
EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL: dict[str, dict[str, Plain]] = {
    "gpt": {"n_layer": 2, "n_embd": 64, "vocab_size": 128, "block_size": 32},
    "moe": {"depth": 1, "dim": 32, "heads": 2, "hidden": 64, "experts": 4, "vocab_size": 64},
    "vit": {"depth": 1, "dim": 48, "img_size": 64, "num_classes": 10},
    "convnext": {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "num_classes": 10},
    "lora": {"depth": 1, "dim": 32, "heads": 2, "vocab_size": 64, "max_len": 32},
    "mamba": {"depth": 1, "dim": 32, "vocab_size": 64},
}
NAMES = (
    *("groups", "loss-finite", "gradients", "frozen-still", "covered-moves", "update-rms", "orthogonal"),
    *("state-bytes", "resume", "grad-none", "closure", "autocast", "bf16", "time"),
)


def _has(package: str) -> bool:
    return find_spec(package) is not None


def step(example: str, profile: str = "", **more: Any) -> Smoke:
    build = Request(f"{EXAMPLES / example}.py:build", kwargs=SMALL[example], trace=True, inputs=more.pop("inputs", ""))
    return smoke(SmokeRequest(build, profile=profile, **{"device": "cpu", **more}))


def shrunk_by_its_configuration(monkeypatch: pytest.MonkeyPatch, free: int) -> Smoke:
    monkeypatch.setattr(real, "free_memory", lambda device, limit: free)
    kwargs: dict[str, Plain] = {"n_layer": 12, "n_embd": 32, "n_head": 2, "vocab_size": 64}
    return smoke(SmokeRequest(Request("hf:gpt2", kwargs=kwargs, trace=True), profile="torch-muon", device="cpu"))


def check(result: Smoke, name: str) -> SmokeCheck:
    return next(c for c in result.checks if c.name == name)


@pytest.mark.parametrize("example", SMALL)
@pytest.mark.parametrize("profile", ["torch-muon", "timm"])
def test_generated_groups_pass_every_check(example: str, profile: str) -> None:
    if profile == "timm":
        pytest.importorskip("timm")
    result = step(example, profile)
    assert tuple(c.name for c in result.checks) == NAMES
    assert not result.failed
    assert check(result, "orthogonal").verdict == ("skip" if example == "lora" else "pass")  # all is left to AdamW
    assert all(c.figure for c in result.checks)
    assert result.times.keys() == {"forward", "backward", "optimizer", "adamw"}
    assert result.peak > 0


def test_what_begins_at_zero_is_given_the_steps_to_move() -> None:
    """The first factor of a low-rank pair has no gradient while the second is 0."""
    result = step("lora", "torch-muon")
    assert result.facts["steps"] == 2
    assert check(result, "covered-moves").figure.split()[0] == check(result, "covered-moves").figure.split()[2]
    assert "frozen parameters stayed" in check(result, "frozen-still").figure


def test_the_users_groups_inputs_and_loss(module: Callable[..., Path]) -> None:
    made = module(
        "import torch\n"
        "def tokens(): return torch.arange(20).reshape(2, 10)\n"
        "def near(model, tokens): return torch.nn.functional.cross_entropy(model(tokens)[0].flatten(0, 1),"
        " tokens.flatten())\n"
    )
    result = step("gpt", optimizers=(":right_optimizers",), inputs=f"{made}:tokens", loss=f"{made}:near")
    assert not result.failed
    assert result.inputs == "(2, 10)"
    assert 3 < float(check(result, "loss-finite").figure) < 6  # about log(128), less where the head is tied


def test_one_object_for_several_optimizers_and_bare_groups(module: Callable[..., Path]) -> None:
    made = module(
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "import gpt\n"
        "def halves(model):\n"
        "    muon, adam = gpt.split(model)\n"
        "    return {'muon': [dict(params=muon, lr=0.02)], 'adamw': [dict(params=adam, lr=3e-4)]}\n"
        "class Together:\n"
        "    def __init__(self, optimizers): self.optimizers = optimizers\n"
        "    param_groups = property(lambda self: [g for o in self.optimizers for g in o.param_groups])\n"
        "    def step(self, closure=None):\n"
        "        loss = closure() if closure else None\n"
        "        for o in self.optimizers: o.step()\n"
        "        return loss\n"
        "    def state_dict(self): return [o.state_dict() for o in self.optimizers]\n"
        "    def load_state_dict(self, states):\n"
        "        for o, s in zip(self.optimizers, states): o.load_state_dict(s)\n"
        "def together(model): return Together(gpt.right_optimizers(model))\n"
    )
    for result in (
        step("gpt", "torch-muon", groups=(f"{made}:halves",)),
        step("gpt", optimizers=(f"{made}:together",)),
    ):
        assert not result.failed
        assert result.facts["optimizers"] == ("Muon", "AdamW")


def test_nothing_is_left_behind() -> None:
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate(), set(sys.meta_path)
    step("gpt", "torch-muon")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert set(sys.meta_path) == before[2]
    assert not torch.distributed.is_initialized()
    assert not nn.modules.module._global_forward_pre_hooks


def test_it_takes_no_more_memory_than_help_promises() -> None:
    """Five times the weights, three times the state, activations (a few copies of the logits) and 400 MB."""
    target = f"{EXAMPLES / 'gpt.py'}:build"
    result = process.run(SmokeRequest(Request(target, trace=True), profile="torch-muon", device="cpu"))
    assert not result.failed
    weights = 16_102_912 * 4
    state = float(check(result, "state-bytes").figure.split()[0]) * 2**20
    assert 400 * 2**20 < result.peak < 5 * weights + 3 * state + 400 * 2**20 + 8 * 2 * 16 * 50304 * 4


def test_a_class_that_wants_a_process_group_gets_one(module: Callable[..., Path]) -> None:
    made = module(
        "import torch\n"
        "import torch.distributed as dist\n"
        "class Ranked(torch.optim.AdamW):\n"
        "    def __init__(self, params):\n"
        "        self.ranks = dist.get_world_size()\n"
        "        super().__init__(params, lr=3e-4)\n"
        "def make(model): return Ranked(model.parameters())\n"
    )
    result = step("gpt", optimizers=(f"{made}:make",))
    assert not result.failed
    assert not torch.distributed.is_initialized()


def test_a_model_that_is_too_large_is_cut_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SMALL, "gpt", {**SMALL["gpt"], "n_layer": 12})
    monkeypatch.setattr(shrink, "_BASE", 0)
    whole = step("gpt", "adamw")
    assert not whole.shrunk
    monkeypatch.setattr(real, "free_memory", lambda device, limit: 10 * 2**20)
    cut = step("gpt", "torch-muon")
    assert "h: 2 of 12 blocks" in cut.shrunk
    assert not cut.failed
    assert check(cut, "gradients").figure == "36 of 36 trainable parameters have one"
    if _has("transformers"):
        assert "n_layer 2 instead of 12" in shrunk_by_its_configuration(monkeypatch, 5 * 2**20).shrunk
    monkeypatch.setattr(real, "free_memory", lambda device, limit: 2 * 2**20)
    with pytest.raises(ParamlintError, match=r"a step needs about \d+ MB on cpu, and 2 MB are free"):
        step("gpt", "torch-muon")


def test_batch_statistics_and_random_rows() -> None:
    """One image does not do for statistics over the batch; equal tokens give attention nothing to choose from."""
    pytest.importorskip("timm")
    build = Request("timm:resnet10t", kwargs={"num_classes": 4}, trace=True)
    assert not smoke(SmokeRequest(build, profile="adamw", device="cpu")).failed
    first = one_embedding()
    one = real.ready(first, real.examples(first), loss.default, torch.device("cpu"), own=False, floats=None)
    assert len(one.inputs.kwargs["tokens"].unique()) > 3


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 8)
        self.out = nn.Linear(8, 40, bias=False)
        self.out.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> dict[str, Any]:
        x = self.table(tokens)
        return {"logits": self.out(x), "hidden": (x, tokens), "loss": None}


def one_embedding() -> nn.Module:
    torch.manual_seed(0)
    return Bag()


def test_one_step_gives_plain_tensors_by_the_first_name_of_tied_ones() -> None:
    model = one_embedding()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    inputs = Inputs((torch.arange(12).reshape(2, 6),))
    found = one_step(model, [optimizer], inputs, loss.default)
    assert (
        list(found.before) == list(found.gradients) == list(found.after) == list(parameters(model)) == ["table.weight"]
    )
    assert torch.allclose(
        found.after["table.weight"], found.before["table.weight"] - 0.5 * found.gradients["table.weight"]
    )
    assert found.moved("table.weight")
    assert model.table.weight.grad is None
    again = one_step(model, [], inputs, loss.default)
    assert torch.equal(again.before["table.weight"], found.after["table.weight"])
    assert not again.moved("table.weight")


def test_the_default_loss_reaches_every_floating_output_and_its_own_loss_counts_alone() -> None:
    a, b = torch.zeros(3, requires_grad=True), torch.zeros(2, 2, requires_grad=True)
    loss.of_outputs({"x": a, "rest": [(b, torch.ones(2))], "n": 3, "loss": None}).backward()
    assert a.grad is not None
    assert b.grad is not None
    own = (a * 2).sum()
    assert torch.equal(loss.of_outputs({"x": b, "loss": own}), own)
    with pytest.raises(ParamlintError, match="no output has a gradient"):
        loss.of_outputs(torch.ones(3))


@pytest.mark.parametrize(
    ("shape", "scale", "measured"),
    [((64, 32), "kj", 0.148), ((768, 3072), "kj", 0.017), ((3072, 768), "kj", 0.034), ((768, 3072), "rms", 0.190)],
)
def test_expected_rms_is_that_of_torch(shape: tuple[int, int], scale: str, measured: float) -> None:
    """Of a Gaussian gradient with torch 2.13, lr 1 and no weight decay."""
    mode = "match_rms_adamw" if scale == "rms" else "original"
    torch.manual_seed(0)
    p = nn.Parameter(torch.zeros(shape))
    p.grad = torch.randn(shape)
    torch.optim.Muon([p], lr=1.0, weight_decay=0, adjust_lr_fn=mode).step()
    assert expected.rms(p.detach()) == pytest.approx(measured, rel=0.05)
    norm, _ = expected.ideal_norms(expected.singular_values(p.grad) / float(p.grad.norm()))
    size = norm / (shape[0] * shape[1]) ** 0.5 * expected._factor(scale, *shape)  # type: ignore[arg-type]
    assert expected.rms(p.detach()) == pytest.approx(size, rel=0.12)


def test_json_and_text_and_exit_codes(module: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(
        "import torch\n"
        "def build(): return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))\n"
        "def make(model): return torch.optim.AdamW(model[0].parameters(), lr=3e-4)\n"
        "def absent(model):\n    from dion import Muon\n    return Muon(model.parameters())\n"
    )
    found = CliRunner().invoke(cli, ["smoke", f"{made}:build", "--optimizer", ":make", "--output-format", "json"])
    assert found.exit_code == 1, found.stderr
    document = json.loads(found.stdout)
    schema = json.loads(report.SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    [target] = document["targets"]
    failed = {c["name"]: c for c in target["checks"] if c["verdict"] == "fail"}
    assert set(failed) == {"groups", "covered-moves"}
    assert failed["covered-moves"]["parameters"] == ["2.weight", "2.bias"]
    assert failed["covered-moves"]["code"] == "PML101"
    monkeypatch.setattr(process, "run", smoke)
    absent = CliRunner().invoke(cli, ["smoke", f"{made}:build", "--optimizer", ":absent"])
    assert absent.exit_code == 2
    assert absent.stdout == ""
    assert "dion.Muon is not installed" in absent.stderr
    assert load().profile("dion-muon").install in absent.stderr  # type: ignore[operator]
    assert absent.stderr.count("\n") == 1


def test_nothing_to_step_is_said_without_building_anything() -> None:
    found = CliRunner().invoke(cli, ["smoke", "nowhere.py:build"])
    assert found.exit_code == 2
    assert "nothing says what is stepped; give --optimizer OBJ" in found.stderr
    found = CliRunner().invoke(cli, ["smoke", "nowhere.py:build", "--groups", ":groups"])
    assert found.exit_code == 2
    assert "none is named" in found.stderr


@pytest.mark.parametrize("wanted", [False, True])
def test_the_traceback_of_a_step_is_shown_only_where_it_is_asked_for(
    wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = SmokeCheck("step", "fail", "Muon.step() fails")
    made = Smoke("t.py:build", "m.Net", "cpu", "", (failed,), traceback="Traceback of t\n")
    monkeypatch.setattr("paramlint.smoke.process.run", lambda request: made)
    found = CliRunner().invoke(
        cli, ["smoke", "t.py:build", "--optimizer", "adamw", *["--traceback"] * wanted, "--isolated"]
    )
    assert found.exit_code == 1
    assert ("Traceback of t" in found.stderr) is wanted
    assert "Traceback" not in found.stdout


class Experts(nn.Module):
    """Every token goes to one of eight experts: most of them have nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(8))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens)
        if tokens.is_meta:
            return sum(expert(x) for expert in self.experts)
        return self.experts[int(tokens.flatten()[0]) % 8](x)


def experts() -> nn.Module:
    return Experts()


def test_experts_that_no_token_comes_to_need_no_gradient() -> None:
    found = smoke(SmokeRequest(Request(f"{__file__}:experts", trace=True), profile="adamw", device="cpu"))
    assert not found.failed
    gradients = check(found, "gradients")
    assert gradients.figure == "3 of 17 trainable parameters have one"
    assert len(gradients.details) == 14
    assert "its module did not run on these inputs" in gradients.details[0]


def test_what_failed_is_shown_with_its_names_and_help() -> None:
    bad = SmokeCheck("gradients", "fail", "1 of 3", ("h.0.w", "h.1.w"), "PML101", ("a fact",), "mend it")
    result = Smoke("t.py:build", "m.Net", "cpu", "x (2, 3)", (SmokeCheck("groups", "pass", "fine"), bad))
    text = "".join(f"{line.text}\n" for line in report.full(result))
    assert "ok    groups     fine\n" in text
    assert "FAIL  gradients  PML101 1 of 3\n        h.{0,1}.w  ×2\n      | a fact\n      help: mend it\n" in text
    assert [line.text for line in report.concise(result)] == ["t.py:build: FAIL gradients PML101: 1 of 3: h.{0,1}.w"]
