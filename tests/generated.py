"""Modules that `paramlint codegen` writes: how tests make them, run them, and say what they should hold."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import torch

import paramlint
from paramlint import knowledge, planning
from paramlint.codegen import emit
from paramlint.codegen.generate import generate
from paramlint.planned import Plan, PlannedGroup, values

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

KNOWN = knowledge.load()
NOT_TORCH = ("keras", "optax")
OPTIMIZERS = [name for name in KNOWN.profiles if name not in NOT_TORCH]


def build(example, **sizes):
    """One of `examples/`, on meta."""
    with torch.device("meta"):
        return __import__(example).build(**sizes)


@lru_cache
def inventory(example):
    return paramlint.inspect(build(example))


def plan(example, optimizer, **more) -> Plan:
    return planning.plan(inventory(example), KNOWN, optimizer, **more)


def text(example, optimizer) -> str:
    return generate(plan(example, optimizer), inventory(example), KNOWN.profile(optimizer))


def run(source: str) -> ModuleType:
    module = ModuleType("generated")
    exec(compile(source, "generated.py", "exec"), module.__dict__)
    return module


def emitted(made: Plan, optimizer: str, kinds: Mapping[str, str] | None = None) -> ModuleType:
    """The emitter's section alone, over tables of the plan's kinds and layers."""
    section = emit.section(made, KNOWN.profile(optimizer))
    trained = {n: made.labels[n] for n in made.trainable}
    head = [
        "from __future__ import annotations",
        *section.imports,
        f"def kinds_of(model): return {dict(trained if kinds is None else kinds)!r}",
    ]
    if made.layers:
        head += [f"LR_SCALES = {made.scales!r}", f"def layers_of(model): return {dict(made.layers.of)!r}"]
        head += ["def lr_scales(layers): return LR_SCALES"]
    return run("\n".join([*head, section.body]))


def flat(groups):
    """The groups of one optimizer or of both, in order."""
    return [g for half in groups.values() for g in half] if isinstance(groups, dict) else groups


def names(model, params):
    by_tensor = {id(p): name for name, p in model.named_parameters()}
    return tuple(by_tensor[id(p)] for p in params)


def options(made: Plan, group: PlannedGroup):
    """The options that a group should have, lr scaled, at the settings' defaults."""
    return values(made, group)
