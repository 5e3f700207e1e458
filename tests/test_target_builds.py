"""Models that are built from the user's own code, in a worker."""

from __future__ import annotations

import re
from importlib.util import find_spec

import in_process
import pytest
import torch
from worker_requests import TARGETS, fails, parameters

from paramlint.errors import ParamlintError
from paramlint.model.process import Request, run

NETS = f"{TARGETS / 'nets.py'}"
META, CPU = "meta", "cpu"

NET = {
    "embed.weight": (16, 8),
    "blocks.0.weight": (8, 8),
    "blocks.0.bias": (8,),
    "blocks.1.weight": (8, 8),
    "blocks.1.bias": (8,),
    "head.weight": (16, 8),
}


@pytest.mark.parametrize(
    ("target", "kwargs", "label"),
    [("Net", {}, "Net"), ("build", {"depth": 2, "lists": ["are", ["lists"]]}, "build")],
)
def test_classes_and_functions(target, kwargs, label):
    response = in_process.run(Request(f"{NETS}:{target}", kwargs=kwargs))
    assert parameters(response) == NET
    assert response.inventory.built_on == META and response.inventory.notes == ()
    place = response.inventory.location
    assert place is not None and place.label == label
    assert (TARGETS / "nets.py").read_text().splitlines()[place.line - 1].startswith(("class Net", "def build"))


def test_groups_and_optimizers_see_the_one_instance_of_the_module():
    response = in_process.run(Request(f"{NETS}:build", objects=("groups", f"{NETS}:optimizers")))
    proposal = response.proposal
    assert proposal is not None
    assert [(u.class_name or "").rpartition(".")[2] for u in proposal.optimizers] == ["", "AdamW", "SGD"]
    given = [[m.name for g in u.groups for m in g.members] for u in proposal.optimizers]
    assert set(given[0]) == set(NET)
    assert given[2] == ["blocks.0.weight", "blocks.1.weight"]


def test_a_script_that_makes_its_model_as_it_runs():
    """4 GiB of weights, had they not been made on meta; and the optimizer holds the very same tensors."""
    response = run(Request(f"{TARGETS / 'script.py'}:model", objects=("optimizer",), memory_limit=1 << 30))
    assert parameters(response)["blocks.0.weight"] == (1 << 16, 1 << 16)
    assert response.inventory.location is not None and response.inventory.location.line == 7
    assert response.proposal is not None
    (use,) = response.proposal.optimizers
    names = [m.name for m in use.groups[0].members]
    assert len(names) == 4 and None not in names


def test_asking_for_cuda_is_absorbed_and_takes_no_memory():
    response = run(Request(f"{NETS}:everything_on_cuda", memory_limit=1 << 30))
    assert response.inventory.built_on == META
    found = {p.name: p for p in response.inventory.parameters}
    assert {p.dtype for p in found.values()} == {"float16"}
    assert found["tied"].aliases == ("embed.weight",)
    assert found["extra"].shape == (1 << 18, 1 << 18)


@pytest.mark.parametrize("on", [None, "cpu"])
def test_rates_read_back_from_tensors_do_not_cost_the_meta_device(on):
    response = in_process.run(Request(f"{NETS}:reads_rates_back", kwargs={"rates_on": on}))
    assert response.inventory.built_on == META
    assert parameters(response)["big"] == (1 << 20, 1 << 20)


def test_a_build_that_needs_weights_is_made_on_the_cpu():
    response = in_process.run(Request(f"{NETS}:reads_weights_back"))
    assert parameters(response) == {"scale": (), **NET}
    assert response.inventory.built_on == CPU
    assert response.inventory.notes == (
        "cannot be built on the meta device (Tensor.item() cannot be called on meta tensors): built on CPU",
    )


def test_arrays_become_parameters():
    response = in_process.run(Request(f"{NETS}:from_array"))
    assert parameters(response) == {"table": (4, 8), **NET} and response.inventory.built_on == META


def test_requires_grad_is_kept():
    response = in_process.run(Request(f"{NETS}:frozen_half", device="cpu"))
    assert [p.name for p in response.inventory.parameters if not p.trainable] == ["embed.weight"]
    assert response.inventory.built_on == CPU and response.inventory.notes == ()


@pytest.mark.parametrize("target", ["tests.data.targets.packaged.whole:build", "packaged/whole.py:build"])
def test_files_in_packages_import_their_neighbours(target, monkeypatch):
    monkeypatch.chdir(TARGETS.parents[2] if target.startswith("tests.") else TARGETS)
    found = (run if "/" not in target else in_process.run)(Request(target))
    assert parameters(found) == {"0.weight": (4, 4), "0.bias": (4,), "1.weight": (2, 4), "1.bias": (2,)}


NOISY = """
import os, subprocess, sys
import torch
print("python prints")
os.write(1, b"the file descriptor prints\\n")
os.system("echo a child prints")
sys.stdout = None
sys.stderr.write("stderr prints\\n")
from torch import nn

def build():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return nn.Linear(4, 2)
"""


def test_what_a_target_prints_stays_out_of_the_answer(module, capfd):
    module(NOISY, "json.py")  # a name that the standard library has
    response = run(Request("json.py:build", show_output=True))
    assert parameters(response) == {"weight": (2, 4), "bias": (2,)}
    out, err = capfd.readouterr()
    assert out == "" and len(re.findall("prints", err)) == 4


BUILDS = """
import torch
from torch import nn

def device_query(): torch.cuda.current_device()
def device_properties(): return nn.Linear(torch.cuda.get_device_properties(0).total_memory, 2)
def buffers():
    kept = bytearray(3 << 30)
    return nn.Linear(2, 2)
def real_tensors():
    net = nn.Linear(1 << 15, 1 << 15)
    float(net.weight.sum())
    return net
def pretrained():
    from transformers import AutoModel
    return AutoModel.from_pretrained("nobody/nothing")
def pair(): return nn.Linear(2, 2), None
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        raise ValueError("no such size")
"""


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("device_query", "asks for a device that this machine does not have: "),
        ("device_properties", "(m.py:6 in device_properties); leave device queries out of the build"),
        ("pair", "pair returned a tuple (Linear, NoneType), not a torch.nn.Module; name a function that returns"),
        ("Net", "m.py:Net: ValueError: no such size (m.py:21 in __init__)"),
    ],
)
def test_builds_that_fail(target, says, module):
    if target.startswith("device") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    module(BUILDS)
    with pytest.raises(ParamlintError) as caught:
        in_process.run(Request(f"m.py:{target}"))
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("buffers", "needs more memory than the limit of 2 GiB (m.py:8 in buffers); raise --memory-limit"),
        ("real_tensors", "needs more memory than the limit of 2 GiB (m.py:11 in real_tensors); on the meta device: Te"),
    ],
)
def test_builds_that_take_too_much_memory(target, says, module):
    module(BUILDS)
    assert says in str(fails(f"m.py:{target}", memory_limit=2 << 30))


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_weights_from_the_hub_are_not_fetched(module):
    module(BUILDS)
    error = fails("m:pretrained")
    assert "huggingface.co" in str(error) and "(m.py:16 in pretrained)" in str(error)
    assert "AutoModel.from_config" in error.hint
