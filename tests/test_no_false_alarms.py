"""Optimizers and groups that are right: nothing at warning or above may be found."""

from __future__ import annotations

import copy
import math
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
import torch
from right_models import GPT, MLP, ConvNet, Dino, Encoder, Lora, ResNet
from torch import nn
from torch.optim import SGD, AdamW

import paramlint
from paramlint.model import torchvision_ops


def alarms(model, optimizer, **options):
    run = paramlint.check(model, optimizer, **options)
    return [(f.code, f.group, f.message, f.parameters) for f in run.findings if f.severity != "note"]


def trained(model):
    return [(n, p) for n, p in model.named_parameters() if p.requires_grad]


def halves(model, chosen):
    """(Muon's, the others), by a test on name and parameter."""
    muon = [p for n, p in trained(model) if chosen(n, p)]
    ids = {id(p) for p in muon}
    return muon, [p for _, p in trained(model) if id(p) not in ids]


# --- AdamW and its kind: no choice to get wrong


def nanogpt(model):
    decay = [p for _, p in trained(model) if p.dim() >= 2]
    others = [p for _, p in trained(model) if p.dim() < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=6e-4, betas=(0.9, 0.95), fused=False)


def trainer(model):
    """As the Trainer of transformers does: no decay for norms and biases, and empty groups kept."""
    norms = {n for n, m in model.named_modules() if isinstance(m, nn.LayerNorm | nn.BatchNorm2d | nn.Embedding)}
    decay = {n for n, _ in model.named_parameters() if n.rpartition(".")[0] not in norms and "bias" not in n}
    return AdamW(
        [
            {"params": [p for n, p in trained(model) if n in decay], "weight_decay": 0.01},
            {"params": [p for n, p in trained(model) if n not in decay], "weight_decay": 0.0},
        ],
        lr=5e-5,
    )


def layer_decay(model):
    left = len(trained(model))
    groups = [{"params": [p], "lr": 1e-3 * 0.8 ** (left - i), "name": n} for i, (n, p) in enumerate(trained(model))]
    return AdamW(groups)


def named(model):
    return AdamW(model.named_parameters() if all(p.requires_grad for p in model.parameters()) else trained(model))


PLAIN = {
    "nanogpt": nanogpt,
    "trainer": trainer,
    "layer decay": layer_decay,
    "named": named,
    "filter": lambda model: AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-3),
    "sgd": lambda model: SGD([p for _, p in trained(model)], lr=0.1, momentum=0.9, nesterov=True),
    "adafactor": lambda model: torch.optim.Adafactor([p for _, p in trained(model)]),
    "two optimizers": lambda model: [AdamW([p]) for _, p in trained(model)],
    "lightning": lambda model: {
        "optimizer": (o := nanogpt(model)),
        "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1.0), "interval": "step"},
    },
}


def frozen_backbone():
    model = Encoder()
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    return model


MODELS = {
    "gpt": GPT,
    "tied gpt": lambda: GPT(tie=True),
    "encoder": Encoder,
    "frozen backbone": frozen_backbone,
    "lora": Lora,
    "resnet": ResNet,
    "mlp": MLP,
    "dino": Dino,
}


@pytest.mark.parametrize("optimizer", PLAIN)
@pytest.mark.parametrize("model", MODELS)
def test_elementwise_optimizers(model, optimizer):
    assert alarms(MODELS[model](), PLAIN[optimizer]) == []


def test_groups_of_dino():
    """One group with decay, one without; the frozen gain of the last layer and the teacher are in neither."""
    model = Dino()

    def groups(model):
        params = [(n, p) for n, p in model.student.named_parameters() if p.requires_grad]
        small = [p for n, p in params if n.endswith(".bias") or p.ndim == 1]
        ids = {id(p) for p in small}
        return [{"params": [p for _, p in params if id(p) not in ids]}, {"params": small, "weight_decay": 0.0}]

    assert alarms(model, lambda model: AdamW(groups(model))) == []
    assert alarms(model, groups) == []


def test_a_gan_is_two_models():
    class Gan(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator, self.discriminator = MLP(8, 4), ConvNet(1)

        def configure_optimizers(self):
            return [torch.optim.Adam(self.generator.parameters()), torch.optim.Adam(self.discriminator.parameters())]

    gan = Gan()
    assert alarms(gan, gan.configure_optimizers) == []
    assert alarms(gan.generator, torch.optim.Adam(gan.generator.parameters())) == []
    # whoever gives both optimizers to one of the models is told
    assert [code for code, *_ in alarms(gan.generator, gan.configure_optimizers)] == ["PML103"]


def test_an_average_of_the_model_beside_it():
    model = Encoder()
    average = copy.deepcopy(model).requires_grad_(False)
    both = nn.ModuleDict({"model": model, "average": average})
    assert alarms(both, AdamW(model.parameters())) == []
    assert alarms(model, AdamW(model.parameters())) == []


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda m: nn.ModuleDict({"module": m})])
def test_a_wrapped_model(wrap):
    model = GPT()
    assert alarms(wrap(model), nanogpt(model)) == []


# --- the examples, at full size


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt", set()),
        ("convnext", set()),
        ("moe", set()),
        ("lora", set()),
        ("vit", {"PML212"}),  # its query, key and value are one matrix, and go to Muon as one
        ("mamba", set()),  # x_proj holds three matrices, which the trace sees: with Adam it is well placed
    ],
)
def test_the_right_groups_of_an_example(name, expected):
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    module = SourceFileLoader(f"right_{name}", str(path)).load_module()
    with torch.device("meta"):
        model = module.build()
    assert {code for code, *_ in alarms(model, module.right_groups)} == expected
    assert {code for code, *_ in alarms(model, module.right_groups(model), profile="keller")} == expected


# --- Muon, with the groups that its users and its authors recommend


def hidden(name, p):
    return p.ndim == 2 and name.startswith("blocks.")


def test_torch_muon_and_adamw():
    for model in (GPT(), GPT(tie=True)):
        muon, rest = halves(model, hidden)
        assert alarms(model, [torch.optim.Muon(muon, lr=0.02), AdamW(rest)]) == []
        assert alarms(model, [torch.optim.Muon(muon, lr=1e-3, adjust_lr_fn="match_rms_adamw"), AdamW(rest)]) == []
        by_layer = [{"params": [p], "lr": 0.02 * 0.9**i} for i, p in enumerate(muon)]
        assert alarms(model, [torch.optim.Muon(by_layer), AdamW(rest)]) == []


def test_groups_as_keller_jordan_writes_them():
    model = GPT()
    muon = [p for p in model.blocks.parameters() if p.ndim >= 2]
    small = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": muon, "lr": 0.02, "momentum": 0.95, "use_muon": True},
        {"params": [model.head.weight], "lr": 0.22, "betas": (0.8, 0.95), "eps": 1e-10, "use_muon": False},
        {"params": [model.embed.weight, model.positions.weight], "lr": 0.6, "use_muon": False},
        {"params": small, "lr": 0.04, "use_muon": False},
    ]
    assert alarms(model, groups) == []
    assert alarms(model, groups, profile="keller-pypi") == []
    assert alarms(model, groups, profile="pytorch-optimizer") == []
    assert alarms(model, groups, policy="keller") == []


def test_two_lists():
    model = GPT()
    assert alarms(model, halves(model, hidden)) == []
    muon, rest = halves(model, hidden)
    assert alarms(model, {"muon_params": muon, "adamw_params": rest}) == []


def test_groups_of_dion_with_a_head_of_its_own_lr():
    model = GPT()
    muon, _ = halves(model, hidden)
    small = [p for p in model.parameters() if p.ndim < 2]

    def build(model):
        from dion import Muon

        return Muon(
            [
                {"params": muon},
                {"params": small, "algorithm": "lion"},
                {"params": [model.embed.weight, model.positions.weight], "algorithm": "lion"},
                {"params": [model.head.weight], "algorithm": "lion", "lr": 0.01 / math.sqrt(32)},
            ],
            lr=0.01,
        )

    assert alarms(model, build) == []


def test_filters_where_they_are_flattened():
    model = ResNet()
    outside = {id(model.stem.weight), id(model.fc.weight)}
    muon, rest = halves(model, lambda n, p: p.ndim > 1 and id(p) not in outside)
    groups = [{"params": muon, "use_muon": True}, {"params": rest, "use_muon": False}]
    assert alarms(model, groups) == []
    assert alarms(model, groups, profile="pytorch-optimizer") == []


def test_filters_left_to_adam_where_they_are_not_taken():
    class Mixed(ResNet):
        def __init__(self):
            super().__init__()
            self.mixers = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in "ab")
            self.fc = nn.Linear(16, 10)

    model = Mixed()
    muon, rest = halves(model, lambda n, p: n.startswith("mixers") and p.ndim == 2)
    assert alarms(model, [torch.optim.Muon(muon), AdamW(rest)]) == []


@pytest.fixture(scope="module")
def timm():
    torchvision_ops.install()
    return pytest.importorskip("timm", exc_type=ImportError)


SMALL = {
    "vit_tiny_patch16_224": {"depth": 2, "embed_dim": 64, "num_heads": 4, "img_size": 32},
    "resnet18": {},
    "convnext_atto": {},
    "efficientnet_b0": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_the_factory_of_timm(timm, name):
    from timm.optim import create_optimizer_v2

    with torch.device("meta"):
        model = timm.create_model(name, num_classes=10, **SMALL[name])
    for options in ({}, {"layer_decay": 0.75}, {"filter_bias_and_bn": False}):
        assert alarms(model, create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05, **options)) == []
    outside = ["head.*", "fc.*", "*classifier*", "*patch_embed*", "*stem*", "conv1.*", "*qkv*"]
    muon = create_optimizer_v2(model, "muon", lr=1e-3, fallback_list=outside, fallback_no_weight_decay=True)
    assert alarms(model, muon) == []
