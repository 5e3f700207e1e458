"""Wrapped and changed models: what parameters are used for is the same as in the plain model."""

from __future__ import annotations

import functools
import os
import threading
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import paramlint

IDS = torch.ones(2, 6, dtype=torch.long)
D = 16


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(D), nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(40, D)
        self.wpe = nn.Parameter(torch.zeros(1, 6, D))
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(D, 40)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def roles(model, inputs=IDS):
    found = paramlint.inspect(model, inputs=inputs, evidence=("identity", "use"))
    assert all(p.stopped == "" for p in found.passes)
    return {p.name: p.role for p in found.parameters}


PLAIN = roles(LM())


def test_the_plain_model():
    assert PLAIN["wte.weight"] == "embedding"
    assert PLAIN["wpe"] == "position-table"
    assert PLAIN["blocks.0.up.weight"] == "hidden-matrix"
    assert PLAIN["blocks.1.norm.weight"] == "norm-gain"
    assert PLAIN["head.weight"] == "output-head"


@pytest.fixture
def group(tmp_path):
    """A process group of one."""
    if not torch.distributed.is_available():
        pytest.skip("torch without distributed")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_distributed_data_parallel(group):
    model = nn.parallel.DistributedDataParallel(LM())
    assert roles(model) == PLAIN
    assert roles(torch.compile(model)) == PLAIN


def test_data_parallel():
    assert roles(nn.DataParallel(LM())) == PLAIN


def test_compiled():
    assert roles(torch.compile(LM())) == PLAIN
    model = LM()
    model.blocks[0] = torch.compile(model.blocks[0])
    model.head.compile()
    for block in model.blocks:
        block.compile()
    assert roles(model) == PLAIN
    model = LM()
    model.compile()
    assert roles(model) == PLAIN


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpoints(reentrant):
    class Saving(LM):
        def forward(self, ids):
            x = self.wte(ids) + self.wpe
            for block in self.blocks:
                x = checkpoint(block, x, use_reentrant=reentrant)
            return self.head(x)

    assert roles(Saving()) == PLAIN


def test_checkpoint_wrappers():
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

    model = LM()
    apply_activation_checkpointing(model, check_fn=lambda m: isinstance(m, Block))
    assert roles(model) == PLAIN
    unused = LM()
    unused.blocks[0].spare = nn.Linear(3, 3)
    apply_activation_checkpointing(unused, check_fn=lambda m: isinstance(m, Block))
    found = paramlint.inspect(unused, inputs=IDS)
    assert found.find("blocks.0.spare.weight").reach == "unreached"
    assert found.find("blocks.0.up.weight").reach == "read"


PARAMETRIZED = {
    "weight_norm": (parametrizations.weight_norm, {"original0": "scale", "original1": "hidden-matrix"}),
    "spectral_norm": (parametrizations.spectral_norm, {"original": "hidden-matrix"}),
    "orthogonal": (parametrizations.orthogonal, {"original": "hidden-matrix"}),
}


@pytest.mark.parametrize("which", PARAMETRIZED)
def test_parametrizations(which):
    change, expected = PARAMETRIZED[which]
    model = LM()
    for block in model.blocks:
        change(block.up)
    found = roles(model)
    for i in range(2):
        for name, role in expected.items():
            assert found[f"blocks.{i}.up.parametrizations.weight.{name}"] == role
    assert found["blocks.0.up.bias"] == "bias"
    assert found["blocks.1.down.weight"] == "hidden-matrix"


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_parametrizations_of_old():
    model = LM()
    nn.utils.weight_norm(model.blocks[0].up)
    nn.utils.spectral_norm(model.blocks[1].up)
    found = roles(model)
    assert found["blocks.0.up.weight_v"] == "hidden-matrix"
    assert found["blocks.0.up.weight_g"] == "scale"
    assert found["blocks.1.up.weight_orig"] == "hidden-matrix"


class Convs(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.layers = nn.Sequential(*(change(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1)) for i in range(3)))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(torch.relu(self.layers(x)).mean((2, 3)))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("change", "matrix", "gain"),
    [
        (parametrizations.weight_norm, "parametrizations.weight.original1", "parametrizations.weight.original0"),
        (nn.utils.weight_norm, "weight_v", "weight_g"),
        (parametrizations.spectral_norm, "parametrizations.weight.original", None),
        (nn.utils.spectral_norm, "weight_orig", None),
    ],
)
def test_parametrized_filters(change, matrix, gain):
    found = roles(Convs(change), torch.zeros(2, 3, 8, 8))
    assert found[f"layers.1.{matrix}"] == "conv-filter"
    assert found[f"layers.0.{matrix}"] == "input-projection"
    assert gain is None or found[f"layers.1.{gain}"] == "scale"


class Adapted(nn.Module):
    """A frozen map with a pair of thin ones beside it, in the manner of adapter libraries."""

    def __init__(self, base, rank=2):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base.out_features, bias=False)})
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.1)})
        self.scaling = {"default": 2.0}

    def forward(self, x):
        out = self.base_layer(x)
        for name in self.lora_A:
            out = out + self.lora_B[name](self.lora_A[name](self.lora_dropout[name](x))) * self.scaling[name]
        return out


class Packed(nn.Module):
    """A linear map in four bits, for a kernel that is not here."""

    def __init__(self, linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = nn.Parameter(torch.zeros(linear.weight.numel() // 2, 1, dtype=torch.uint8), requires_grad=False)
        self.bias = linear.bias

    def forward(self, x):
        raise RuntimeError("the four-bit kernel needs a CUDA device")


def adapted(model, base=lambda linear: linear):
    for p in model.parameters():
        p.requires_grad_(False)
    for block in model.blocks:
        block.up, block.down = Adapted(base(block.up)), Adapted(base(block.down))
    return model


@pytest.mark.parametrize("base", [lambda linear: linear, Packed], ids=["plain", "quantised"])
def test_adapters_on_a_frozen_base(base):
    found = paramlint.inspect(adapted(LM(), base), inputs=IDS)
    for i in range(2):
        for name in ("up", "down"):
            for half in "AB":
                p = found.find(f"blocks.{i}.{name}.lora_{half}.default.weight")
                assert p.role == "low-rank-adapter"
                assert any(u.adapts for u in p.uses)
    assert found.find("head.weight").role == "output-head"
    assert found.find("blocks.0.up.base_layer.weight").uses[0].op == "matmul"


def test_quantised_maps():
    model = LM()
    for block in model.blocks:
        block.up, block.down = Packed(block.up), Packed(block.down)
    found = paramlint.inspect(model, inputs=IDS)
    assert found.passes[0].answered == ("Packed",)
    assert found.find("head.weight").uses[0].to_output
    for i in range(2):
        assert found.find(f"blocks.{i}.up.weight").reach == "read"
        assert found.find(f"blocks.{i}.up.bias").role == "bias"


def test_dynamic_quantisation_of_torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = torch.ao.quantization.quantize_dynamic(LM(), {nn.Linear})
        except RuntimeError as error:
            pytest.skip(f"no engine for quantised maps: {error}")
    found = paramlint.inspect(model, inputs=IDS)
    assert found.find("blocks.0.norm.weight").role == "norm-gain"
    assert found.find("blocks.1.norm.weight").reach == "read"


def test_fully_shard(group):
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("torch without fully_shard")
    model = LM()
    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    for block in model.blocks:
        fsdp.fully_shard(block, mesh=mesh)
    fsdp.fully_shard(model, mesh=mesh)
    found = paramlint.inspect(model, inputs=IDS)
    assert {p.name: p.role for p in found.parameters} == PLAIN
    assert found.find("blocks.0.up.weight").shape == (4 * D, D)
    assert hasattr(model.blocks[0].up.weight, "_local_tensor")


def stops(model, words):
    found = paramlint.inspect(model)
    (last,) = found.passes
    assert words in last.stopped
    assert all(not p.uses and p.reach == "" for p in found.parameters)
    return found


def test_flat_parameters_are_not_traced():
    class FlatParameter(nn.Parameter):
        pass

    model = LM()
    model.blocks = nn.ModuleList()
    model.register_parameter("_flat_param", FlatParameter(torch.zeros(100)))
    assert stops(model, "FSDP").find("_flat_param").state == "flat"


def test_emptied_parameters_are_not_traced():
    model = LM()
    for p in model.parameters():
        p.ds_id = 0
        p.data = torch.empty(0)
    found = stops(model, "ZeRO-3")
    assert all(p.state == "emptied" for p in found.parameters)


def test_lazy_modules_stay_lazy():
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    found = stops(model, "lazy")
    assert all(p.state == "uninitialized" for p in found.parameters)
    assert all(nn.parameter.is_lazy(p) for p in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_scripted_modules_are_not_traced():
    stops(torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), "TorchScript")


def test_exported_modules():
    model = torch.export.export(LM(), (IDS,)).module()
    assert set(roles(model).values()) == set(PLAIN.values())


class Late(LM):
    """Registers a parameter when it is first called."""

    def forward(self, ids):
        if not hasattr(self, "gain"):
            self.gain = nn.Parameter(torch.ones(D))
        return self.head(self.wte(ids) * self.gain)


def test_a_parameter_made_by_the_forward():
    model = Late()
    found = paramlint.inspect(model, inputs=IDS)
    assert not hasattr(model, "gain") and found.find("gain") is None
    assert found.appeared == ("gain",)
    assert found.find("wte.weight").role == "embedding"


class Owner:
    """An object of the user's that knows the model, and cannot be copied."""

    def __init__(self, model):
        self.model, self.lock = model, threading.Lock()

    def scaled(self, x):
        with self.lock:
            return x * self.model.gain


class Awkward(LM):
    """Everything that `copy.deepcopy` refuses, or copies wrongly."""

    def __init__(self, path):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(D))
        self.shift = nn.Parameter(torch.ones(D))
        self.spare = nn.Parameter(torch.ones(D))
        self.lock, self.generator, self.torch = threading.RLock(), torch.Generator(), torch
        self.file = open(path, "w")  # noqa: SIM115
        self.history = self.gain * 2
        self.cache = {"nested": [self.gain * 3]}
        self.shifted = lambda x: x + self.shift
        self.spared = functools.partial(self.with_spare, scale=2.0)
        self.again = weakref.ref(self.blocks[0])
        self.ring = {"self": self}
        self.ring["ring"] = self.ring
        self.owner = Owner(self)
        self.hidden = [nn.Linear(D, D)]
        self.blocks[0].register_forward_hook(lambda module, args, out: out + self.spare)

    def with_spare(self, x, scale):
        return x + self.spare * scale

    def forward(self, ids):
        with self.lock:
            x = self.owner.scaled(self.wte(ids))
            x = self.shifted(self.spared(x)) + self.cache["nested"][0] + self.history
            x = self.hidden[0](self.again()(self.blocks[0](x)))
            assert self.ring["ring"]["self"] is self
            return self.head(self.blocks[1](x))


def test_attributes_that_cannot_be_copied(tmp_path):
    model = Awkward(tmp_path / "log")
    found = paramlint.inspect(model, inputs=IDS)
    assert [p.stopped for p in found.passes] == [""]
    assert found.find("gain").role == "scale"
    for name in ("shift", "spare"):
        assert {u.op for u in found.find(name).uses} == {"add"}
    assert found.find("blocks.0.up.weight").role == "hidden-matrix"
    model.file.close()
    assert model.history.requires_grad and not model.history.is_meta
    assert not model.hidden[0].weight.is_meta


@pytest.mark.skipif(not hasattr(torch.library, "custom_op"), reason="torch without custom operators")
def test_graph_modules():
    from torch import fx

    assert set(roles(fx.symbolic_trace(LM())).values()) == set(PLAIN.values())
