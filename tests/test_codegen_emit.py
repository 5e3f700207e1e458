"""The groups and optimizers that generated modules make, for every optimizer that is known."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import generated
import pytest
import torch
from generated import KNOWN, OPTIMIZERS, emitted, flat, names
from torch import nn

import paramlint
from paramlint import planning
from paramlint.codegen import emit
from paramlint.codegen.generate import generate
from paramlint.errors import ParamlintError
from paramlint.model import recorder, torchvision_ops
from paramlint.model.groups import read
from paramlint.planned import Layers

EXAMPLES = ("gpt", "convnext", "moe")
GROUPED = [n for n in OPTIMIZERS if n not in ("moonlight", "megatron")]


@pytest.fixture(autouse=True)
def absent_packages(monkeypatch):
    """What is not installed is recorded; so are the classes that come as a file to copy."""
    torchvision_ops.install()
    for profile in (p for p in KNOWN.profiles.values() if p.install is None):
        name, _, cls = emit.package.class_path(profile).rpartition(".")
        file = sys.modules.get(name, type(sys)(name))
        setattr(file, cls, recorder.stand_in(name, cls, profile))
        monkeypatch.setitem(sys.modules, name, file)
    with recorder.standing_in(KNOWN.profiles):
        yield


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("optimizer", GROUPED)
def test_groups_are_those_of_the_plan(example, optimizer):
    plan, model = generated.plan(example, optimizer), generated.build(example)
    module = generated.run(generated.text(example, optimizer))
    groups = flat(module.param_groups(model))
    assert [names(model, g["params"]) for g in groups] == [g.parameters for g in plan.groups]
    for group, planned in zip(groups, plan.groups, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == generated.options(plan, planned)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("optimizer", [n for n in OPTIMIZERS if KNOWN.profile(n).imports])
def test_the_optimizer_has_every_parameter_where_the_plan_has_it(example, optimizer):
    plan, model = generated.plan(example, optimizer), generated.build(example)
    module = generated.run(generated.text(example, optimizer))
    proposal = read(module.build_optimizer, model, generated.inventory(example), KNOWN.profiles)
    assert not [u.refusal for u in proposal.optimizers if u.refusal]
    placed = [m.name for u in proposal.optimizers for g in u.groups for m in g.members]
    assert sorted(placed) == sorted(plan.trainable)
    first = proposal.optimizers[0]
    assert first.class_name in KNOWN.profile(optimizer).classes
    in_muon = {m.name for u in proposal.optimizers for g in u.groups for m in g.members if _is_muon(u, g)}
    wanted = {n for g in plan.groups for n in g.parameters if g.kind.half == "muon"}
    assert in_muon == wanted


def _is_muon(use, group) -> bool:
    profile = KNOWN.profile(use.profile)
    if profile.family == "elementwise":
        return False
    if group.half or profile.flag_key is None:
        return group.half != "adam"
    return group.options[profile.flag_key] in profile.flag_muon if profile.flag_muon else "use_muon" in group.options


@pytest.mark.parametrize("optimizer", [n for n in OPTIMIZERS if KNOWN.profile(n).keys.strictness == "exact"])
def test_keys_are_those_that_are_asserted(optimizer):
    profile, model = KNOWN.profile(optimizer), generated.build("gpt")
    module = generated.run(generated.text("gpt", optimizer))
    groups = module.param_groups(model)
    assert {g["use_muon"] for g in groups} == {True, False}
    for group in groups:
        assert set(group) <= set(profile.keys.muon if group["use_muon"] else profile.keys.adam)
    assert module.group_names(model) == [list(names(model, g["params"])) for g in groups]


def test_settings_reach_the_groups_and_the_constructors():
    model = generated.build("gpt")
    muon, adamw = generated.run(generated.text("gpt", "torch-muon")).build_optimizer(
        model, lr=0.5, adamw_lr=0.25, momentum=0.125, betas=(0.5, 0.75), weight_decay=0.375
    )
    assert {(g["lr"], g["momentum"], g["weight_decay"]) for g in muon.param_groups} == {(0.5, 0.125, 0.375)}
    assert {(g["lr"], g["betas"], g["weight_decay"]) for g in adamw.param_groups} == {
        (0.25, (0.5, 0.75), 0.375),
        (0.25, (0.5, 0.75), 0.0),
    }
    (sgd,) = [generated.run(generated.text("gpt", "sgd")).build_optimizer(model, momentum=0.625)]
    assert {g["momentum"] for g in sgd.param_groups} == {0.625}
    lists = generated.run(generated.text("gpt", "moonlight")).build_optimizer
    (moonlight,) = read(
        lambda model: lists(model, weight_decay=0.5), model, generated.inventory("gpt"), KNOWN.profiles
    ).optimizers
    assert moonlight.options["wd"] == 0.5 and moonlight.options["adamw_betas"] == (0.9, 0.95)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_setting_of_the_plan_can_be_given(optimizer):
    plan = generated.plan("gpt", optimizer)
    module = generated.run(generated.text("gpt", optimizer))
    given = inspect.signature(module.build_optimizer).parameters
    settings = {n: p for n, p in given.items() if n != "model" and not n.endswith(("mesh", "config", "_options"))}
    assert {n: p.default for n, p in settings.items()} == {s.name: s.default for s in plan.settings}
    assert {p.kind for p in settings.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(f"{s.name}: {s.about.split()[0]}" in module.build_optimizer.__doc__ for s in plan.settings)


@pytest.mark.parametrize("example", EXAMPLES)
def test_moonlight_has_two_lists(example):
    plan, model = generated.plan(example, "moonlight"), generated.build(example)
    groups = generated.run(generated.text(example, "moonlight")).param_groups(model)
    assert list(groups) == ["muon_params", "adamw_params"] and {type(g) for g in groups.values()} == {list}
    for half, argument in (("muon", "muon_params"), ("adam", "adamw_params")):
        wanted = [n for n in plan.trainable if plan.kind(plan.labels[n]).half == half]
        assert list(names(model, groups[argument])) == wanted


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("optimizer", ["deepspeed", "megatron"])
def test_attributes_say_which_half(example, optimizer):
    plan, model = generated.plan(example, optimizer), generated.build(example)
    frozen = next(model.parameters()).requires_grad_(False)
    module = generated.run(generated.text(example, optimizer))
    groups = module.param_groups(model)
    wanted = {n for n in plan.trainable if plan.kind(plan.labels[n]).half == "muon"}
    assert {n for n, p in model.named_parameters() if p.use_muon} == wanted
    assert frozen.use_muon is False and not any(p is frozen for g in groups for p in g["params"])


def test_megatron_is_asked_for_its_own_optimizer(monkeypatch):
    made = {}
    fake = type(sys)("megatron.core.optimizer")
    fake.OptimizerConfig = lambda **fields: made.update(fields) or "config"
    fake.get_megatron_optimizer = lambda config, chunks: (config, chunks)
    for name in ("megatron", "megatron.core"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setitem(sys.modules, "megatron.core.optimizer", fake)
    model = generated.build("gpt")
    module = generated.run(generated.text("gpt", "megatron"))
    assert module.build_optimizer(model, lr=0.5, bf16=True) == ("config", [model])
    assert made["optimizer"] == "muon" and made["lr"] == 0.5 and made["bf16"] is True
    assert (made["adam_beta1"], made["adam_beta2"]) == (0.9, 0.95)


def test_deepspeed_takes_the_groups_as_they_are(monkeypatch):
    path, _, name = emit.package.class_path(KNOWN.profile("deepspeed")).rpartition(".")
    fake = type(sys)(path)
    setattr(fake, name, lambda groups: groups)
    parts = path.split(".")
    for end in range(1, len(parts)):
        package = ".".join(parts[:end])
        monkeypatch.setitem(sys.modules, package, type(sys)(package))
    monkeypatch.setitem(sys.modules, path, fake)
    model = generated.build("gpt")
    groups = generated.run(generated.text("gpt", "deepspeed")).build_optimizer(model, weight_decay=0.5)
    assert [g["weight_decay"] for g in groups] == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("optimizer", ["muon-2024", "adamuon"])
def test_classes_that_want_a_rank_get_one(optimizer):
    model = generated.build("gpt")
    module = generated.run(generated.text("gpt", optimizer))
    muon = read(module.build_optimizer, model, generated.inventory("gpt"), KNOWN.profiles).optimizers[0]
    assert (muon.options["rank"], muon.options["world_size"]) == (0, 1)


def test_a_half_without_parameters_is_left_out():
    model = generated.build("gpt")
    module = generated.run(generated.text("gpt", "torch-muon"))
    for name, p in model.named_parameters():
        p.requires_grad_("ln_" in name)
    assert list(module.param_groups(model)) == ["adamw"]
    (adamw,) = module.build_optimizer(model)
    assert type(adamw) is torch.optim.AdamW
    groups = generated.run(generated.text("gpt", "keller")).param_groups(model)
    assert [g["use_muon"] for g in groups] == [False]


def frozen_but(half):
    """A GPT that trains the parameters of one half, and its inventory."""
    plan, model = generated.plan("gpt", "torch-muon"), generated.build("gpt")
    for name, p in model.named_parameters():
        p.requires_grad_(plan.kind(plan.labels[name]).half == half)
    return model, paramlint.inspect(model)


@pytest.mark.parametrize(("half", "cls"), [("muon", torch.optim.Muon), ("adam", torch.optim.AdamW)])
def test_a_plan_for_one_half_has_one_optimizer(half, cls):
    model, inventory = frozen_but(half)
    plan = planning.plan(inventory, KNOWN, "torch-muon")
    module = generated.run(generate(plan, inventory, KNOWN.profile("torch-muon")))
    (optimizer,) = module.build_optimizer(model)
    assert type(optimizer) is cls
    placed = [n for g in optimizer.param_groups for n in names(model, g["params"])]
    assert sorted(placed) == sorted(plan.trainable)


def test_a_model_that_trains_nothing_is_an_error():
    model, _ = frozen_but("none")
    plan = planning.plan(paramlint.inspect(model), KNOWN, "torch-muon")
    with pytest.raises(ParamlintError, match="no parameter is trained"):
        emit.section(plan, KNOWN.profile("torch-muon"))


# The check at the end


@pytest.mark.parametrize("optimizer", ["torch-muon", "keller", "moonlight", "deepspeed", "adamw"])
def test_a_parameter_that_no_group_has_is_an_error(optimizer):
    plan, model = generated.plan("gpt", optimizer), generated.build("gpt")
    kinds = {n: plan.labels[n] for n in plan.trainable if "mlp.c_fc.weight" not in n}
    with pytest.raises(RuntimeError) as error:
        emitted(plan, optimizer, kinds).param_groups(model)
    named = ", ".join(f"h.{i}.mlp.c_fc.weight" for i in range(3))
    assert str(error.value) == f"4 parameters are in no group: {named}"


def test_a_parameter_that_two_groups_have_is_an_error():
    plan, model = generated.plan("gpt", "keller"), generated.build("gpt")
    module = emitted(plan, "keller")
    params = list(model.parameters())
    module.check_complete(model, params)
    with pytest.raises(RuntimeError, match=r"^1 parameters are in several groups: wte\.weight$"):
        module.check_complete(model, [*params, params[0]])


# Layers and turned weights


def by_depth(inventory):
    """Blocks are layers; what stands before them is layer 0, what stands after them the last."""
    blocks = 1 + max(int(p.name.split(".")[1]) for p in inventory.parameters if p.name.startswith("h."))
    layers = {}
    for p in inventory.parameters:
        block = int(p.name.split(".")[1]) + 1 if p.name.startswith("h.") else 0
        layers[p.name] = blocks + 1 if p.name.startswith("ln_f") else block
    return Layers(layers, blocks + 2)


@pytest.mark.parametrize("optimizer", GROUPED)
def test_lr_is_scaled_by_layer(optimizer):
    layers = by_depth(generated.inventory("gpt"))
    scales = tuple(0.5 ** (layers.count - 1 - i) for i in range(layers.count))
    plan = generated.plan("gpt", optimizer, layers=layers, scales=scales)
    model, profile = generated.build("gpt"), KNOWN.profile(optimizer)
    module = generated.run(generate(plan, generated.inventory("gpt"), profile))
    groups = flat(module.param_groups(model))
    planned = plan.groups
    if profile.call_shape == "two-optimizers" or optimizer == "heavyball":
        planned = sorted(planned, key=lambda g: g.kind.half == "adam")
    assert [names(model, g["params"]) for g in groups] == [g.parameters for g in planned]
    carried = profile.keys.strictness in ("any", "superset") and optimizer != "timm"
    for group, wanted in zip(groups, planned, strict=True):
        assert group["lr"] == pytest.approx(generated.options(plan, wanted)["lr"], abs=0)
        assert group.get("lr_scale") == (wanted.lr_scale if carried else None)
    if profile.imports:
        placed = read(module.build_optimizer, model, generated.inventory("gpt"), KNOWN.profiles)
        assert sorted(m.name for u in placed.optimizers for g in u.groups for m in g.members) == sorted(plan.trainable)


@pytest.mark.parametrize("optimizer", ["moonlight", "megatron"])
def test_layers_where_there_is_one_lr_are_an_error(optimizer):
    plan = generated.plan("gpt", optimizer)
    plan = dataclasses.replace(plan, layers=by_depth(generated.inventory("gpt")), scales=(1.0,) * 6)
    with pytest.raises(ParamlintError, match=f"^{optimizer} "):
        emit.section(plan, KNOWN.profile(optimizer))


class Conv1D(nn.Module):
    """A linear map that stores its weight (in, out)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))

    def forward(self, x):
        return x @ self.weight


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.h = nn.ModuleList(nn.Sequential(Conv1D(8, 32), nn.GELU(), Conv1D(32, 8)) for _ in range(2))
        self.ln_f = nn.LayerNorm(8)
        self.head = nn.Linear(8, 50)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.h:
            x = x + block(x)
        return self.head(self.ln_f(x))


def turned(optimizer, layered):
    with torch.device("meta"):
        inventory = paramlint.inspect(Turned(), inputs=lambda: torch.zeros(1, 4, dtype=torch.long))
    more = {"layers": by_depth(inventory), "scales": (0.125, 0.25, 0.5, 1.0)} if layered else {}
    return planning.plan(inventory, KNOWN, optimizer, **more), inventory


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize(
    ("optimizer", "wide", "narrow"),
    [("torch-muon", 2.0, 0.5), ("keller", 2.0, 0.5), ("dion-muon", 4.0, 0.25), ("timm", 1.0, 1.0)],
)
def test_lr_makes_up_for_weights_that_are_stored_in_out(optimizer, wide, narrow, layered):
    plan, _ = turned(optimizer, layered)
    module = emitted(plan, optimizer)
    model = Turned()
    lr = next(s.default for s in plan.settings if s.name == "lr")
    found = {n: g["lr"] / lr for g in flat(module.param_groups(model)) for n in names(model, g["params"])}
    for i, scale in enumerate((0.25, 0.5) if layered else (1.0, 1.0)):
        assert found[f"h.{i}.0.weight"] == pytest.approx(wide * scale)
        assert found[f"h.{i}.2.weight"] == pytest.approx(narrow * scale)
    planned = {n: g.lr_scale * g.turn for g in plan.groups if g.kind.half == "muon" for n in g.parameters}
    assert {n: found[n] for n in planned} == pytest.approx(planned)


# As code


@pytest.mark.parametrize("optimizer", generated.NOT_TORCH)
def test_optimizers_for_other_libraries_are_an_error(optimizer):
    with pytest.raises(ParamlintError, match="does not train PyTorch models"):
        emit.section(generated.plan("gpt", "adamw"), KNOWN.profile(optimizer))


def test_the_code_is_clean(tmp_path):
    layers = {"layers": by_depth(generated.inventory("gpt")), "scales": (0.25,) * 6}
    texts = {n: generated.text("gpt", n) for n in OPTIMIZERS}
    texts["split"] = generated.text("vit", "dion-muon")
    for optimizer in GROUPED:
        plan = generated.plan("gpt", optimizer, **layers)
        texts[f"{optimizer}-layers"] = generate(plan, generated.inventory("gpt"), KNOWN.profile(optimizer))
    for optimizer in ("torch-muon", "dion-muon"):
        plan, inventory = turned(optimizer, layered=True)
        texts[f"{optimizer}-turned"] = generate(plan, inventory, KNOWN.profile(optimizer))
    for optimizer in ("torch-muon", "keller", "moonlight", "deepspeed", "megatron"):
        for half in ("muon", "adam"):
            _, inventory = frozen_but(half)
            plan = planning.plan(inventory, KNOWN, optimizer)
            texts[f"{optimizer}-{half}"] = generate(plan, inventory, KNOWN.profile(optimizer))
    for name, text in texts.items():
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(text)

    def clean(*command):
        done = subprocess.run([sys.executable, "-m", *command, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    clean("ruff", "check", "--isolated", "--extend-select", "E501")
    for width in ("88", "120"):
        clean("ruff", "format", "--isolated", "--check", "--line-length", width)
    root = Path(__file__).parent.parent
    clean("mypy", "--config-file", str(root / "pyproject.toml"), "--cache-dir", str(root / ".mypy_cache"))
