"""What `paramlint.inspect` says of models: by module type, tensor identity, accessors, structure and shape."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import paramlint
from paramlint.errors import ParamlintError
from paramlint.parameter import Inventory, Parameter


def roles(model: nn.Module, **options: object) -> dict[str, str]:
    return {p.name: p.role for p in paramlint.inspect(model, **options).parameters}  # type: ignore[arg-type]


def only(inventory: Inventory, name: str) -> Parameter:
    p = inventory.find(name)
    assert p is not None, name
    return p


class Block(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)


class Classifier(nn.Module):
    """Names that say nothing, so that only types, identity and places can."""

    def __init__(self, depth: int = 3, width: int = 64) -> None:
        super().__init__()
        self.a = nn.Embedding(1000, width)
        self.b = nn.ModuleList(Block(width) for _ in range(depth))
        self.c = nn.LayerNorm(width)
        self.d = nn.Linear(width, 7)


def test_a_model_whose_names_say_nothing() -> None:
    found = roles(Classifier())
    assert found["a.weight"] == "embedding"
    assert found["b.0.up.weight"] == found["b.2.down.weight"] == "hidden-matrix"
    assert found["b.1.norm.weight"] == found["c.weight"] == "norm-gain"
    assert found["b.1.norm.bias"] == found["d.bias"] == "bias"
    assert found["d.weight"] == "output-head"


def test_tied_weights_are_one_parameter_with_an_alias() -> None:
    model = Classifier()
    model.d = nn.Linear(64, 1000, bias=False)
    model.d.weight = model.a.weight
    inventory = paramlint.inspect(model)
    tied = only(inventory, "d.weight")
    assert (tied.name, tied.aliases, tied.role, tied.destination) == (
        "a.weight",
        ("d.weight",),
        "tied-embedding",
        "adam",
    )
    assert tied.confidence == "certain" and tied.evidence[0].layer == "identity"
    assert len(inventory.parameters) == len(list(model.parameters()))


def test_two_linears_that_share_a_weight_are_no_embedding() -> None:
    model = Classifier()
    model.b[1].up.weight = model.b[0].up.weight
    assert roles(model)["b.0.up.weight"] == "hidden-matrix"


@pytest.mark.parametrize(
    ("module", "name", "role", "splits"),
    [
        (nn.LSTM(16, 32), "weight_ih_l0", "fused-matrix", (32,) * 4),
        (nn.GRU(16, 32), "weight_hh_l0", "fused-matrix", (32,) * 3),
        (nn.RNN(16, 32), "weight_hh_l0", "hidden-matrix", ()),
        (nn.LSTM(16, 32, proj_size=8), "weight_hr_l0", "hidden-matrix", ()),
        (nn.MultiheadAttention(32, 4), "in_proj_weight", "fused-matrix", (32,) * 3),
        (nn.MultiheadAttention(32, 4), "out_proj.weight", "hidden-matrix", ()),
        (nn.MultiheadAttention(32, 4, kdim=16, vdim=16), "k_proj_weight", "hidden-matrix", ()),
        (nn.MultiheadAttention(32, 4, add_bias_kv=True), "bias_k", "bias", ()),
        (nn.LayerNorm((4, 8)), "weight", "norm-gain", ()),
        (nn.LayerNorm((4, 8)), "bias", "bias", ()),
        (nn.EmbeddingBag(100, 8), "weight", "embedding", ()),
        (parametrizations.weight_norm(nn.Linear(8, 16)), "parametrizations.weight.original0", "scale", ()),
        (nn.AdaptiveLogSoftmaxWithLoss(32, 500, [100]), "tail.0.1.weight", "output-head", ()),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_module_types(module: nn.Module, name: str, role: str, splits: tuple[int, ...]) -> None:
    """By class alone: a layer that is a whole model is its first map too."""
    p = only(paramlint.inspect(module, trace=False), name)
    assert (p.role, p.splits) == (role, splits)


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.Conv2d(16, 16, 3, groups=16),
        nn.Conv2d(16, 32, 3, groups=4),
        nn.Conv2d(32, 64, 1),
        nn.ConvTranspose2d(64, 32, 2),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def test_convolutions() -> None:
    found = roles(convnet())
    assert [found[f"{i}.weight"] for i in (0, 1, 2, 3, 4, 6)] == [
        "input-projection",
        "depthwise-conv",
        "grouped-conv",
        "conv-filter",
        "conv-filter",
        "output-head",
    ]


def test_an_mlp_has_two_ends() -> None:
    mlp = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    found = roles(mlp)
    assert [found[f"{i}.weight"] for i in (0, 2, 4)] == ["input-projection", "hidden-matrix", "output-head"]


def test_a_wide_map_defined_last_is_a_head_at_a_guess_only() -> None:
    model = Classifier()
    model.e = nn.Linear(17, 64)  # reads another input: what is defined last need not come last
    p = only(paramlint.inspect(model), "e.weight")
    assert (p.role, p.confidence) == ("output-head", "guess")
    assert only(paramlint.inspect(model), "d.weight").confidence == "likely"


class Fused(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(width, 3 * width)
        self.second = nn.Linear(width, width)


class GatedMlp(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(width, 2 * 96)
        self.second = nn.Linear(96, width)


class PlainMlp(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Linear(width, 3 * width)
        self.second = nn.Linear(3 * width, width)


@pytest.mark.parametrize(
    ("part", "splits"), [(Fused, (64, 64, 64)), (GatedMlp, (96, 96)), (PlainMlp, ())], ids=["qkv", "gate-up", "mlp"]
)
def test_fused_matrices_show_by_what_the_next_map_takes(part: type[nn.Module], splits: tuple[int, ...]) -> None:
    model = nn.Sequential(nn.Embedding(50, 64), nn.Sequential(*(nn.Sequential(part(), nn.LayerNorm(64)),) * 1))
    p = only(paramlint.inspect(model), "1.0.0.first.weight")
    assert p.splits == splits
    assert p.role == ("fused-matrix" if splits else "hidden-matrix")


class MixtureBlock(nn.Module):
    """Expert stacks as raw 3-D tensors, beside a router of as many rows."""

    def __init__(self, experts: int = 8, width: int = 32, hidden: int = 48) -> None:
        super().__init__()
        self.x = nn.Linear(width, experts, bias=False)
        self.y = Stack(experts, width, hidden)


class Stack(nn.Module):
    def __init__(self, experts: int, width: int, hidden: int) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.empty(experts, 2 * hidden, width))
        self.q = nn.Parameter(torch.empty(experts, width, hidden))
        self.r = nn.Parameter(torch.empty(experts, width))


def test_expert_stacks_their_router_and_their_bias() -> None:
    model = nn.Sequential(nn.Embedding(100, 32), *(MixtureBlock() for _ in range(2)), nn.Linear(32, 100))
    found = roles(model)
    assert found["1.y.p"] == found["2.y.q"] == "expert-stack"
    assert found["1.x.weight"] == "router"
    assert found["1.y.r"] == "bias"


def test_as_many_classes_as_blocks_make_no_router() -> None:
    model = Classifier(depth=7)
    assert roles(model)["d.weight"] == "output-head"


class Adapter(nn.Module):
    def __init__(self, width: int = 64, rank: int = 4) -> None:
        super().__init__()
        self.base = nn.Linear(width, width)
        self.base.requires_grad_(False)
        self.p = nn.Parameter(torch.zeros(rank, width))
        self.q = nn.Parameter(torch.zeros(width, rank))


def test_a_thin_pair_around_a_full_map_is_an_adapter() -> None:
    model = nn.Sequential(*(nn.Sequential(Adapter(), nn.LayerNorm(64)) for _ in range(2)))
    found = roles(model)
    assert found["0.0.p"] == found["1.0.q"] == "low-rank-adapter"
    assert found["0.0.base.weight"] == "hidden-matrix"


class Oddities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(64, 1, 1))
        self.b = nn.Parameter(torch.zeros(1, 1, 64))
        self.c = nn.Parameter(torch.zeros(64))
        self.d = nn.Parameter(torch.zeros(()))
        self.e = nn.Parameter(torch.zeros(12, 64))
        self.f = nn.Linear(64, 1)


def test_shapes_that_are_vectors_in_effect_and_a_tensor_that_nothing_speaks_for() -> None:
    inventory = paramlint.inspect(Oddities())
    assert {p.name: p.role for p in inventory.parameters} == {
        "a": "scale",
        "b": "token",
        "c": "scale",
        "d": "scale",
        "e": "unknown",
        "f.weight": "row-matrix",
        "f.bias": "bias",
    }
    assert {p.destination for p in inventory.parameters} == {"adam"}
    assert only(inventory, "e").confidence == "guess"


def test_wrappers_leave_the_names_alone() -> None:
    plain = Classifier()
    wrapped = torch.compile(nn.DataParallel(copy.deepcopy(plain)))
    assert isinstance(wrapped, nn.Module)
    assert roles(wrapped) == roles(plain)


def test_inspecting_changes_nothing() -> None:
    model = Classifier().train()
    model.b[0].eval()
    before = torch.get_rng_state(), copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    paramlint.inspect(model)
    assert torch.equal(before[0], torch.get_rng_state())
    assert all(torch.equal(v, before[1][k]) for k, v in model.state_dict().items())
    assert before[2] == [m.training for m in model.modules()]
    assert all(p.grad is None for p in model.parameters())


def test_layers_of_evidence_can_be_chosen() -> None:
    found = roles(Classifier(), evidence=("shape",))
    assert found["b.0.up.weight"] == "unknown" and found["c.weight"] == "scale"
    with pytest.raises(ParamlintError, match="no evidence layer 'modul'"):
        paramlint.inspect(Classifier(), evidence=("modul",))


def test_configured_roles_overrule_all_evidence() -> None:
    inventory = paramlint.inspect(Classifier(), overrides={"d.*": "hidden-matrix", "d.bias": "scale"})
    assert only(inventory, "d.weight").destination == "muon"
    assert only(inventory, "d.bias").role == "scale"
    with pytest.raises(ParamlintError, match="hidden-matrix"):
        paramlint.inspect(Classifier(), overrides={"d.*": "hidden-matrx"})


def test_a_lazy_module_and_what_sharding_leaves() -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 8))
    model[1].weight = nn.Parameter(torch.empty(0))
    states = {p.name: p.state for p in paramlint.inspect(model).parameters}
    assert states["0.weight"] == "uninitialized" and states["1.weight"] == "emptied"


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_a_layer_without_outputs_is_no_leftover_of_sharding() -> None:
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 0), nn.Linear(8, 10))
    found = {p.name: (p.state, p.role, p.destination) for p in paramlint.inspect(model).parameters}
    assert found["1.weight"] == found["1.bias"] == ("ok", "unknown", "adam")
    groups = [{"params": list(model.parameters()), "use_muon": False}]
    assert [f for f in paramlint.check(model, groups).findings if f.severity != "note"] == []
