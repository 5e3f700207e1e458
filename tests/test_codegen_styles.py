"""How generated modules tell kinds apart: run against real models, grown ones, wrapped ones and drifted ones."""

from __future__ import annotations

import ast
import copy
import importlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

import paramlint
from paramlint import knowledge, planning
from paramlint.codegen import styles
from paramlint.codegen.generate import generate
from paramlint.codegen.styles import Style
from paramlint.codegen.styles.decide import decide
from paramlint.model import torchvision_ops
from paramlint.parameter import Inventory
from paramlint.planned import Plan

EXAMPLES = Path(__file__).parents[1] / "examples"
KNOWN = knowledge.load()
torchvision_ops.install()
STYLES: tuple[Style, ...] = ("rules", "names", "call")
PLAIN_NAME = '''
def plain_name(name: str) -> str:
    """The name of a parameter without what wrappers put into it."""
    for wrapper in ("_orig_mod.", "_checkpoint_wrapped_module."):
        name = name.replace(wrapper, "")
    return name.removeprefix("module.")
'''

MODELS: Mapping[str, Mapping[str, Any]] = {
    "gpt": {"n_layer": 4, "n_embd": 64, "vocab_size": 512},
    "vit": {"depth": 4, "dim": 48},
    "convnext": {"depths": (2, 2, 3, 2), "dims": (16, 32, 64, 128)},
    "moe": {"depth": 2, "dim": 64, "hidden": 128, "vocab_size": 512},
    "mamba": {"depth": 3, "dim": 64, "vocab_size": 512},
    "lora": {"depth": 2, "dim": 64, "vocab_size": 512},
}
GROWN: Mapping[str, Mapping[str, Any]] = {
    "gpt": {"n_layer": 6, "n_embd": 96, "vocab_size": 700},
    "vit": {"depth": 6, "dim": 96, "num_heads": 6, "num_classes": 10},
    "convnext": {"depths": (3, 3, 9, 3), "dims": (24, 48, 96, 192)},
    "moe": {"depth": 5, "dim": 96, "hidden": 128, "experts": 4, "vocab_size": 700},
    "mamba": {"depth": 5, "dim": 96, "vocab_size": 700},
    "lora": {"depth": 4, "dim": 96, "rank": 4, "vocab_size": 700},
}


def build(name: str, sizes: Mapping[str, Any]) -> nn.Module:
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    model = importlib.import_module(name).build(**sizes)
    assert isinstance(model, nn.Module)
    return model


def planned(model: nn.Module, profile: str = "torch-muon", *, trace: bool = True) -> tuple[Plan, Inventory]:
    inventory = paramlint.inspect(model, trace=trace)
    return planning.plan(inventory, KNOWN, profile), inventory


def source(style: Style, plan: Plan, inventory: Inventory, **options: Any) -> str:
    section = styles.section(style, plan, inventory, **options)
    imports = sorted(section.imports, key=lambda line: (line.startswith("from"), line))
    blocks = [
        "from __future__ import annotations",
        "\n".join(line for line in imports if line.split()[1] not in ("torch", "paramlint")),
        "\n".join(line for line in imports if line.split()[1] in ("torch", "paramlint")),
    ]
    plain = [PLAIN_NAME.strip()] if "plain_name(" in section.body else []
    return "\n\n".join(b for b in blocks if b) + "\n\n\n" + "\n\n\n".join([*plain, section.body]) + "\n"


def kinds_of(style: Style, plan: Plan, inventory: Inventory) -> Callable[[nn.Module], dict[str, str]]:
    namespace: dict[str, Any] = {}
    exec(source(style, plan, inventory), namespace)
    function = namespace["kinds_of"]
    assert callable(function)
    return function


def expected(plan: Plan) -> dict[str, str]:
    return {name: plan.labels[name] for name in plan.trainable}


@pytest.mark.parametrize("profile", ["torch-muon", "keller", "adamw"])
@pytest.mark.parametrize("name", MODELS)
def test_every_style_gives_the_kinds_of_the_plan(name: str, profile: str) -> None:
    model = build(name, MODELS[name])
    plan, inventory = planned(model, profile)
    for style in STYLES:
        assert kinds_of(style, plan, inventory)(model) == expected(plan), style


@pytest.mark.parametrize("profile", ["torch-muon", "keller"])
@pytest.mark.parametrize("name", MODELS)
def test_rules_hold_for_a_deeper_and_wider_model(name: str, profile: str) -> None:
    rules = kinds_of("rules", *planned(build(name, MODELS[name]), profile))
    grown = build(name, GROWN[name])
    assert rules(grown) == expected(planned(grown, profile)[0])


def test_rules_of_one_layer_hold_for_more() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    def gpt2(layers: int) -> nn.Module:
        return GPT2LMHeadModel(GPT2Config(n_layer=layers, n_embd=32, n_head=2, vocab_size=100))

    plan, inventory = planned(gpt2(1))
    assert [n.pattern for n in decide(inventory, plan.labels).names if "*" in n.pattern]
    grown = gpt2(3)
    assert kinds_of("rules", plan, inventory)(grown) == expected(planned(grown)[0])


def test_a_list_whose_end_is_told_by_its_number_has_that_length() -> None:
    """The head of a deeper network of layers in one list is another one, and so is that of a shallower one."""

    def network(depth: int, bias: bool = True) -> nn.Module:
        inner = [layer for _ in range(depth) for layer in (nn.Linear(8, 8, bias), nn.ReLU())]
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), *inner, nn.Linear(8, 2))

    model = network(2)
    plan, inventory = planned(model)
    rules = kinds_of("rules", plan, inventory)
    assert rules(model) == expected(plan) and rules(network(2, bias=False))["6.weight"] != "muon"
    for depth in (1, 3):
        with pytest.raises(ValueError, match="a list does not end with 6 any more"):
            rules(network(depth))
    said = " ".join(generate(plan, inventory, KNOWN.profile("torch-muon")).partition('"""\n')[0].split())
    assert "models of another depth or width are served too, but where a list of `ENDS` has another end." in said
    assert "ENDS" not in source("rules", *planned(build("gpt", MODELS["gpt"])))


def test_rules_of_llama_name_the_head_alone() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=2, hidden_size=32, intermediate_size=64, num_attention_heads=4, vocab_size=100
    )
    plan, inventory = planned(LlamaForCausalLM(config))
    assert [n.pattern for n in decide(inventory, plan.labels).names] == ["lm_head.weight"]


def test_a_tied_head_is_an_embedding_in_whichever_order() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(16, 50, bias=False)
            self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
            self.table = nn.Embedding(50, 16)
            self.table.weight = self.head.weight

        def forward(self, idx: torch.Tensor) -> torch.Tensor:
            x = self.table(idx)
            for block in self.blocks:
                x = x + block(x)
            out = self.head(x)
            assert isinstance(out, torch.Tensor)
            return out

    model = Tied()
    plan, inventory = planned(model)
    assert plan.labels["head.weight"] != "muon"
    assert kinds_of("rules", plan, inventory)(model) == expected(plan)


def test_a_head_that_is_untied_later_does_not_go_to_muon() -> None:
    model = build("gpt", MODELS["gpt"])
    rules = kinds_of("rules", *planned(model))
    assert isinstance(model.lm_head, nn.Linear)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    assert rules(model)["lm_head.weight"] != "muon"


def test_a_convolution_with_a_filter_for_each_channel_is_told_by_its_groups() -> None:
    """Which of the convolutions are depthwise, no index tells."""
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3)]
    for depthwise in (True, False, False, True, False, True, False, True, True, False):
        layers += [nn.Conv2d(8, 8, 3, padding=1, groups=8 if depthwise else 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(288, 5))
    plan, inventory = planned(model, "keller")
    assert any(rule.test == "depthwise" for rule in decide(inventory, plan.labels).rules)
    assert kinds_of("rules", plan, inventory)(model) == expected(plan)


def test_a_layer_that_differs_is_an_exception_by_its_number() -> None:
    model = build("gpt", MODELS["gpt"])
    plan, inventory = planned(model)
    labels = {**plan.labels, "h.0.mlp.c_fc.weight": "decay"}
    found = decide(inventory, labels)
    assert [n.pattern for n in found.names if n.pattern.startswith("h.")] == ["h.0.mlp.c_fc.weight"]


def test_a_layer_that_differs_stands_before_the_pattern_of_the_others() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=32, n_head=2, vocab_size=100))
    plan, inventory = planned(model)
    labels = {**plan.labels, "transformer.h.2.mlp.c_fc.weight": "decay"}
    patterns = [n.pattern for n in decide(inventory, labels).names if n.pattern.endswith("mlp.c_fc.weight")]
    assert patterns == ["transformer.h.2.mlp.c_fc.weight", "transformer.h.*.mlp.c_fc.weight"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, checkpoint_wrapper])
def test_wrapped_models_have_the_names_that_they_yield(style: Style, wrap: Callable[..., nn.Module]) -> None:
    model = build("gpt", MODELS["gpt"])
    plan, inventory = planned(model)
    wrapped = wrap(model)
    found = kinds_of(style, plan, inventory)(wrapped)
    assert list(found) == [name for name, _ in wrapped.named_parameters()]
    assert list(found.values()) == list(expected(plan).values())


def test_wrapped_parts_have_the_names_that_they_yield() -> None:
    model = build("vit", MODELS["vit"])
    plan, inventory = planned(model)
    wrapped = copy.deepcopy(model)
    assert isinstance(wrapped.blocks, nn.ModuleList)
    for i, block in enumerate(wrapped.blocks):
        wrapped.blocks[i] = checkpoint_wrapper(block)
    for style in STYLES:
        found = kinds_of(style, plan, inventory)(wrapped)
        assert list(found) == [name for name, _ in wrapped.named_parameters()]
        assert list(found.values()) == list(expected(plan).values())


def test_rules_do_not_know_a_new_kind_of_module() -> None:
    model = build("vit", MODELS["vit"])
    rules = kinds_of("rules", *planned(model))
    model.extra = nn.Bilinear(4, 4, 4)
    with pytest.raises(ValueError, match=r"no rule covers extra\.weight, of shape \(4, 4, 4\)"):
        rules(model)


def test_a_name_of_the_rules_that_is_gone_is_an_error() -> None:
    model = build("vit", MODELS["vit"])
    rules = kinds_of("rules", *planned(model))
    model.head = nn.Identity()
    with pytest.raises(ValueError, match=r"head\.weight"):
        rules(model)


def test_names_of_frozen_parameters_are_matched() -> None:
    model = build("vit", MODELS["vit"])
    rules = kinds_of("rules", *planned(model))
    model.get_parameter("pos_embed").requires_grad_(False)
    assert "pos_embed" not in rules(model)


@pytest.mark.parametrize("style", STYLES)
def test_a_frozen_part_that_is_trained_now_is_an_error(style: Style) -> None:
    model = build("lora", MODELS["lora"])
    kinds = kinds_of(style, *planned(model))
    model.get_parameter("blocks.0.k_proj.weight").requires_grad_(True)
    with pytest.raises(ValueError, match=r"blocks\.0\.k_proj\.weight"):
        kinds(model)


def test_a_frozen_head_that_is_trained_later_is_no_hidden_matrix() -> None:
    model = build("vit", MODELS["vit"])
    head = model.get_parameter("head.weight").requires_grad_(False)
    rules = kinds_of("rules", *planned(model))
    head.requires_grad_(True)
    assert rules(model)["head.weight"] == "decay"


def _renamed(model: nn.Module) -> None:
    model.late = nn.Linear(2, 2)


def _shrunk(model: nn.Module) -> None:
    model.ln_f = nn.Identity()


def _reshaped(model: nn.Module) -> None:
    model.ln_f = nn.LayerNorm(7)


def _frozen(model: nn.Module) -> None:
    model.get_parameter("wpe.weight").requires_grad_(False)


def _untied(model: nn.Module) -> None:
    assert isinstance(model.lm_head, nn.Linear)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        (_renamed, r"late\.weight was not there"),
        (_shrunk, r"ln_f\.weight is no parameter"),
        (_reshaped, r"ln_f\.weight has shape \(7,\), not \(64,\)"),
        (_frozen, r"wpe\.weight is frozen now"),
        (_untied, r"lm_head\.weight was not there"),
    ],
)
def test_names_tell_what_has_drifted(drift: Callable[[nn.Module], None], message: str) -> None:
    model = build("gpt", MODELS["gpt"])
    names = kinds_of("names", *planned(model))
    drift(model)
    with pytest.raises(ValueError, match=message):
        names(model)


def test_names_notice_another_order_and_other_ties() -> None:
    model = build("moe", MODELS["moe"])
    names = kinds_of("names", *planned(model))
    model._modules["embed_tokens"] = model._modules.pop("embed_tokens")
    with pytest.raises(ValueError, match="another order"):
        names(model)
    model = build("moe", MODELS["moe"])
    model.second = nn.Module()
    model.second.weight = model.get_parameter("embed_tokens.weight")
    with pytest.raises(ValueError, match="tied otherwise"):
        names(model)


@pytest.mark.parametrize("name", MODELS)
def test_names_recompute_the_fingerprint_of_the_inventory(name: str) -> None:
    model = build(name, MODELS[name])
    plan, inventory = planned(model, trace=False)
    namespace: dict[str, Any] = {}
    exec(source("names", plan, inventory), namespace)
    assert namespace["fingerprint"](model) == namespace["FINGERPRINT"] == inventory.fingerprint


def test_call_passes_what_was_asked_for() -> None:
    plan, inventory = planned(build("vit", MODELS["vit"]))
    text = source("call", plan, inventory, call_options={"fused": "whole"})
    assert 'plan(model, optimizer="torch-muon", fused="whole")' in text


def test_call_knows_the_kinds_that_have_groups() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    call = kinds_of("call", *planned(build("gpt", MODELS["gpt"])))
    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=100))
    with pytest.raises(ValueError, match="muon_turned"):
        call(other)


@pytest.mark.parametrize("style", STYLES)
def test_generated_code_is_as_the_formatter_and_the_type_checker_want_it(style: Style, tmp_path: Path) -> None:
    for name in MODELS:
        for profile in ("torch-muon", "keller"):
            plan, inventory = planned(build(name, MODELS[name]), profile, trace=False)
            text = source(style, plan, inventory)
            assert text == source(style, plan, inventory)
            assert max(map(len, text.splitlines())) <= 88
            assert ast.parse(text)
            (tmp_path / f"{name}_{profile.replace('-', '_')}.py").write_text(text)
    words = "a_module_with_a_name_of_some_length", "another_module_with_a_name_of_some_length"
    deep = nn.ModuleDict({words[0]: nn.ModuleDict({words[1]: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))})})
    (tmp_path / "deep.py").write_text(source(style, *planned(deep, trace=False)))
    ruff = [sys.executable, "-m", "ruff"]
    for arguments in (
        ["check", "--isolated"],
        ["format", "--isolated", "--check", "--line-length", "88"],
        ["format", "--isolated", "--check", "--line-length", "120"],
    ):
        done = subprocess.run([*ruff, *arguments, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_generated_code_is_typed(tmp_path: Path) -> None:
    files = []
    for style in STYLES:
        for name, profile in (("gpt", "torch-muon"), ("lora", "keller"), ("convnext", "timm")):
            path = tmp_path / f"{style}_{name}.py"
            path.write_text(source(style, *planned(build(name, MODELS[name]), profile, trace=False)))
            files.append(str(path))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", *files],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stdout + done.stderr
