"""Who updates a tensor, by what each kind of optimizer looks at."""

from __future__ import annotations

import pytest
import torch

from paramlint import knowledge
from paramlint.group import Group, Member, OptimizerUse
from paramlint.model import torchvision_ops
from paramlint.profile import Profile
from paramlint.routing import half, muon_by_shape


def _profile(shape, **more):
    return Profile("p", "p", shape, (), (), "read", ("-",), **more)


USE_MUON = {"flag_key": "use_muon", "flag_muon": (True,), "flag_adam": (False,)}
KELLER = _profile("flagged-groups", unflagged="error", **USE_MUON)
DION = _profile("flagged-groups", flag_key="algorithm", flag_muon=("muon",), flag_adam=("adamw", "lion"))
TIMM_FLAGS = {"flag_key": "use_fallback", "flag_adam": (True,), "second_flag": "use_muon"}
TIMM = _profile("shape-routed", unflagged="shape", shape_rule="timm", **TIMM_FLAGS)
HEAVY = _profile("shape-routed", unflagged="shape", shape_rule="ndim>=2")
KERAS = _profile("shape-routed", unflagged="shape", shape_rule="ndim==2")
DEEPSPEED = _profile("attribute", shape_rule="deepspeed")
MEGATRON = _profile("attribute", shape_rule="megatron", ndim={"3": "adam"})
SCION = _profile("norm-per-group", flag_key="norm", flag_muon=("Spectral",), flag_adam=("Sign",), unflagged="muon")
TORCH_MUON = _profile("two-optimizers")
MOONLIGHT = _profile("two-lists")
ADAMW = _profile("elementwise", family="elementwise")


def route(profile, shape=(8, 8), name="h.weight", *, half_=None, attribute=None, defaults=None, **options):
    member = Member(name, shape, use_muon=attribute)
    use = OptimizerUse("o", (), class_name="x.Y", options=defaults or {})
    return half(member, Group(0, (member,), options, half=half_), use, profile)


@pytest.mark.parametrize(
    ("profile", "given", "expected"),
    [
        (TORCH_MUON, {}, "muon"),
        (TORCH_MUON, {"use_muon": False}, "muon"),  # ignored: the tensor is orthogonalised
        (ADAMW, {"use_muon": True}, "adam"),
        (ADAMW, {"half_": "muon"}, "adam"),
        (MOONLIGHT, {"half_": "muon"}, "muon"),
        (MOONLIGHT, {"half_": "adam"}, "adam"),
        (KELLER, {"use_muon": True}, "muon"),
        (KELLER, {"defaults": {"use_muon": False}}, "adam"),
        (KELLER, {}, "none"),
        (DION, {}, "muon"),
        (DION, {"algorithm": "lion"}, "adam"),
        (DION, {"algorithm": "sgd"}, "none"),
        (SCION, {"norm": "Spectral"}, "muon"),
        (SCION, {"norm": "Sign"}, "adam"),
        (TIMM, {"use_fallback": True}, "adam"),
        (TIMM, {"use_fallback": False}, "muon"),
        (TIMM, {"shape": (8,)}, "adam"),
        (HEAVY, {"shape": (8, 8, 3)}, "muon"),
        (KERAS, {"shape": (8, 8, 3)}, "adam"),
        (DEEPSPEED, {"name": "transformer.wte.weight"}, "muon"),
        (DEEPSPEED, {"name": "Embed_tokens.weight"}, "adam"),
        (DEEPSPEED, {"name": "lm_head.weight"}, "adam"),
        (DEEPSPEED, {"shape": (8, 8, 3)}, "muon"),
        (DEEPSPEED, {"shape": (8,)}, "adam"),
        (MEGATRON, {}, "muon"),
        (MEGATRON, {"shape": (4, 8, 8)}, "adam"),
        (MEGATRON, {"name": "embedding.word_embeddings.weight"}, "adam"),
        (MEGATRON, {"name": "embedding.position_embeddings.weight"}, "muon"),
        (None, {}, "adam"),
        (None, {"algorithm": "normuon"}, "muon"),
        (None, {"use_fallback": True}, "adam"),
        (None, {"half_": "muon"}, "muon"),
    ],
)
def test_who_updates_it(profile, given, expected):
    assert route(profile, **given) == expected


@pytest.mark.parametrize("profile", [DEEPSPEED, MEGATRON])
def test_the_attribute_of_a_tensor(profile):
    assert route(profile, attribute=False) == "adam"
    assert route(profile, attribute=True) == "muon"
    embedding = route(profile, name="word_embeddings.weight", attribute=True)
    assert embedding == ("muon" if profile is DEEPSPEED else "adam")


def test_flags_of_groups_that_no_profile_describes():
    assert [route(None, use_muon=flag) for flag in (True, False, 1)] == ["muon", "adam", "muon"]


def test_timm_flags_overrule_the_shape():
    assert route(TIMM, (8,), use_muon=True) == "muon"
    assert route(TIMM, (8,), use_muon=True, use_fallback=True) == "adam"


# which tensors timm 1.0.31 sent to Muon when it was run
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((768, 3, 16, 16), True),  # patch embedding
        ((64, 3, 7, 7), True),  # stem
        ((50257, 768), True),  # token embedding
        ((197, 192), True),  # 2-D position table
        ((1536, 16), True),  # A_log
        ((8, 1024), True),  # LoRA A
        ((8, 1025), False),
        ((1000, 768), True),  # classifier
        ((1, 197, 768), False),  # position table
        ((1, 1, 768), False),  # class token
        ((96, 1, 7, 7), False),  # depthwise
        ((1536, 1, 4), False),  # Mamba's convolution
        ((768,), False),  # LayerScale
        ((2, 768), False),  # head of two classes
        ((169, 4), True),
        ((169, 3), False),  # relative positions, three heads
        ((8, 512, 256), False),  # expert stack, flattened
        ((30522, 128), False),
        ((), False),
    ],
)
def test_the_shape_rule_of_timm(shape, expected):
    assert muon_by_shape("timm", shape) is expected
    assert route(TIMM, shape) == ("muon" if expected else "adam")


def test_the_shape_rule_agrees_with_timm_itself():
    torchvision_ops.install()
    muon = pytest.importorskip("timm.optim.muon", exc_type=ImportError)
    shapes = [(a, b, *rest) for a in (1, 2, 3, 4, 8, 600) for b in (1, 2, 4, 5, 513) for rest in ((), (1,), (3, 3))]
    for shape in [*shapes, (), (5,), (0, 4)]:
        tensor = torch.empty(shape, device="meta")
        if tensor.numel():
            assert muon_by_shape("timm", shape) == muon._is_suitable_for_muon(tensor), shape


PROFILES = knowledge.load().profiles


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("torch-muon", {"use_muon": False}, "muon"),
        ("keller", {"use_muon": False}, "adam"),
        ("keller", {"lr": 0.1}, "none"),
        ("keller-dist", {"use_muon": True}, "muon"),
        ("moonlight", {"half_": "adam"}, "adam"),
        ("dion-muon", {"use_muon": False}, "muon"),
        ("normuon-dion", {"algorithm": "normuon"}, "muon"),
        ("dion", {"algorithm": "adamw"}, "adam"),
        ("timm", {}, "muon"),
        ("pytorch-optimizer", {}, "none"),
        ("heavyball", {"shape": (8,)}, "adam"),
        ("deepspeed", {"name": "shared.weight"}, "muon"),
        ("megatron", {"shape": (4, 8, 8)}, "adam"),
        ("optax", {"shape": (4, 8, 8)}, "adam"),
        ("scion", {"norm": "BiasRMS"}, "adam"),
        ("scion", {"norm": "Auto"}, "muon"),
        ("adamw", {}, "adam"),
        ("sgd", {}, "adam"),
    ],
)
def test_the_profiles_that_are_shipped(name, given, expected):
    assert route(PROFILES[name], **given) == expected


def test_an_unknown_shape_rule():
    with pytest.raises(ValueError, match="no shape rule"):
        muon_by_shape("odd", (2, 2))
