"""Where a parameter goes does not hang on what anything is called."""

from __future__ import annotations

import random
from dataclasses import replace
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from torch import nn

import paramlint
from paramlint import knowledge
from paramlint.model import torchvision_ops
from paramlint.model.facts import inventory
from paramlint.parameter import Inventory
from paramlint.roles.judge import judge

EXAMPLES = Path(__file__).parents[1] / "examples"
POLICY = knowledge.load().policy("default")


def example(name: str) -> nn.Module:
    spec = spec_from_file_location(f"scrambled_{name}", EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.device("meta"):
        return module.build()


def library(model_type: str, auto: str) -> nn.Module:
    if find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    torchvision_ops.install()
    import transformers

    config = transformers.CONFIG_MAPPING[model_type]()
    with torch.device("meta"):
        return getattr(transformers, auto).from_config(config)


def scrambled(facts: Inventory, seed: int) -> Inventory:
    """The same model with another word for every name; the numbers of lists stay, since torch gives them."""
    rng, words = random.Random(seed), {}

    def word(part: str) -> str:
        if part.isdigit():
            return part
        return words.setdefault(part, "".join(rng.choices("qxzvkj", k=12)))

    def path(text: str) -> str:
        return ".".join(word(part) for part in text.split(".")) if text else ""

    def paths(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(path(t) for t in texts)

    known = facts.accessors
    return replace(
        facts,
        modules=tuple(replace(m, path=path(m.path)) for m in facts.modules),
        parameters=tuple(
            replace(
                p,
                name=path(p.name),
                sites=tuple(
                    replace(s, name=path(s.name), module=path(s.module), attribute=word(s.attribute)) for s in p.sites
                ),
            )
            for p in facts.parameters
        ),
        accessors=replace(
            known,
            input_embeddings=paths(known.input_embeddings),
            output_embeddings=paths(known.output_embeddings),
            classifiers=paths(known.classifiers),
            first_layers=paths(known.first_layers),
            no_weight_decay=paths(known.no_weight_decay),
            base=path(known.base) if known.base else known.base,
        ),
    )


MODELS = {
    **{name: lambda name=name: example(name) for name in ("gpt", "vit", "convnext", "moe", "mamba", "lora")},
    "bert": lambda: library("bert", "AutoModelForSequenceClassification"),
    "t5": lambda: library("t5", "AutoModelForSeq2SeqLM"),
    "deepseek": lambda: library("deepseek_v3", "AutoModelForCausalLM"),
}


@pytest.mark.parametrize("name", MODELS)
def test_scrambled_names_go_to_the_same_place(name: str) -> None:
    facts = inventory(MODELS[name]())
    plain = judge(facts, POLICY).parameters
    for seed in range(2):
        other = judge(scrambled(facts, seed), POLICY).parameters
        moved = [p.name for p, q in zip(plain, other, strict=True) if p.destination != q.destination]
        assert moved == []


@pytest.mark.parametrize("name", MODELS)
def test_the_forward_pass_alone_sends_everything_to_the_same_place(name: str) -> None:
    model = MODELS[name]()
    alone = paramlint.inspect(model, evidence=("identity", "use", "shape"))
    assert [p.inputs for p in alone.passes if not p.stopped]
    told = {p.name: (p.role, p.destination) for p in alone.parameters}
    everything = paramlint.inspect(model).parameters
    assert [p.name for p in everything if told[p.name][1] != p.destination] == []


def test_a_misleading_name_does_not_move_a_map() -> None:
    block = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64))
    model = nn.Module()
    model.tokens = nn.Embedding(100, 64)
    model.blocks = nn.ModuleList(nn.ModuleDict({"lm_head": nn.Linear(64, 64), "norm": block}) for _ in range(3))
    model.embed_tokens = nn.Linear(64, 100)
    found = {p.name: p.role for p in paramlint.inspect(model).parameters}
    assert found["blocks.1.lm_head.weight"] == "hidden-matrix"
    assert found["embed_tokens.weight"] == "output-head"
