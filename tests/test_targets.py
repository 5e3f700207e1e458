"""What people name as a model, and what can go wrong when it is built: always an answer or one clear line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from paramlint.errors import ParamlintError
from paramlint.model import torchvision_ops
from paramlint.model.load import build
from paramlint.model.process import Request, Response, run
from paramlint.model.sources import prepare
from paramlint.target import parse, parse_object

TARGETS = Path(__file__).parent / "data" / "targets"
NETS = f"{TARGETS / 'nets.py'}"
ROOT = str(Path(__file__).parents[1])
META, CPU = "meta", "cpu"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module `m.py` into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "m.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def fails(target: str, **fields) -> ParamlintError:
    with pytest.raises(ParamlintError) as caught:
        run(Request(target, **fields))
    assert "\n" not in str(caught.value)
    return caught.value


# ------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    ("text", "kind", "source", "attribute"),
    [
        ("pkg.mod:build", "python", "pkg.mod", "build"),
        ("pkg.mod:Model.from_name", "python", "pkg.mod", "Model.from_name"),
        ("models/net.py:build", "python", "models/net.py", "build"),
        ("/a:b/net.py:build", "python", "/a:b/net.py", "build"),
        ("hf:llama", "hf", "llama", ""),
        ("hf:bert:BertForSequenceClassification", "hf", "bert", "BertForSequenceClassification"),
        ("hf:runs/a:b/config.json", "hf", "runs/a:b/config.json", ""),
        ("hf:./folder:AutoModelForCausalLM", "hf", "./folder", "AutoModelForCausalLM"),
        ("timm:vit_base_patch16_224.augreg_in21k", "timm", "vit_base_patch16_224.augreg_in21k", ""),
        (" pkg:model ", "python", "pkg", "model"),
    ],
)
def test_forms(text, kind, source, attribute):
    target = parse(text)
    assert (target.kind, target.source, target.attribute) == (kind, source, attribute)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a target; a target is pkg.module:attribute, path/file.py:attribute, hf:"),
        ("model.py", "model.py: names a file, not a model in it; model.py:<name"),
        ("pkg.mod.build", "names no attribute; did you mean pkg.mod:build?"),
        ("pkg:", "names no attribute after the colon"),
        (":build", "names no module before the colon"),
        ("pkg:build()", "names a call; name the callable, pkg:build, and pass arguments with --kwargs"),
        ("pkg:two words", "'two words' is not the name of an attribute"),
        ("my-pkg:build", "'my-pkg' is neither a dotted module name nor the path of a .py file"),
        ("hf:", "names no model; hf:<model type>"),
        ("hf:llama:", "has an empty class name"),
        ("timm:", "names no model; timm:<name>"),
    ],
)
def test_texts_that_name_nothing(text, says):
    with pytest.raises(ParamlintError, match=re.escape(says)):
        parse(text)
    assert says in str(fails(text))


def test_objects_stand_beside_the_target_or_name_their_file():
    beside = parse("lib/net.py:build")
    assert parse_object("groups", beside) == parse_object(":groups", beside) == parse("lib/net.py:groups")
    assert parse_object("opt.py:make", beside) == parse("opt.py:make")
    with pytest.raises(ParamlintError, match=r"hf:llama has none to look in; name the file too: path/file.py:groups"):
        parse_object("groups", parse("hf:llama"))
    with pytest.raises(ParamlintError, match="names a model, not groups"):
        parse_object("timm:resnet18", beside)


# ------------------------------------------------------------------ what is found before anything runs


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("m:nope", "m has no attribute 'nope'; it defines Config, build, needs, later"),
        ("m:biuld", "m has no attribute 'biuld'; did you mean build?"),
        ("m.py:Config.hidden", "m.py:Config has no attribute 'hidden'"),
        ("m.py:needs", """needs needs arguments: width, depth; --kwargs '{"width": ..., "depth": ...}', or name"""),
        ("m.py:later", "later is async; name a plain function"),
        ("m.py:LIST", "LIST is a list (int, int), not a model and not callable; name a torch.nn.Module"),
        ("m.py:json", "json is a Python module, not a model"),
        ("nn.py:build", "no such file: nn.py"),
        ("n.py:build", "no such file: n.py; did you mean m.py?"),
        ("./m:build", "no such file: m; did you mean m.py:build?"),
        ("./:build", "is a folder, not a .py file"),
        ("mm:build", "no module named 'mm'; did you mean m?"),
        ("pkg.inne:build", "no module named 'pkg.inne'; did you mean inner?"),
        ("m.part:build", "no module named 'm.part'"),
        ("bad.py:build", "bad.py:2:4: IndentationError: unexpected indent"),
        ("bad:build", "bad.py:2:4: IndentationError: unexpected indent"),
        ("notes.txt:build", "notes.txt is not a .py file"),
    ],
)
def test_names_that_lead_nowhere(target, says, module):
    module("", "notes.txt")
    module("bad = 1\n    indented = 2\n", "bad.py")
    module("", "pkg/__init__.py")
    module("", "pkg/inner.py")
    module(
        "import json\nLIST = [1, 2]\nclass Config:\n  width = 1\n"
        "def build(): ...\ndef needs(width, depth, bias=True): ...\nasync def later(): ...\n"
    )
    assert says in str(fails(target))


def test_kwargs_are_checked_against_the_signature(module):
    module("def build(width, depth=1): ...\n")
    assert "build has no argument 'witdh'; did you mean width?" in str(fails("m:build", kwargs={"witdh": 3}))


# ------------------------------------------------------------------ code that does not return
# It runs as the module is imported: the same happens in a function, after torch is imported.


@pytest.mark.parametrize(
    ("code", "says", "hint"),
    [
        ("import sys\nsys.exit(3)", "calls sys.exit(3) (m.py:2)", "only builds the model"),
        ("import sys\nsys.exit()", "calls sys.exit() (m.py:2)", ""),
        ("import os\nos._exit(0)", "ended the process with exit code 0 before there was a model", "os._exit"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "was killed (SIGKILL)", "lack of memory"),
        ("import ctypes\ndef f():\n  ctypes.string_at(0)\nf()", "crashed (SIGSEGV) at m.py:3 in f", ""),
        ("import os\nos.abort()", "crashed (SIGABRT) at m.py:2", ""),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (m.py:1)", ""),
        ("def f():\n  raise ValueError('wrong\\nsize')\nf()", "ValueError: wrong (m.py:2 in f)", ""),
        ("def f():\n  return f()\nf()", "RecursionError: maximum recursion depth exceeded (m.py:2 in f)", ""),
        ("class E(Exception):\n  def __str__(self): 1/0\nraise E", "m:build: E (m.py:3)", ""),
        ("import nosuchpackage.part", "needs the module 'nosuchpackage', which is not installed here (m.py:1)", ""),
        ("from json import nothing", "ImportError: cannot import name 'nothing' from 'json'", ""),
        ("import sys\nsys.modules['torch'] = None\nimport torch", "needs torch, which is", 'pip install "paramlint[mo'),
        ("input('name? ')", "EOFError: EOF when reading a line (m.py:1)", ""),
        ("x = bytearray(1 << 40)", "needs more memory than there is: MemoryError (m.py:1)", ""),
        (
            "import os\nif os.fork() == 0: raise ValueError('child')\nos.wait()\nraise ValueError('parent')",
            "ValueError: parent (m.py:4)",
            "",
        ),
    ],
)
def test_code_that_does_not_come_back(code, says, hint, module):
    module(code)
    error = fails("m:build")
    assert says in str(error)
    assert hint in error.hint


def test_a_hang_is_ended_and_placed(module):
    module("import time\ndef wait():\n  print('still here')\n  time.sleep(600)\nwait()\n")
    start = time.monotonic()
    error = fails("m.py:build", timeout=1)
    assert time.monotonic() - start < 4
    assert str(error).startswith("m.py:build: did not finish within 1 s, and was at m.py:4 in wait; ")
    assert "  still here" in error.traceback


def test_children_are_killed_too(module, tmp_path):
    module(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "raise SystemExit\n"
    )
    start = time.monotonic()
    assert "calls sys.exit()" in str(fails("m:build"))
    assert time.monotonic() - start < 10
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not _alive(pid):
            return
        time.sleep(0.05)
    pytest.fail("the child outlived the worker")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_the_worker_dies_with_its_parent(sent, module, tmp_path):
    module("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    code = "from paramlint.model.process import *; run(Request('m:build'))"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": ROOT}
    )
    for _ in range(200):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    parent.send_signal(sent)
    parent.wait()
    for _ in range(100):
        if not _alive(pid):
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent")


def test_the_traceback_is_the_users_alone(module):
    module("def inner():\n  print('on the way')\n  {}['key']\ndef outer():\n  inner()\nouter()\n")
    text = fails("m:build").traceback
    assert [int(n) for n in re.findall(r'm\.py", line (\d+)', text)] == [6, 5, 3]
    assert "paramlint/" not in text and "importlib" not in text
    assert text.index("KeyError: 'key'") < text.index("Output of the target:\n  on the way")


# ------------------------------------------------------------------ network


@pytest.mark.parametrize(
    ("code", "host"),
    [
        ("import urllib.request\nurllib.request.urlopen('http://weights.example/a')", "weights.example"),
        ("import socket\nsocket.create_connection(('192.0.2.7', 80))", "192.0.2.7"),
        (
            "import urllib.request\ntry:\n  urllib.request.urlopen('https://weights.example/a')\n"
            "except OSError as e:\n  pass\nraise ValueError('no weights')",
            "weights.example",
        ),
        ("import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.7', 9))", "192.0.2.7"),
    ],
)
def test_the_network_is_off_and_named_as_the_cause(code, host, module):
    module(code)
    error = fails("m:build")
    assert f"tries the network ({host}), which is off" in str(error)
    assert "--allow-network" in error.hint


def test_this_machine_and_unix_sockets_are_not_the_network(module):
    module(
        "import socket, multiprocessing\na, b = socket.socketpair()\n"
        "s = socket.create_server(('127.0.0.1', 0))\nsocket.create_connection(('localhost', s.getsockname()[1]))\n"
        "raise ValueError('all good')\n"
    )
    assert str(fails("m:build")) == "m:build: ValueError: all good (m.py:5)"


# ------------------------------------------------------------------ the command line


def test_the_command_line_says_it_in_one_line_on_stderr(module):
    module("import sys\nprint('noise')\nsys.exit(0)\n")
    command = [sys.executable, "-m", "paramlint", "params", "m.py:build", "--output-format", "json"]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT})
    assert ran.returncode == 2 and json.loads(ran.stdout)["summary"]["failed"] == 1
    assert ran.stderr.strip().endswith(
        "m.py:build: calls sys.exit(0) (m.py:3); name a function that only builds the model"
    )
    assert "noise" not in ran.stdout + ran.stderr


# ------------------------------------------------------------------ models


def parameters(response: Response) -> dict[str, tuple[int, ...]]:
    return {p.name: p.shape for p in response.inventory.parameters}


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
    response = run(Request(f"{NETS}:{target}", kwargs=kwargs))
    assert parameters(response) == NET
    assert response.inventory.built_on == META and response.inventory.notes == ()
    place = response.inventory.location
    assert place is not None and place.label == label
    assert (TARGETS / "nets.py").read_text().splitlines()[place.line - 1].startswith(("class Net", "def build"))


def test_groups_and_optimizers_see_the_one_instance_of_the_module():
    response = run(Request(f"{NETS}:build", objects=("groups", f"{NETS}:optimizers")))
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
    response = run(Request(f"{NETS}:reads_rates_back", kwargs={"rates_on": on}, memory_limit=1 << 30))
    assert response.inventory.built_on == META
    assert parameters(response)["big"] == (1 << 20, 1 << 20)


def test_a_build_that_needs_weights_is_made_on_the_cpu():
    response = run(Request(f"{NETS}:reads_weights_back"))
    assert parameters(response) == {"scale": (), **NET}
    assert response.inventory.built_on == CPU
    assert response.inventory.notes == (
        "cannot be built on the meta device (Tensor.item() cannot be called on meta tensors): built on CPU",
    )


def test_arrays_become_parameters():
    response = run(Request(f"{NETS}:from_array"))
    assert parameters(response) == {"table": (4, 8), **NET} and response.inventory.built_on == META


def test_requires_grad_is_kept():
    response = run(Request(f"{NETS}:frozen_half", device="cpu"))
    assert [p.name for p in response.inventory.parameters if not p.trainable] == ["embed.weight"]
    assert response.inventory.built_on == CPU and response.inventory.notes == ()


@pytest.mark.parametrize("target", ["tests.data.targets.packaged.whole:build", "packaged/whole.py:build"])
def test_files_in_packages_import_their_neighbours(target, monkeypatch):
    monkeypatch.chdir(TARGETS.parents[2] if target.startswith("tests.") else TARGETS)
    assert parameters(run(Request(target))) == {"0.weight": (4, 4), "0.bias": (4,), "1.weight": (2, 4), "1.bias": (2,)}


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
    assert parameters(run(Request("json.py:build"))) == {"weight": (2, 4), "bias": (2,)}
    assert capfd.readouterr() == ("", "")
    run(Request("json.py:build", show_output=True))
    out, err = capfd.readouterr()
    assert out == "" and len(re.findall("prints", err)) == 4


BUILDS = """
import socket, torch
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
def offline():
    try: socket.create_connection(("weights.example", 443))
    except OSError: pass
    return nn.Linear(2, 2)
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
        (
            "device_query",
            "asks for a device that this machine does not have: AssertionError: Torch not compiled with C",
        ),
        ("device_properties", "(m.py:6 in device_properties); leave device queries out of the build"),
        ("buffers", "needs more memory than the limit of 2 GiB (m.py:8 in buffers); raise --memory-limit"),
        ("real_tensors", "needs more memory than the limit of 2 GiB (m.py:11 in real_tensors); on the meta device: Te"),
        ("pair", "pair returned a tuple (Linear, NoneType), not a torch.nn.Module; name a function that returns"),
        ("Net", "m.py:Net: ValueError: no such size (m.py:25 in __init__)"),
    ],
)
def test_builds_that_fail(target, says, module):
    if target.startswith("device") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    module(BUILDS)
    assert says in str(fails(f"m.py:{target}", memory_limit=2 << 30))


def test_a_build_that_does_without_the_network_says_so(module):
    module(BUILDS)
    response = run(Request("m:offline"))
    assert response.notes == ("tried the network (weights.example), which is off",)


# ------------------------------------------------------------------ transformers and timm

transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@transformers
@pytest.mark.parametrize(
    ("target", "kwargs", "cls", "how"),
    [
        ("hf:llama", {"num_hidden_layers": 2}, "LlamaForCausalLM", "AutoModelForCausalLM"),
        ("hf:t5", {"num_layers": 1}, "T5ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
        ("hf:bert:BertForSequenceClassification", {"num_labels": 7}, "BertForSequenceClassification", None),
    ],
)
def test_transformers_models(target, kwargs, cls, how):
    response = run(Request(target, kwargs=kwargs))
    assert response.inventory.model.endswith(f".{cls}") and response.inventory.built_on == META
    assert response.inventory.notes == ((f"built as {cls} ({how})",) if how else ())
    assert response.inventory.location is not None and response.inventory.location.label == cls


@transformers
def test_a_configuration_on_disk(module, tmp_path):
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_head": 2, "n_layer": 3}
    torchvision_ops.install()
    module(json.dumps(config), "run/config.json")
    response = run(Request("hf:run", kwargs={"n_layer": 1, "vocab_size": 100}))
    assert parameters(response)["transformer.wte.weight"] == (100, 32) and len(response.inventory.parameters) == 16
    assert response.inventory.notes == ("built as GPT2LMHeadModel, as its config.json says",)
    assert build(parse("hf:run/config.json"), {"n_layer": 2}).model.config.n_layer == 2


@transformers
@pytest.mark.parametrize(
    ("target", "kwargs", "says"),
    [
        ("hf:lama", {}, "hf:lama: transformers knows no model type 'lama'; did you mean llama?"),
        ("hf:gpt2", {"n_layers": 2}, "the configuration has no field 'n_layers'; did you mean n_layer?"),
        ("hf:gpt2:AutoModelForMaskedLM", {}, "knows no 'gpt2' models; AutoModelForCausalLM and AutoModel do"),
        ("hf:gpt2:GPT2LMHeadModle", {}, "no class 'GPT2LMHeadModle'; did you mean GPT2LMHeadModel?"),
        ("hf:bert:GPT2LMHeadModel", {}, "GPT2LMHeadModel is made from a GPT2Config, not from a BertConfig"),
        ("hf:siglip_text_model:AutoModel", {}, "AutoModel knows no 'siglip_text_model' models"),
        ("hf:siglip_text_model", {}, "name the class: hf:siglip_text_model:SiglipTextModel"),
        ("hf:nemotron", {}, """needs 'num_key_value_heads', which the configuration leaves empty (unsupported"""),
        ("hf:./nowhere", {}, "no such file or folder: nowhere"),
        ("hf:nobody/nothing", {}, "--allow-network fetches it (the configuration, no weights)"),
    ],
)
def test_transformers_models_that_cannot_be(target, kwargs, says, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    torchvision_ops.install()
    with pytest.raises(ParamlintError) as caught:
        build(parse(target), kwargs)
    assert says in str(caught.value)


@transformers
@pytest.mark.parametrize(
    ("model_type", "name"),
    [
        ("llama", "AutoModelForCausalLM"),
        ("bert", "AutoModelForMaskedLM"),
        ("bart", "AutoModelForSeq2SeqLM"),
        ("whisper", "AutoModelForSpeechSeq2Seq"),
        ("vit", "AutoModelForImageClassification"),
        ("llava", "AutoModelForImageTextToText"),
        ("clip_text_model", "AutoModel"),
        ("depth_anything", "AutoModelForDepthEstimation"),
    ],
)
def test_the_class_of_a_model_type(model_type, name):
    torchvision_ops.install()
    (note,) = prepare(parse(f"hf:{model_type}"), {}).notes
    assert note.endswith(f"({name})")


@transformers
def test_weights_from_the_hub_are_not_fetched(module):
    module(BUILDS)
    error = fails("m:pretrained")
    assert "huggingface.co" in str(error) and "(m.py:20 in pretrained)" in str(error)
    assert "AutoModel.from_config" in error.hint


@timm
def test_timm_models():
    """With them torchvision, which is imported whether or not its compiled operators fit this torch."""
    response = run(Request("timm:vit_tiny_patch16_224", kwargs={"depth": 1, "num_classes": 5}))
    assert parameters(response)["head.weight"] == (5, 192) and response.inventory.built_on == META
    torchvision_ops.install()
    with pytest.raises(ParamlintError, match=r"'vit_tiny_patch16_225'; did you mean vit_tiny_patch16_224\?"):
        build(parse("timm:vit_tiny_patch16_225"), {})
