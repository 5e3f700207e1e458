"""Numbers that are none, or complex, or of the wrong size: each is told by the check that is there for it.

The models and the functions of them are in this file too: it is what the targets name.
"""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from test_smoke_script import write
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

import paramlint
from paramlint import planning
from paramlint.codegen.generate import generate
from paramlint.codegen.smoke_script import smoke_script
from paramlint.errors import ParamlintError
from paramlint.knowledge import load
from paramlint.model.process import Request
from paramlint.smoke import loss
from paramlint.smoke.checks.state import same
from paramlint.smoke.process import SmokeRequest
from paramlint.smoke.run import smoke
from paramlint.smoked import SmokeCheck


class Endless(torch.autograd.Function):
    """As it was, but with one infinity in its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.index_fill(0, torch.tensor([0]), inf)


class Net(nn.Module):
    def __init__(self, endless: bool = False) -> None:
        super().__init__()
        self.endless = endless
        self.a = nn.Linear(8, 16)
        self.b = nn.Linear(16, 16)
        self.c = nn.Linear(16, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        weight = Endless.apply(self.b.weight) if self.endless else self.b.weight
        x = torch.relu(nn.functional.linear(torch.relu(self.a(x)), weight, self.b.bias))
        return self.out(torch.relu(self.c(x)))


def build() -> nn.Module:
    return Net()


def endless() -> nn.Module:
    return Net(endless=True)


def rows() -> Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


def lost(outputs: Tensor) -> Tensor:
    return outputs.sum() * nan


def split(net: Net, lr: float = 0.02, cls: type[Muon] = Muon) -> list[Optimizer]:
    muon = [net.b.weight, net.c.weight]
    return [cls(muon, lr=lr), AdamW([p for p in net.parameters() if all(p is not m for m in muon)], lr=3e-4)]


def standing(net: Net) -> list[Optimizer]:
    return split(net, lr=0.0)


def as_adam(net: Net) -> list[Optimizer]:
    return split(net, lr=3e-4)


class Overflowing(Muon):
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        self.param_groups[0]["params"][0].fill_(nan)


def overflowing(net: Net) -> list[Optimizer]:
    return split(net, cls=Overflowing)


def together(net: nn.Module) -> Optimizer:
    return AdamW(net.parameters(), lr=3e-4)


def complex_in_muon(net: Waves) -> list[Optimizer]:
    return [Muon([net.filter, net.b.weight], lr=0.02), AdamW([*net.a.parameters(), *net.out.parameters()], lr=3e-4)]


class Waves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 16)
        self.filter = nn.Parameter(torch.randn(16, 16, dtype=torch.cfloat))
        self.b = nn.Linear(16, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.b((torch.relu(self.a(x)).to(torch.cfloat) @ self.filter).real)))


def waves() -> nn.Module:
    return Waves()


def normalised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(
            nn.Linear(8, 16),
            nn.ReLU(),
            nn.utils.weight_norm(nn.Linear(16, 16)),
            nn.utils.spectral_norm(nn.Linear(16, 16)),
            nn.BatchNorm1d(16),
            nn.Linear(16, 3),
        )


def checks(model: str, optimizer: str = "", **more: Any) -> dict[str, SmokeCheck]:
    """What a step of a model of this file shows, by the name of the check."""
    build = Request(f"{__file__}:{model}", inputs=f"{__file__}:rows", trace=True, memory_limit=more.pop("limit", None))
    chosen = {"optimizers": (f"{__file__}:{optimizer}",)} if optimizer else {}
    result = smoke(SmokeRequest(build, device="cpu", **chosen, **more))
    return {c.name: c for c in result.checks}


def failed(found: dict[str, SmokeCheck]) -> set[str]:
    return {c.name for c in found.values() if c.verdict == "fail"}


@pytest.mark.parametrize("optimizer", ["split", "together"])
def test_a_loss_that_is_no_number(optimizer: str) -> None:
    found = checks("build", optimizer, loss=f"{__file__}:lost", processes=2)
    assert failed(found) == {"loss-finite", "gradients"}
    skipped = ("update-rms", "orthogonal", "grad-none", "autocast", "bf16", "ddp", "fsdp2")
    assert {name for name in skipped if found[name].verdict == "skip"} == set(skipped)
    assert found["grad-none"].figure == "the weights are NaN or infinity after the steps"


def test_infinity_in_one_gradient_alone() -> None:
    found = checks("endless", "split")
    assert failed(found) == {"gradients"}
    assert found["gradients"].parameters == ("b.weight",)
    assert "Muon 1.00 of what is expected (1 matrices); AdamW" in found["update-rms"].figure
    assert found["orthogonal"].verdict == "pass"


def test_an_optimizer_that_makes_nan() -> None:
    found = checks("build", "overflowing")
    assert failed(found) == {"update-rms", "orthogonal"}
    for name in failed(found):
        assert found[name].parameters == ("b.weight",)
        assert "with NaN or infinity" in found[name].figure
        assert "of a gradient that has none" in found[name].help


def test_an_lr_of_0_has_no_size() -> None:
    found = checks("build", "standing")
    assert failed(found) == {"covered-moves"}
    assert found["covered-moves"].parameters == ("b.weight", "c.weight")


def test_an_lr_of_adams_size_for_muon() -> None:
    found = checks("build", "as_adam")
    assert failed(found) == {"update-rms"}
    assert found["update-rms"].parameters == ("b.weight", "c.weight")
    assert found["update-rms"].figure == "lr 0.0003 of Muon's groups is of AdamW's size (0.0003)"


def test_complex_parameters_are_stepped_part_by_part() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of imaginary parts that are thrown away
        found = checks("waves", "together")
    assert failed(found) == set()
    assert found["update-rms"].figure == "AdamW 1.00 (7 parameters)"
    assert "no bfloat16" in found["bf16"].figure


def test_what_a_step_fails_on_is_told_from_its_like_of_another_dtype() -> None:
    found = checks("waves", "complex_in_muon")
    assert found["step"].parameters == ("filter",)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_model_that_refuses_a_copy_is_built_again() -> None:
    found = checks("normalised", profile="adamw")
    assert failed(found) == set()
    assert found["resume"].figure == "1 optimizer loaded; the next step is the same, bit for bit"
    assert {found[name].verdict for name in ("grad-none", "closure", "autocast", "bf16")} == {"pass"}


def test_a_limit_of_memory_is_named_as_what_is_in_the_way() -> None:
    with pytest.raises(ParamlintError) as error:
        checks("build", "together", limit=300 * 10**6)
    assert "on cpu, and --memory-limit allows 300 MB" in error.value.message
    assert error.value.hint is not None and error.value.hint.endswith("or raise --memory-limit")


def test_a_loss_is_multiplied_by_what_finite_gradients_want() -> None:
    faint, wild = torch.full((2, 2), 1e-7), torch.tensor([[inf, nan]])
    assert loss.factor_for({"faint": faint}) == loss.factor_for({"faint": faint, "wild": wild}) > 1


def test_nan_is_the_same_as_nan_and_as_nothing_else() -> None:
    one = torch.tensor([nan, 1.0])
    assert same(one, one.clone())
    assert not same(one, torch.tensor([0.0, 1.0]))
    assert not same(one, torch.tensor([nan, 2.0]))


Run = Callable[[Path], tuple[int, str, str]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a script in this process: its status, and what it says on stdout and stderr."""

    def run(script: Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", [str(script), "--device", "cpu"])
        monkeypatch.setattr("sys.path", [*__import__("sys").path])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name="__main__")
        said = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, said.out, said.err

    return run


def failures(said: str) -> dict[str, str]:
    lines = [line[5:].partition(": ") for line in said.splitlines() if line.startswith("FAIL ")]
    return {name: figure for name, _, figure in lines}


def test_a_script_finds_muons_lr_in_the_adamw_group(tmp_path: Path, ran: Run) -> None:
    script = write(
        tmp_path, "gpt", "torch-muon", lambda t: t.replace("adamw_lr: float = 3e-4", "adamw_lr: float = 2e-2")
    )
    status, said, _ = ran(script)
    assert status == 1
    assert set(failures(said)) == {"learning rates"}
    assert failures(said)["learning rates"].startswith("Muon's 0.02, AdamW's up to 0.02; not wte.weight, ")


def test_a_script_names_what_is_in_another_group_than_planned(tmp_path: Path, ran: Run) -> None:
    def moved(text: str) -> str:
        """The tied embedding is stepped by Muon; the first norm's gain has a kind of its own."""
        return text + (
            "\n\nsound, known = build_optimizer, kinds_of\n\n\n"
            "def build_optimizer(model):\n"
            "    made, table = sound(model), model.wte.weight\n"
            "    for group in made[1].param_groups:\n"
            "        group['params'] = [p for p in group['params'] if p is not table]\n"
            "    made[0].add_param_group({'params': [table]})\n"
            "    return made\n\n\n"
            "def kinds_of(model):\n"
            "    return {**known(model), 'h.0.ln_1.weight': 'decay'}\n"
        )

    status, said, _ = ran(write(tmp_path, "gpt", "torch-muon", moved))
    assert status == 1
    listed = failures(said)["groups"]
    assert "wte.weight (planned as " in listed and " with Muon)" in listed
    assert "h.0.ln_1.weight (planned as no_decay, is decay with Adam)" in listed


def test_a_script_for_another_depth_knows_its_layers(tmp_path: Path, ran: Run) -> None:
    script = write(tmp_path, "gpt", "torch-muon")
    script.write_text(script.read_text().replace("n_layer=2", "n_layer=3"))
    _, said, _ = ran(script)
    assert set(failures(said)) == {"state"}
    assert "ok   groups: 52 of 52 parameters are as planned" in said


def test_a_script_says_in_one_line_what_has_to_be_installed(tmp_path: Path, ran: Run) -> None:
    for optimizer, how in {"keller": "pip install git+https://", "scion": "copy scion.py from https://"}.items():
        script = write(tmp_path / optimizer, "gpt", optimizer)
        groups = script.with_name("groups.py")
        name = "muon" if optimizer == "keller" else optimizer
        groups.write_text(groups.read_text().replace(f"from {name} import", f"from {name}.absent import"))
        status, said, error = ran(script)
        assert (status, said, error.count("\n")) == (2, "", 1)
        assert f": {how}" in error


def test_a_script_ends_where_gradients_are_no_numbers(tmp_path: Path, ran: Run) -> None:
    def spoilt(text: str) -> str:
        return text + (
            "\n\nsound = build_optimizer\n\n\n"
            "def build_optimizer(model):\n"
            "    model.wte.weight.data.fill_(float('nan'))\n"
            "    return sound(model)\n"
        )

    status, said, error = ran(write(tmp_path, "gpt", "torch-muon", spoilt))
    assert (status, error) == (1, "")
    assert set(failures(said)) == {"loss", "finite gradients"}


def test_a_script_for_complex_parameters(tmp_path: Path, ran: Run) -> None:
    known, profile = load(), load().profile("adamw")
    inventory = paramlint.inspect(waves(), inputs=rows)
    plan = planning.plan(inventory, known, "adamw")
    (tmp_path / "groups.py").write_text(generate(plan, inventory, profile))
    script = tmp_path / "groups_smoke.py"
    target = f"{__file__}:waves"
    script.write_text(smoke_script(plan, inventory, target, {}, "groups", profile=profile, folder=tmp_path))
    status, said, _ = ran(script)
    assert status == 0, said
    assert "ok   moved: 7 of 7 trained parameters" in said
