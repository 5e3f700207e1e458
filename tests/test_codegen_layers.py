"""The code that finds the layers of a model again, for layer-wise lr decay: of another depth too, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from test_layers import hierarchy, inspected, num_layer_of_a_convnext, on_meta
from torch import nn

from examples import convnext, gpt, moe, vit
from paramlint import knowledge, planning
from paramlint.codegen import layer_code
from paramlint.codegen.generate import generate
from paramlint.errors import ParamlintError
from paramlint.model import torchvision_ops
from paramlint.parameter import Inventory
from paramlint.planned import Layers, Plan
from paramlint.planning.layers import from_function, layers, scales


def plan_of(inventory: Inventory, found: Layers, decay=0.75) -> Plan:
    return planning.plan(inventory, knowledge.load(), "adamw", layers=found, scales=scales(found, decay))


def source(section) -> str:
    plain = 'def plain_name(name: str) -> str:\n    return name.removeprefix("module.")\n'
    standard = "".join(f"{line}\n" for line in section.imports if "torch" not in line)
    top = '"""Layers."""\n\nfrom __future__ import annotations\n\n' + (f"{standard}\n" if standard else "")
    return f"{top}from torch import nn\n\n\n{plain}\n\n{section.body}\n"


def run(section) -> dict:
    space: dict = {}
    exec(source(section), space)
    return space


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("example", [gpt, vit, moe, convnext], ids=lambda m: m.__name__)
def test_the_code_finds_the_layers_again(example, explicit):
    model = on_meta(example.build)
    inventory = inspected(model)
    found = layers(inventory)
    code = run(layer_code.section(plan_of(inventory, found), explicit))
    assert code["layers_of"](model) == found.of
    assert tuple(code["lr_scales"](found.of)) == scales(found, 0.75)
    wrapped = nn.ModuleDict({"module": model})
    assert code["layers_of"](wrapped) == {f"module.{n}": layer for n, layer in found.of.items()}
    with pytest.raises(ValueError, match="added: no layer is known for it"):
        model.register_parameter("added", nn.Parameter(torch.zeros(2)))
        code["layers_of"](model)


def test_rules_are_right_for_another_depth():
    shallow, deep = (on_meta(gpt.build, n_layer=n) for n in (3, 9))
    inventory = inspected(shallow)
    section = layer_code.section(plan_of(inventory, layers(inventory)))
    assert 'r"h\\.\\d+", "own"' in section.body
    code, there = run(section), layers(inspected(deep))
    assert code["layers_of"](deep) == there.of
    assert tuple(code["lr_scales"](there.of)) == scales(there, 0.75)
    assert "000" not in section.body and "LAYER_DECAY = 0.75" in section.body  # no products that are not exact


def test_factors_one_by_one_are_for_one_depth():
    shallow, deep = (on_meta(gpt.build, n_layer=n) for n in (3, 9))
    inventory = inspected(shallow)
    plan = plan_of(inventory, layers(inventory), [0.1, 0.2, 0.4, 0.5, 1])
    with pytest.raises(ValueError, match="the model has 11, LR_SCALES is for 5"):
        run(layer_code.section(plan))["layers_of"](deep)
    profile = knowledge.load().profile("adamw")
    said = {
        style: " ".join(generate(made, inventory, profile, style=style).partition("from __future__")[0].split())
        for style, made in (("rules", plan), ("names", plan_of(inventory, layers(inventory))))
    }
    for text in said.values():
        assert "the model's structure; for this depth alone: another is an error." in text
    assert "models of another width are served too" in said["rules"]
    by_factor = generate(plan_of(inventory, layers(inventory)), inventory, profile)
    assert "models of another depth or width" in by_factor and "structure; for other depths too." in by_factor


SINGLE = {
    "blocks": (gpt.build, {"n_layer": 1}, {"n_layer": 3}),
    "stages": (convnext.build, {"depths": (1, 1, 1, 1)}, {"depths": (1, 1, 2, 1)}),
}


@pytest.mark.parametrize("case", SINGLE)
def test_a_list_of_one_member_says_nothing_of_a_longer_one(case):
    """Whether its members would be layers or parts of one: with one block in each stage, stages are the layers."""
    build, small, large = SINGLE[case]
    model, grown = on_meta(build, **small), on_meta(build, **large)
    inventory = inspected(model)
    plan = plan_of(inventory, layers(inventory))
    code = run(layer_code.section(plan))
    assert code["layers_of"](model) == plan.layers.of
    with pytest.raises(ValueError, match=r"\.1\..*: in a list that had one member: see ALONE"):
        code["layers_of"](grown)
    assert layer_code.about(plan).endswith("for other depths too, but lists of one member have to stay so")


@pytest.mark.parametrize("depths", [(2, 1, 3, 1), (2, 1, 1, 1), (1, 1, 1, 1)])
def test_a_table_is_for_one_depth(depths):
    model = on_meta(convnext.build, depths=(2, 1, 1, 1))
    inventory = inspected(model)
    code = run(layer_code.section(plan_of(inventory, layers(inventory))))  # of stages and blocks: no rule is so simple
    if depths == (2, 1, 1, 1):
        assert code["layers_of"](model) == layers(inventory).of
        return
    with pytest.raises(ValueError, match=r"the model has no parameter there|layers are known of"):
        code["layers_of"](on_meta(convnext.build, depths=depths))


@pytest.mark.parametrize("key", ['it\'s "q"', "w one", "*", "{0,3}", "b\\s", "new\nline"])
def test_unusual_names_have_layers(key):
    blocks = [nn.ParameterDict({key: nn.Parameter(torch.zeros(4, 4)), "b": torch.zeros(4)}) for _ in range(3)]
    model = nn.ModuleDict({"s": nn.Linear(4, 4), "d": nn.ModuleList(blocks), key.replace("\n", " "): nn.Linear(4, 4)})
    inventory = inspected(model)
    found = layers(inventory)
    for explicit in (False, True):
        assert run(layer_code.section(plan_of(inventory, found), explicit))["layers_of"](model) == found.of


def test_a_function_is_asked_for_the_layers_it_knew(monkeypatch, tmp_path):
    (tmp_path / "of_depth.py").write_text("def fn(name):\n    return int(name[2]) + 1 if name[:2] == 'h.' else 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    import of_depth

    inventory = inspected(on_meta(gpt.build))
    code = run(layer_code.section(plan_of(inventory, from_function(inventory, of_depth.fn, "of_depth:fn"))))
    assert code["LAYER_COUNT"] == 5 and code["lr_scales"]({})[-2:] == [0.75, 1.0]
    with pytest.raises(ValueError, match="4 layers have parameters, and 5 had when this was written"):
        code["layers_of"](on_meta(gpt.build, n_layer=3))
    with pytest.raises(ValueError, match="layer 5, of 5"):
        code["layers_of"](on_meta(gpt.build, n_layer=9))


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224", "cait_xxs24_224"])
def test_code_for_models_of_timm(name):
    torchvision_ops.install()
    timm = pytest.importorskip("timm", exc_type=ImportError)
    model = on_meta(lambda: timm.create_model(name))
    inventory = inspected(model)
    found = layers(inventory)
    assert bool(found.rules) == (name != "cait_xxs24_224")  # its class blocks share the last layer
    assert run(layer_code.section(plan_of(inventory, found)))["layers_of"](model) == found.of


def test_a_function_that_can_be_imported_is(monkeypatch, tmp_path):
    (tmp_path / "own_layers.py").write_text(
        "def layers_of(name, count):\n    return 0 if name.startswith('w') else count - 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import own_layers

    model = on_meta(gpt.build)
    inventory = inspected(model)
    found = from_function(inventory, own_layers.layers_of, "own_layers:layers_of")
    section = layer_code.section(plan_of(inventory, found))
    assert "from own_layers import layers_of as own_layers_of" in section.imports
    assert run(section)["layers_of"](model) == found.of
    by_path = from_function(inventory, own_layers.layers_of, "own_layers.py:layers_of")
    assert not any("own_layers" in line for line in layer_code.section(plan_of(inventory, by_path)).imports)


def test_a_plan_without_layers_has_no_code_for_them():
    plan = planning.plan(inspected(on_meta(gpt.build)), knowledge.load(), "adamw")
    with pytest.raises(ParamlintError, match="a plan without layers"):
        layer_code.section(plan)


def test_the_code_is_clean(tmp_path):
    inventory = inspected(on_meta(convnext.build))
    hierarchical = inspected(hierarchy(before=True))
    single = inspected(on_meta(convnext.build, depths=(1, 1, 1, 1)))
    plain = inspected(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)))
    cases = {
        "table": (inventory, layers(inventory, "convnext")),
        "own": (inventory, from_function(inventory, num_layer_of_a_convnext, "json.decoder:scanstring")),
        "rules": (hierarchical, layers(hierarchical)),
        "alone": (single, layers(single)),
        "one_rule": (plain, layers(plain)),
    }
    for name, (of, found) in cases.items():
        (tmp_path / f"{name}.py").write_text(source(layer_code.section(plan_of(of, found))))
    for width in ("88", "120"):
        checked = [sys.executable, "-m", "ruff", "format", "--isolated", "--check", "--line-length", width, tmp_path]
        assert subprocess.run(checked, capture_output=True, text=True).returncode == 0
    assert subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", tmp_path]).returncode == 0
