"""The example models: they build and run, and their groups are what each function's docstring says."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import paramlint

EXAMPLES = Path(__file__).parent.parent / "examples"
TINY: dict[str, dict[str, Any]] = {
    "gpt": {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 40, "block_size": 8},
    "body_gpt": {"depth": 2, "heads": 2, "dim": 16, "vocab_size": 40, "block_size": 8},
    "linear": {},
    "vit": {"img_size": 16, "patch_size": 8, "num_classes": 5, "dim": 16, "depth": 2, "num_heads": 2},
    "convnext": {"num_classes": 5, "depths": (1, 2), "dims": (8, 16)},
    "moe": {"depth": 2, "dim": 16, "heads": 2, "hidden": 24, "experts": 4, "vocab_size": 40},
    "mamba": {"depth": 2, "dim": 16, "vocab_size": 40, "state": 4},
    "lora": {"depth": 2, "dim": 16, "heads": 2, "rank": 2, "vocab_size": 40, "max_len": 8, "classes": 5},
}
IMAGES = ("vit", "convnext")
RIGHT = ("gpt", "vit", "convnext", "moe", "mamba", "lora")


@cache
def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny(name: str, **kwargs: Any) -> Any:
    return example(name).build(**TINY[name] | kwargs)


def batch(name: str) -> torch.Tensor:
    if name in IMAGES:
        return torch.randn(2, 3, 16, 16)
    return torch.randn(2, 10) if name == "linear" else torch.randint(40, (2, 8))


def logits(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def names(model: torch.nn.Module, params: list[torch.Tensor]) -> list[str]:
    by_id = {id(p): n for n, p in model.named_parameters()}
    return [by_id.get(id(p), "(not the model's)") for p in params]


def by_half(model: torch.nn.Module, groups: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Names in Muon groups, and in the others."""
    muon = [p for g in groups if g["use_muon"] for p in g["params"]]
    return names(model, muon), names(model, [p for g in groups if not g["use_muon"] for p in g["params"]])


def test_every_example_is_tested() -> None:
    assert {p.stem for p in EXAMPLES.glob("*.py")} == set(TINY)


@pytest.mark.parametrize("name", TINY)
def test_builds_at_full_size_without_memory(name: str) -> None:
    with torch.device("meta"):
        model = example(name).build()
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.parametrize("name", TINY)
def test_trains_on_cpu(name: str) -> None:
    torch.manual_seed(0)
    model = tiny(name)
    out = logits(model(batch(name)))
    assert out.isfinite().all()
    out.square().mean().backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", TINY)
def test_runs_on_meta(name: str) -> None:
    on_cpu = logits(tiny(name)(batch(name)))
    with torch.device("meta"):
        on_meta = logits(tiny(name)(batch(name).to("meta")))
    assert on_meta.device.type == "meta" and on_meta.shape == on_cpu.shape


@pytest.mark.parametrize("name", RIGHT)
def test_right_groups_hold_each_trainable_parameter_once(name: str) -> None:
    model = tiny(name)
    muon, adam = by_half(model, example(name).right_groups(model))
    assert sorted(muon + adam) == sorted(n for n, p in model.named_parameters() if p.requires_grad)
    assert all(model.get_parameter(n).ndim >= 2 for n in muon)


@pytest.mark.parametrize(
    ("name", "muon"),
    [
        ("gpt", {"attn.q", "attn.k", "attn.v", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}),
        ("vit", {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}),
        ("convnext", {"pwconv1", "pwconv2", "downsample_layers.1.1"}),
        ("moe", {"attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj", "moe.experts.w1", "moe.experts.w2"}),
        ("mamba", {"mixer.dt_proj", "mixer.out_proj"}),
        ("lora", set()),
    ],
)
def test_right_groups_give_muon_the_hidden_matrices(name: str, muon: set[str]) -> None:
    model = tiny(name)
    chosen, _ = by_half(model, example(name).right_groups(model))
    inside = re.compile(r"^(h|layers|blocks|stages\.\d)\.\d\.")
    assert {inside.sub("", n.removesuffix(".weight"), count=1) for n in chosen} == muon


def test_two_optimizers_split_as_the_groups_do() -> None:
    model = tiny("gpt")
    muon, adam = example("gpt").right_optimizers(model)
    halves = by_half(model, example("gpt").right_groups(model))
    assert (names(model, muon.param_groups[0]["params"]), names(model, adam.param_groups[0]["params"])) == halves


def test_right_optimizers_learn() -> None:
    torch.manual_seed(0)
    model, idx = tiny("gpt"), torch.randint(40, (2, 8))
    optimizers = example("gpt").right_optimizers(model)
    losses = []
    for _ in range(10):
        loss = model(idx, idx)[1]
        losses.append(loss.item())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("gpt", {"wte.weight", "wpe.weight"}),
        ("vit", {"cls_token", "head.weight"}),
        ("mamba", {"layers.0.mixer.A_log", "layers.1.mixer.conv1d.weight"}),
    ],
)
def test_blog_recipe_gives_muon_what_is_no_hidden_matrix(name: str, wrong: set[str]) -> None:
    model = tiny(name)
    muon, adam = by_half(model, example(name).blog_recipe(model))
    assert wrong <= set(muon)
    assert sorted(muon + adam) == sorted(n for n, _ in model.named_parameters())


def test_docstring_recipe_gives_muon_the_embeddings() -> None:
    model = tiny("gpt")
    muon, _ = example("gpt").docstring_recipe(model)
    assert {"wte.weight", "wpe.weight"} <= set(names(model, muon.param_groups[0]["params"]))


def test_old_torch_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(RuntimeError, match=r"came with torch 2\.9"):
        example("gpt").docstring_recipe(tiny("gpt"))


def test_planted_faults() -> None:
    gpt = example("gpt")

    def listed(function: str) -> tuple[torch.nn.Module, Counter[str]]:
        model = tiny("gpt")
        muon, adam = by_half(model, getattr(gpt, function)(model))
        return model, Counter(muon + adam)

    model, got = listed("duplicate_groups")
    assert [n for n, times in got.items() if times > 1] == ["wte.weight"]
    model, got = listed("uncovered_groups")
    assert {n for n, _ in model.named_parameters()} - set(got) == {"ln_f.weight", "ln_f.bias"}
    model, got = listed("foreign_groups")
    assert got["(not the model's)"] == sum(p.ndim < 2 for p in model.parameters()) + 2
    model, got = listed("frozen_groups")
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {n for n in got if n.startswith("h.0.")} != set()


def test_body_recipe_is_right_until_the_head_is_tied() -> None:
    body_gpt = example("body_gpt")
    model = tiny("body_gpt")
    muon, adam = by_half(model, body_gpt.body_recipe(model))
    assert sorted(muon + adam) == sorted(n for n, _ in model.named_parameters())
    assert all(n.startswith("body.") for n in muon)
    tied = tiny("body_gpt", tie=True)
    _, adam = by_half(tied, body_gpt.body_recipe(tied))
    assert Counter(adam)["embed.tokens.weight"] == 2


def test_plain_groups_build_their_optimizers() -> None:
    linear = example("linear")
    model = linear.build()
    assert [g["lr"] for g in linear.sgd_optimizer(model).param_groups] == [0.01, 0.005, 0.1]
    assert [g["weight_decay"] for g in linear.adamw_optimizer(model).param_groups] == [0.01, 0.01, 0]
    by_name = [names(model, g["params"]) for g in linear.name_recipe(model)]
    assert by_name == [["linear_layer.weight"], ["linear_layer.bias"], ["lone_parameter"]]


def test_experts_and_frozen_weights_in_the_wrong_place() -> None:
    model = tiny("moe")
    _, adam = by_half(model, example("moe").ndim2_recipe(model))
    assert {"layers.0.moe.experts.w1", "layers.1.moe.experts.w2"} <= set(adam)
    model = tiny("lora")
    muon, _ = by_half(model, example("lora").frozen_recipe(model))
    assert "tokens.weight" in muon and not model.tokens.weight.requires_grad
    muon, _ = by_half(model, example("lora").muon_adapters(model))
    assert len(muon) == 2 * 4 * 2 and all(".lora_" in n for n in muon)


def test_convnext_names() -> None:
    with torch.device("meta"):
        model = example("convnext").build()
    got = [n for n, _ in model.named_parameters()]
    pairs = [f"downsample_layers.{s}.{i}" for s in range(4) for i in range(2)] + ["norm", "head"]
    blocks = [f"stages.{s}.{b}" for s, depth in enumerate((3, 3, 27, 3)) for b in range(depth)]
    pairs += [f"{block}.{part}" for block in blocks for part in ("dwconv", "norm", "pwconv1", "pwconv2")]
    expected = {f"{p}.{kind}" for p in pairs for kind in ("weight", "bias")} | {f"{b}.gamma" for b in blocks}
    assert set(got) == expected and len(got) == 344
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert {
        "downsample_layers.0.0.weight": (96, 3, 4, 4),
        "downsample_layers.0.1.weight": (96,),
        "downsample_layers.1.0.bias": (96,),
        "downsample_layers.1.1.weight": (192, 96, 2, 2),
        "downsample_layers.3.1.bias": (768,),
        "stages.0.0.gamma": (96,),
        "stages.0.0.dwconv.weight": (96, 1, 7, 7),
        "stages.0.1.pwconv1.weight": (384, 96),
        "stages.2.26.norm.bias": (384,),
        "stages.3.2.pwconv2.weight": (768, 3072),
        "norm.weight": (768,),
        "head.weight": (1000, 768),
        "head.bias": (1000,),
    }.items() <= shapes.items()


def test_foreign_and_duplicate_groups_are_silent_or_loud_in_torch() -> None:
    """Why they are checked: torch says nothing to the one, and stops at the other without a name."""
    gpt, model = example("gpt"), tiny("gpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.optim.SGD(gpt.foreign_groups(model), lr=0.1)
    with pytest.raises(ValueError, match="more than one parameter group"):
        torch.optim.SGD(gpt.duplicate_groups(model), lr=0.1)


def codes(
    name: str, function: str, severities: tuple[str, ...] = ("error", "warning", "note"), **kwargs: Any
) -> set[str]:
    """What paramlint finds in these groups, on the model at full size."""
    module = example(name)
    with torch.device("meta"):
        model = module.build(**kwargs)
    findings = paramlint.check(model, getattr(module, function)).findings
    return {f.code for f in findings if f.severity in severities}


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("gpt", "right_groups"),
        ("gpt", "right_optimizers"),
        ("body_gpt", "body_recipe"),
        ("linear", "sgd_recipe"),
        ("linear", "adamw_optimizer"),
        ("moe", "right_groups"),
        ("lora", "right_groups"),
    ],
)
def test_nothing_is_found_in_sound_groups(name: str, function: str) -> None:
    assert codes(name, function) == set()


@pytest.mark.parametrize("name", ["vit", "convnext", "mamba"])
def test_no_error_is_found_in_right_groups(name: str) -> None:
    assert codes(name, "right_groups", ("error",)) == set()


@pytest.mark.parametrize(
    ("name", "function", "expected"),
    [
        ("gpt", "blog_recipe", {"PML203", "PML205"}),
        ("gpt", "docstring_recipe", {"PML203", "PML205"}),
        ("gpt", "keller_optimizer", {"PML203", "PML205"}),
        ("gpt", "duplicate_groups", {"PML102"}),
        ("gpt", "uncovered_groups", {"PML101"}),
        ("gpt", "foreign_groups", {"PML101", "PML103"}),
        ("gpt", "frozen_groups", {"PML104"}),
        ("vit", "blog_recipe", {"PML202", "PML205", "PML212"}),
        ("convnext", "ndim_recipe", {"PML202", "PML207"}),
        ("moe", "ndim2_recipe", {"PML213", "PML214"}),
        ("mamba", "blog_recipe", {"PML206", "PML207", "PML212"}),
        ("lora", "frozen_recipe", {"PML104", "PML213"}),
        ("lora", "muon_adapters", {"PML213"}),
    ],
)
def test_faults_are_found(name: str, function: str, expected: set[str]) -> None:
    assert expected <= codes(name, function)


def test_tied_head_is_found_twice_in_one_group() -> None:
    assert codes("body_gpt", "body_recipe", tie=True) == {"PML102"}
