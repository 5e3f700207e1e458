"""The same step over two processes: what DDP and FSDP2 leave as it is, and what does not survive them."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paramlint.knowledge import load
from paramlint.model.process import Request
from paramlint.parameter import Plain
from paramlint.smoke import agreement, run, wrapping
from paramlint.smoke.distributed import MODES, distributed
from paramlint.smoke.optimizers import Maker
from paramlint.smoke.process import SmokeRequest
from paramlint.smoke.recipe import Recipe
from paramlint.smoke.step import Updates
from paramlint.smoked import SmokeCheck

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL: dict[str, dict[str, Plain]] = {
    "gpt": {"n_layer": 2, "n_embd": 64, "vocab_size": 128, "block_size": 32},
    "moe": {"depth": 2, "dim": 32, "heads": 2, "hidden": 64, "experts": 4, "vocab_size": 64},
}

NET = """
import os
import torch
from torch import nn, optim


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(64, 32)
        self.h = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(32, 1, bias=False)
        self.spare = nn.Linear(32, 32)  # as an expert that gets no token: DDP must not wait for its gradient

    def forward(self, idx):
        x = self.wte(idx)
        for block in self.h:
            x = block(x)
        return self.head(x)


def build():
    return Net()


def two(model, in_muon):
    muon, rest = [], []
    for name, p in model.named_parameters():
        (muon if in_muon(name, p) else rest).append(p)
    return [*([optim.Muon(muon, lr=0.02)] if muon else []), optim.AdamW(rest, lr=3e-4)]


def head_in_muon(model):
    return two(model, lambda name, p: p.ndim == 2 and "wte" not in name)


def anchored(model):
    return two(model, lambda name, p: p.ndim == 2 and name.startswith("h."))


def by_rank(model):
    kept = "up" if os.environ.get("RANK", "0") == "0" else "down"
    return two(model, lambda name, p: p.ndim == 2 and kept in name)


class Crooked(optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = 0.1 * (1 + int(os.environ.get("RANK", "0")))
        return super().step(closure)


def crooked(model):
    return [Crooked(model.h.parameters(), lr=0.1), optim.SGD([*model.wte.parameters(), model.head.weight], lr=0.1)]


def waiting(model):
    if os.environ.get("WORLD_SIZE", "1") != "1":
        open(f"rank-{os.environ['RANK']}-{os.getpid()}", "w").close()
        torch.distributed.barrier()
        __import__("time").sleep(1000)
    return optim.SGD(model.parameters(), lr=0.1)


def whole(model):
    import muon

    params = [p for n, p in model.named_parameters() if "h." in n]
    return muon.MuonWithAuxAdam(
        [dict(params=params, use_muon=False, lr=0.02, betas=(0.9, 0.95), eps=1e-8, weight_decay=0)]
    )


def told(model, distributed_mesh=None):
    if os.environ.get("WORLD_SIZE", "1") != "1":
        wanted = "ProcessGroup" if type(model).__name__ == "DistributedDataParallel" else "DeviceMesh"
        if type(distributed_mesh).__name__ != wanted:
            raise TypeError(f"{distributed_mesh} is no {wanted}")
    return optim.SGD([p for n, p in model.named_parameters() if "h." not in n], lr=0.1)


def dying(model):
    if os.environ.get("RANK", "0") == "1":
        os._exit(7)
    return optim.SGD(model.parameters(), lr=0.1)
"""


# Wants whole parameters and a process group, as the class of that name does (https://github.com/KellerJordan/Muon).
GATHERING = """
import torch
from torch import distributed as dist


class MuonWithAuxAdam(torch.optim.Optimizer):
    def __init__(self, param_groups):
        super().__init__(param_groups, {})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                shares = [torch.empty_like(p) for _ in range(dist.get_world_size())]
                dist.all_gather(shares, p.grad)
                p.sub_(sum(shares) / len(shares), alpha=group["lr"])
"""


def checks(
    target: str, timeout: float = 200.0, modes: tuple[wrapping.Mode, ...] = MODES, **request: Any
) -> dict[str, SmokeCheck]:
    asked = SmokeRequest(Request(target, kwargs=request.pop("kwargs", {}), trace=True), device="cpu", **request)
    known = load()
    model, factories = run.prepared(asked, known)
    maker = Maker(factories, known.profiles)
    try:
        subject = run.subject_of(asked, known, model, maker, maker.make(model.module))
        recipe = Recipe(asked, model.inventory)
        before = set(multiprocessing.active_children())
        found = distributed(recipe, subject, processes=2, modes=modes, timeout=timeout)
        assert set(multiprocessing.active_children()) == before
    finally:
        maker.close()
    assert [c.name for c in found] == list(modes)
    return {c.name: c for c in found}


@pytest.fixture
def net(module: Any) -> str:
    module(NET, "planted_net.py")
    return "planted_net.py"


@pytest.mark.parametrize("example", SMALL)
def test_updates_are_those_of_one_process(example: str) -> None:
    found = checks(f"{EXAMPLES / example}.py:build", kwargs=SMALL[example], profile="torch-muon")
    assert [c.verdict for c in found.values()] == ["pass", "pass"], found
    assert found["ddp"].figure.startswith("2 processes on CPU, gloo: ")
    assert "elementwise updates the same" in found["ddp"].figure
    assert "along the gradient" in found["fsdp2"].figure  # Newton-Schulz adds in another order


def test_a_row_in_muon_cannot_be_stepped_when_it_is_sharded(net: str) -> None:
    found = checks(f"{net}:build", optimizers=(f"{net}:head_in_muon",))
    assert found["ddp"].verdict == "pass"
    check = found["fsdp2"]
    assert (check.verdict, check.code, check.parameters) == ("fail", "PML204", ("head.weight",))
    assert "head.weight (1, 32)" in check.figure


def test_names_that_are_anchored_are_lost_under_a_prefix(net: str) -> None:
    found = checks(f"{net}:build", optimizers=(f"{net}:anchored",))
    check = found["ddp"]
    assert check.verdict == "fail"
    assert set(check.parameters) == {f"h.{i}.{part}.weight" for i in range(2) for part in ("up", "down")}
    assert "in group 0 of AdamW under DDP, in group 0 of Muon without it: h.{0,1}.up.weight" in check.figure
    assert found["fsdp2"].verdict == "pass"


def test_groups_that_depend_on_the_rank_are_named(net: str) -> None:
    found = checks(f"{net}:build", optimizers=(f"{net}:by_rank",))
    for check in found.values():
        assert check.verdict == "fail"
        assert set(check.parameters) == {f"h.{i}.{part}.weight" for i in range(2) for part in ("up", "down")}
        assert "h.0.up.weight is in group 0 of Muon on rank 0 and in group 0 of AdamW on rank 1" in check.figure


def test_a_step_that_depends_on_the_rank_is_seen_in_the_weights(net: str) -> None:
    found = checks(f"{net}:build", optimizers=(f"{net}:crooked",))
    blocks = {f"h.{i}.{part}.{kind}" for i in range(2) for part in ("up", "down") for kind in ("weight", "bias")}
    for check in found.values():
        assert (check.verdict, set(check.parameters)) == ("fail", blocks)
    assert "8 parameters differ between ranks after the step" in found["ddp"].figure
    assert any("made from model.module" in line for line in found["ddp"].details)
    assert "not those of one process" in found["fsdp2"].figure


def test_a_class_that_gathers_whole_tensors(net: str, module: Any, tmp_path: Path, monkeypatch: Any) -> None:
    module(GATHERING, "muon.py")
    monkeypatch.syspath_prepend(tmp_path)
    found = checks(f"{net}:build", optimizers=(f"{net}:whole", f"{net}:told"))
    sys.modules.pop("muon", None)
    assert found["ddp"].verdict == "pass", found["ddp"]
    check = found["fsdp2"]
    assert check.verdict == "skip"
    assert check.figure == "KellerJordan/Muon, MuonWithAuxAdam (git) wants whole tensors"
    assert "allgather" in check.details[-1]


def test_a_rank_that_dies_is_named(net: str) -> None:
    check = checks(f"{net}:build", optimizers=(f"{net}:dying",), modes=("ddp",))["ddp"]
    assert check.verdict == "fail"
    assert check.figure == "rank 1 ended with exit code 7 in the making of the optimizers under DDP"


def test_ctrl_c_leaves_no_process(net: str, tmp_path: Path) -> None:
    here = Path(__file__).parent
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background\n"
        f"sys.path.insert(0, {str(here)!r})\nfrom test_smoke_distributed import checks\n"
        f"if __name__ == '__main__': checks('{net}:build', optimizers=('{net}:waiting',), modes=('ddp',))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    asking = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 100
        while len(marks := list(tmp_path.glob("rank-*"))) < 2:
            assert asking.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        asking.send_signal(signal.SIGINT)
        asking.wait(45)
    finally:
        asking.kill()
    assert asking.returncode != 0
    for mark in marks:
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.name.split("-")[2]), 0)
    # torch's own cache of compiled code is no leftover of the ranks.
    assert [p.name for p in (tmp_path / "tmp").iterdir() if not p.name.startswith("torchinductor")] == []


def updates(before: torch.Tensor, gradient: torch.Tensor, after: torch.Tensor) -> Updates:
    return Updates(0.0, {"w": before}, {"w": gradient}, {"w": after})


def test_differences_where_the_gradient_has_nothing_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(64, 64, generator=generator))[0] for _ in range(2))
    gradient = left[:, :8] @ right[:8]
    weight = torch.zeros(64, 64)
    update = left[:, :8] @ right[:8] + 0.5 * left[:, 8:] @ right[8:]
    elsewhere = update + 0.3 * left[:, 8:32] @ right[8:32]
    along = update + 0.3 * left[:, :2] @ right[:2]
    alone = updates(weight, gradient, update)

    def difference(after: torch.Tensor, muon: frozenset[str] = frozenset({"w"})) -> agreement.Difference:
        return agreement.differences(alone, updates(weight, gradient, after), muon)[0]

    assert difference(elsewhere).update < 1e-5 and not difference(elsewhere).counts
    assert difference(along).update == pytest.approx(0.3 * math.sqrt(2 / 8), rel=1e-3) and difference(along).counts
    assert difference(elsewhere, frozenset()).counts  # an elementwise update is compared as it is
    assert difference(torch.full((64, 64), math.nan)).counts


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3))
        self.blocks[2][0].weight = self.blocks[0][0].weight
        self.heads = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))


def test_blocks_that_share_a_parameter_are_not_sharded_apart() -> None:
    assert wrapping.repeated(Tied()) == ["blocks.1"]
