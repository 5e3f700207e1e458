"""Layers for layer-wise lr decay: where they come from, and what lr each gets."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn

import paramlint
from examples import convnext, gpt, moe, vit
from paramlint import knowledge, planning
from paramlint.errors import ParamlintError
from paramlint.model import torchvision_ops
from paramlint.parameter import Inventory
from paramlint.planning.layers import described, factor, from_function, layers, scales
from paramlint.serial import decode, encode


@pytest.fixture(scope="module")
def timm():
    torchvision_ops.install()
    return pytest.importorskip("timm", exc_type=ImportError)


def inspected(model: nn.Module) -> Inventory:
    return paramlint.inspect(model, trace=False)


def on_meta(build, **options) -> nn.Module:
    with torch.device("meta"):
        return build(**options)


def untold(inventory: Inventory) -> Inventory:
    """As if the model's library said nothing of layers."""
    return replace(inventory, accessors=replace(inventory.accessors, layers={}))


# ---------------------------------------------------------------- what timm says of its own models

OF_TIMM = {
    "vit_tiny_patch16_224": {"depth": 3},
    "convnext_atto": {},
    "swin_tiny_patch4_window7_224": {},
    "resnet26": {},
    "efficientnet_b0": {},
    "xcit_nano_12_p16_224": {},
    "levit_128s": {},
    "volo_d1_224": {},
    "cait_xxs24_224": {},
    "regnety_002": {},
}


def truth(model: nn.Module, decay: float) -> dict[str, tuple[int, float]]:
    """Layer and lr scale by name, by timm's own functions."""
    from timm.models import group_parameters
    from timm.optim import param_groups_layer_decay

    names = {id(p): name for name, p in model.named_parameters()}
    layer = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    groups = param_groups_layer_decay(model, layer_decay=decay)
    return {names[id(p)]: (layer[names[id(p)]], g["lr_scale"]) for g in groups for p in g["params"]}


@pytest.mark.parametrize("name", OF_TIMM)
def test_a_model_of_timm_has_the_layers_that_timm_gives_it(timm, name):
    model = on_meta(lambda: timm.create_model(name, **OF_TIMM[name]))
    found = layers(inspected(model))
    factors = scales(found, 0.75)
    assert {n: (layer, factors[layer]) for n, layer in found.of.items()} == truth(model, 0.75)


@pytest.mark.parametrize("name", ["convnext_atto", "resnet26", "regnety_002", "vit_base_patch16_clip_224"])
def test_structure_alone_comes_to_the_blocks_of_timm(timm, name):
    model = on_meta(lambda: timm.create_model(name))
    found = layers(untold(inspected(model)))
    expected = {n: layer for n, (layer, _) in truth(model, 0.75).items()}
    last = found.count - 1
    # timm's ViT counts the final norm with the last block
    assert {n for n in expected if found.of[n] != expected[n]} <= {"norm.weight", "norm.bias"}
    assert all(found.of[n] in (expected[n], last) for n in expected)


def test_layers_travel_with_a_snapshot(timm):
    inventory = inspected(on_meta(lambda: timm.create_model("resnet26")))
    assert layers(decode(Inventory, encode(inventory))) == layers(inventory)
    assert layers(inventory).source == "the model's group_matcher"


def test_a_matcher_that_fails_is_passed_over():
    class Own(nn.Sequential):
        def group_matcher(self, coarse: bool = False):
            raise NotImplementedError

    model = Own(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    assert layers(inspected(model)).source == "the model's structure"


# ---------------------------------------------------------------- structure


def test_embeddings_blocks_and_head():
    found = layers(inspected(on_meta(gpt.build)))
    assert described(found) == "0 wte, wpe; 1..4 h.0 to h.3; 5 ln_f"
    assert layers(inspected(on_meta(moe.build))).count == 6  # experts are no layers


def test_names_do_not_matter():
    """The same model with all that it says of itself taken out of its names."""
    inventory = inspected(on_meta(gpt.build))
    plain = layers(inventory)

    def scrambled(name: str) -> str:
        return f"q{sum(map(ord, name)) * 7919 % 10007}x"

    model = on_meta(gpt.build)
    for module in list(model.modules()):
        parts = {k if k.isdigit() else scrambled(k): part for k, part in module._modules.items()}
        module._modules.clear()
        module._modules.update(parts)
    renamed = layers(inspected(model))
    assert list(renamed.of.values()) == list(plain.of.values())
    assert not set(renamed.of) & {n for n in plain.of if "h." in n}


class Block(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(dim, 4 * dim), nn.LayerNorm(dim), nn.Linear(4 * dim, dim)
        self.table = nn.Parameter(torch.zeros(7, dim))


class Stage(nn.Module):
    """Two blocks; from the second stage on, what halves the resolution first, or last."""

    def __init__(self, dim: int, before: bool, after: bool) -> None:
        super().__init__()
        if before:
            self.down = nn.Conv2d(dim, dim, 2, 2)
        self.inner = nn.ModuleList(Block(dim) for _ in range(2))
        if after:
            self.merge = nn.Linear(dim, dim)


def hierarchy(before: bool) -> nn.Module:
    stages = nn.ModuleList(Stage(16, before and i > 0, not before and i < 2) for i in range(3))
    return nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 16, 4, 4), s=stages, end=nn.LayerNorm(16), top=nn.Linear(16, 5)))


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (True, "0 stem; 1..2 s.0 to s.0.inner.1; 3 s.1.down, s.1.inner.0; 4 s.1.inner.1; 5 s.2.down, s.2.inner.0; "),
        (False, "0 stem; 1..2 s.0.inner.0 to s.0.inner.1; 3 s.0.merge, s.1.inner.0; 4 s.1.inner.1; "),
    ],
)
def test_what_samples_down_goes_with_the_block_that_follows(before, told):
    found = layers(inspected(hierarchy(before)))
    assert found.count == 8
    assert found.of["s.2.inner.0.table"] == found.of["s.2.inner.0.a.weight"] == 5
    sampler = "s.{}.down.weight" if before else "s.{}.merge.weight"
    assert [found.of[sampler.format(i)] for i in ((1, 2) if before else (0, 1))] == [3, 5]
    assert (found.of["end.weight"], found.of["top.weight"], found.of["stem.bias"]) == (7, 7, 0)
    assert ("s.*.inner.*", "own") in {(r.pattern, r.place) for r in found.rules}
    assert ("s.*.down" if before else "s.*.merge", "next") in {(r.pattern, r.place) for r in found.rules}


class EncoderDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(50, 16)
        for side in ("encoder", "decoder"):
            norm, blocks = nn.LayerNorm(16), nn.ModuleList(Block(16) for _ in range(2))
            self.add_module(side, nn.ModuleDict({"blocks": blocks, "norm": norm}))
        self.decoder["positions"] = nn.Embedding(9, 16)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.shared.weight


def test_stacks_follow_each_other_and_tied_tensors_are_where_they_are_first():
    found = layers(inspected(EncoderDecoder()))
    first = {n.split(".blocks")[0]: layer for n, layer in found.of.items()}
    assert [found.of[f"{s}.blocks.{i}.a.bias"] for s in ("encoder", "decoder") for i in (0, 1)] == [1, 2, 3, 4]
    assert first["encoder.norm.weight"] == 2  # it ends the encoder, and begins no decoder
    assert first["decoder.norm.weight"] == 5
    assert first["decoder.positions.weight"] == first["shared.weight"] == 0
    assert "head.weight" not in found.of


def test_a_list_beside_the_stages_goes_with_them():
    found = layers(inspected(on_meta(convnext.build)))
    samplers = [found.of[f"downsample_layers.{i}.1.weight"] for i in range(4)]
    firsts = [found.of[f"stages.{i}.0.gamma"] for i in range(4)]
    assert samplers == [0, *firsts[1:]] == [0, 4, 7, 34]


def test_a_head_is_the_last_layer_however_many_parts_stand_around_it():
    """Three stages, and a list of three parts that has the head in it: it is no list of what goes with the stages."""
    stages = nn.ModuleList(Stage(16, False, False) for _ in range(3))
    head = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 5))
    found = layers(inspected(nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 16, 4, 4), s=stages, top=head))))
    assert found.count == 8 and found.of["top.2.weight"] == found.of["top.2.bias"] == 7


def test_without_blocks_every_map_is_a_layer():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 4))
    assert list(layers(inspected(model)).of.values()) == [0, 0, 1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 4), (8, 1), (1, 1)])
def test_a_map_of_one_feature_is_a_layer_too(inputs, outputs):
    model = nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, outputs))
    assert list(layers(inspected(model)).of.values()) == [0, 0, 1, 1, 1, 1, 2, 2]


# ---------------------------------------------------------------- presets and functions


def num_layer_of_a_vit(name, num_max_layer):
    """As BEiT's code has it."""
    if name in ("cls_token", "mask_token", "pos_embed") or name.startswith("patch_embed"):
        return 0
    if name.startswith("blocks"):
        return int(name.split(".")[1]) + 1
    return num_max_layer - 1


def num_layer_of_a_convnext(name):
    """As ConvNeXt's code has it."""
    first, *rest = name.split(".")
    if first == "downsample_layers":
        return (0, 2, 3, 12)[int(rest[0])]
    if first == "stages":
        return (1, 2, 3 + int(rest[1]) // 3, 12)[int(rest[0])]
    return 13


def test_the_preset_beit_and_the_function_it_is_made_after():
    inventory = inspected(on_meta(vit.build))
    preset = layers(inventory, "beit")
    own = from_function(inventory, num_layer_of_a_vit, "train.py:num_layer")
    assert (preset.of, preset.count, preset.rules) == (own.of, own.count, own.rules)
    assert preset.count == 14
    assert own.source == "train.py:num_layer(name, num_max_layer)"


def test_convnext_small_in_fourteen_layers():
    """The groups of a hand-written factory with `np.linspace(1, 0.5, 14)`."""
    inventory = inspected(on_meta(convnext.build))
    found = layers(inventory, "convnext")
    assert found.of == from_function(inventory, num_layer_of_a_convnext, "m:fn").of
    factors = scales(found, [1 - 0.5 * i / 13 for i in range(14)])
    plan = planning.plan(inventory, knowledge.load(), "adamw", layers=found, scales=factors)
    groups = {g.label: g for g in plan.groups}
    assert set(groups) == {f"layer_{i}_{kind}" for i in range(14) for kind in ("decay", "no_decay")}
    assert [len(groups[f"layer_{i}_decay"].parameters) for i in (0, 1, 2, 12, 13)] == [1, 9, 10, 10, 1]
    assert groups["layer_2_decay"].lr_scale == pytest.approx(0.9230769230769231)
    assert "downsample_layers.3.1.weight" in groups["layer_12_decay"].parameters
    assert groups["layer_13_no_decay"].parameters == ("norm.weight", "norm.bias", "head.bias")


def test_timms_convnext_has_the_same_fourteen_layers(timm):
    model = on_meta(lambda: timm.create_model("convnext_small"))
    found = layers(inspected(model), "convnext")
    assert [found.of[f"stages.{i}.blocks.0.gamma"] for i in range(4)] == [1, 2, 3, 12]
    assert [found.of[f"stages.{i}.downsample.1.weight"] for i in (1, 2, 3)] == [2, 3, 12]
    assert (found.of["stem.0.weight"], found.of["head.fc.bias"], found.count) == (0, 13, 14)


@pytest.mark.parametrize("preset", ["beit", "convnext"])
def test_a_preset_for_another_model(preset):
    with pytest.raises(ParamlintError, match=f"preset {preset} is for models with .* this one has none"):
        layers(inspected(on_meta(gpt.build)), preset)


def test_no_such_source():
    with pytest.raises(ParamlintError, match=r"no layers 'convnex'.*did you mean 'convnext'"):
        layers(inspected(nn.Linear(2, 2)), "convnex")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda name: name["x"], r"m\.py:fn: \('weight'\) raised TypeError: string indices"),
        (lambda name: None, r"m\.py:fn: \('weight'\) gives None, not a layer as a whole number"),
        (lambda name: 1.0, r"gives 1\.0, not a layer as a whole number"),
        (lambda name: -1, r"gives -1, not a layer: these count from 0"),
        (lambda name, n: n, "'weight' has a layer that is not below the number of layers"),
    ],
)
def test_functions_that_give_no_layers(function, message):
    with pytest.raises(ParamlintError, match=message) as caught:
        from_function(inspected(nn.Linear(2, 2)), function, "m.py:fn")
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- scales


def test_a_ratio_and_a_list():
    found = layers(inspected(on_meta(gpt.build)))
    assert scales(found, 0.5) == (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0)
    assert scales(found, 1) == (1.0,) * 6
    assert scales(found, [0, 0, 0.5, 0.5, 1, 1]) == (0.0, 0.0, 0.5, 0.5, 1.0, 1.0)


@pytest.mark.parametrize(
    ("decay", "message"),
    [
        (0, "layer decay 0: must be above 0 and at most 1"),
        (1.5, "layer decay 1.5: must be"),
        (float("nan"), "layer decay nan: must be"),
        (
            [1, 0.5],
            r"2 lr scales for 6 layers \(the model's structure\); layers are 0 wte, wpe; 1..4 h.0 to h.3; 5 ln_f",
        ),
        ([1, 1, 1, 1, 1, -1], "lr scale -1.0 for layer 5: must be 0 or more"),
    ],
)
def test_no_scales(decay, message):
    with pytest.raises(ParamlintError, match=message):
        scales(layers(inspected(on_meta(gpt.build))), decay)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([0.512, 0.64, 0.8, 1.0], None),  # written by hand: 0.8 ** 3 is another number
        ([0.8**3, 0.8**2, 0.8, 1.0], 0.8),
        ([0.25, 0.5, 1], 0.5),
        ([1, 1, 1], 1.0),
        ([0.5, 0.5, 1], None),
        ([4, 2, 1], None),
        ([0.25, 0.5], None),
        ([0, 0, 1], None),
        ([1], None),  # one layer shows no factor
    ],
)
def test_the_factor_of_scales(given, found):
    assert factor([float(scale) for scale in given]) == found
