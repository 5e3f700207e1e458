"""What `rules/` knows, and that it is whole."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from paramlint.errors import ParamlintError
from paramlint.knowledge import load
from paramlint.profile import Policy, Profile

KNOWN = load()

ROLES = """hidden-matrix fused-matrix expert-stack conv-filter grouped-conv depthwise-conv embedding output-head
    tied-embedding input-projection position-table token relative-bias norm-gain bias scale elementwise router
    low-rank-adapter small-gate hyper-connection row-matrix unused unknown""".split()
POLICIES = """default keller moonlight nanochat modded-nanogpt dion megatron deepspeed timm torchtitan llama-factory
    deepseek-v4""".split()
PROFILES = """torch-muon keller keller-dist keller-pypi keller-pypi-dist keller-muon keller-muon-dist muon-2024
    keller-pypi-muon keller-pypi-muon-dist moonlight dion-muon normuon-dion dion dion2 nordion2
    emerging-optimizers timm pytorch-optimizer heavyball heavyball-muon deepspeed megatron normuon
    normuon-dist adamuon optax keras scion adamw adam sgd""".split()

each_policy = pytest.mark.parametrize("policy", KNOWN.policies.values(), ids=lambda p: p.name)
each_profile = pytest.mark.parametrize("profile", KNOWN.profiles.values(), ids=lambda p: p.name)


def test_everything_is_there() -> None:
    assert sorted(KNOWN.roles) == sorted(ROLES)
    assert sorted(KNOWN.policies) == sorted(POLICIES)
    assert sorted(KNOWN.profiles) == sorted(PROFILES)


def test_a_role_says_what_it_is_for() -> None:
    for role in KNOWN.roles.values():
        assert role.meaning.endswith(".") and role.meaning[0].isupper()
        assert re.search(r" \[[\d, ]+\]$", role.example), role.example
        assert role.source


@each_policy
def test_a_policy_rules_on_every_role_and_names_its_sources(policy: Policy) -> None:
    assert list(policy.rulings) == list(KNOWN.roles)
    for name, ruling in policy.rulings.items():
        assert ruling.source, name
        assert ruling.to in ("either", ruling.plan), name
        for source in (*policy.source, *ruling.source, *ruling.muon, *ruling.adam):
            assert re.fullmatch(r"\S.*: https://\S+", source), source


def test_default_agrees_with_where_the_evidence_lies() -> None:
    rulings = KNOWN.policy("default").rulings
    to = {name: r.to for name, r in rulings.items()}
    assert {n for n, t in to.items() if t == "muon"} == {"hidden-matrix", "fused-matrix", "expert-stack", "conv-filter"}
    assert {n for n, t in to.items() if t == "either"} == {
        "router",
        "low-rank-adapter",
        "small-gate",
        "hyper-connection",
        "grouped-conv",
    }
    assert [n for n, r in rulings.items() if r.to == "either" and r.plan == "muon"] == ["grouped-conv"]
    # what is contested shows both sides; an error has sources that agree
    assert all(r.muon and r.adam and r.strength == "C" for r in rulings.values() if r.to == "either")
    assert all(rulings[name].strength == "A" for name in ("embedding", "output-head", "tied-embedding", "bias"))


@pytest.mark.parametrize(
    ("policy", "role", "to", "plan", "note"),
    [
        ("moonlight", "router", "muon", "muon", ""),
        ("torchtitan", "router", "muon", "muon", ""),
        ("megatron", "position-table", "either", "adam", "by omission"),
        ("megatron", "conv-filter", "adam", "adam", ""),
        ("deepspeed", "elementwise", "either", "adam", "by accident"),
        ("llama-factory", "expert-stack", "adam", "adam", "by limitation"),
        ("timm", "input-projection", "muon", "muon", ""),
        ("nanochat", "small-gate", "either", "muon", "ve_gate"),
        ("deepseek-v4", "hyper-connection", "either", "muon", "static biases"),
        ("keller", "depthwise-conv", "either", "adam", "by omission"),
    ],
)
def test_a_named_policy_says_what_its_project_does(policy: str, role: str, to: str, plan: str, note: str) -> None:
    ruling = KNOWN.policy(policy).rulings[role]
    assert (ruling.to, ruling.plan) == (to, plan)
    assert note in ruling.note


def test_what_a_policy_does_not_speak_of_comes_from_default() -> None:
    assert KNOWN.policy("nanochat").rulings["router"] == KNOWN.policy("default").rulings["router"]
    # the evidence of a contested role stays, whoever rules
    assert KNOWN.policy("moonlight").rulings["router"].adam == KNOWN.policy("default").rulings["router"].adam


@each_profile
def test_a_profile_is_whole(profile: Profile) -> None:
    assert profile.source and all(re.fullmatch(r"\S.*: https://\S+", s) for s in profile.source)
    assert list(profile.ndim) == ["1", "2", "3", "4", "5"]
    assert profile.checked_version
    assert "default" in profile.lr_scale and "default" in profile.lr_class
    assert len(profile.lr_scale) == 1 or profile.lr_scale_key
    assert profile.ndim_error or profile.ndim_checked == "never"
    assert profile.classes or profile.name == "megatron"
    assert set(profile.imports) <= set(profile.classes)
    if profile.call_shape == "flagged-groups":
        assert profile.flag_key and profile.flag_muon and profile.flag_adam
    if profile.keys.strictness in ("exact", "superset"):
        assert profile.flag_key in profile.keys.muon and profile.flag_key in profile.keys.adam
    for half in (profile.muon_defaults, profile.adam_defaults):
        assert not half or profile.keys.strictness == "any" or set(half) < {*profile.keys.muon, *profile.keys.adam}


def test_names_and_aliases() -> None:
    for alias, name in {
        "muon": "torch-muon",
        "kj": "keller",
        "keller-single": "keller",
        "emerging": "emerging-optimizers",
        "kozistr": "pytorch-optimizer",
    }.items():
        assert KNOWN.profile(alias).name == name


@pytest.mark.parametrize(
    ("name", "facts"),
    {
        "torch-muon": {
            "classes": ("torch.optim.Muon", "torch.optim._muon.Muon"),
            "call_shape": "two-optimizers",
            "versions": ">=2.9",
            "defaults.weight_decay": 0.1,
            "defaults.lr": 1e-3,
            "ndim.2": "accept",
            "ndim.4": "error",
            "ndim_checked": "constructor",
            "lr_scale.match_rms_adamw": "rms",
            "lr_class.default": "muon",
        },
        "keller": {
            "keys.strictness": "exact",
            "keys.muon": ("params", "lr", "momentum", "weight_decay", "use_muon"),
            "keys.adam": ("params", "lr", "betas", "eps", "weight_decay", "use_muon"),
            "unflagged": "error",
            "ndim.3": "batch",
            "ndim.4": "flatten",
            "ndim.5": "batch",
            "adam_defaults.eps": 1e-10,
            "frozen": "decay",
            "process_group": False,
        },
        "keller-dist": {"process_group": True, "named": "error", "keys.strictness": "exact", "ndim.4": "flatten"},
        "keller-pypi": {
            "ndim.4": "error",
            "ndim.3": "batch",
            "closure": "error",
            "frozen": "crash",
            "versions": "==0.1.0",
        },
        "keller-pypi-dist": {"process_group": True, "ndim.4": "error"},
        "keller-muon-dist": {"classes": ("muon.Muon",), "process_group": True, "named": "error"},
        "muon-2024": {"defaults.weight_decay": 0.01, "frozen": "crash", "process_group": True},
        "moonlight": {
            "muon_argument": "muon_params",
            "adam_argument": "adamw_params",
            "decay_key": "wd",
            "defaults.wd": 0.1,
            "aux_lr": "same",
            "keys.strictness": "none",
            "lr_scale.default": "rms",
            "lr_class.default": "adam",
        },
        "dion-muon": {
            "flag_key": "algorithm",
            "flag_adam": ("adamw", "lion"),
            "ndim.3": "batch",
            "ndim.4": "batch",
            "lr_scale.rms_norm": "rms",
            "fused_split": ("num_heads", "split_sizes"),
            "fsdp": "fsdp2",
        },
        "normuon-dion": {"flag_muon": ("normuon",), "fused_split": ("num_heads", "split_sizes")},
        "dion": {"flag_muon": ("dion",), "ndim.3": "error"},
        "dion2": {"flag_muon": ("dion2",)},
        "nordion2": {"flag_muon": ("nordion2",)},
        "emerging-optimizers": {
            "requires_python": ">=3.12",
            "ndim_checked": "step",
            "closure": "error",
            "lr_scale.default": "sqrt-max",
            "lr_scale.unit_rms_norm": "spectral",
        },
        "timm": {
            "flag_key": "use_fallback",
            "second_flag": "use_muon",
            "shape_rule": "timm",
            "ndim.1": "adam",
            "ndim.3": "flatten",
            "lr_scale.rms_to_rms": "spectral",
            "lr_class.default": "adam",
        },
        "pytorch-optimizer": {
            "unflagged": "error",
            "ndim.1": "accept",
            "ndim.3": "flatten",
            "ndim.4": "flatten",
            "lr_scale.true": "rms",
            "versions": ">=4.1",
            "defaults.adamw_lr": 3e-4,
        },
        "heavyball": {"shape_rule": "ndim>=2", "defaults.lr": 0.0025, "ndim.3": "flatten"},
        "heavyball-muon": {"call_shape": "two-optimizers", "ndim.1": "accept"},
        "deepspeed": {"call_shape": "attribute", "shape_rule": "deepspeed", "keys.strictness": "superset"},
        "megatron": {"call_shape": "attribute", "shape_rule": "megatron", "fused_split": ("muon_split_qkv",)},
        "normuon": {"keys.muon": ("params", "lr", "momentum", "beta2", "weight_decay", "use_muon")},
        "normuon-dist": {"process_group": True, "keys.strictness": "exact"},
        "adamuon": {"process_group": True, "lr_scale.default": "rms"},
        "optax": {"shape_rule": "ndim==2", "aux_lr": "same"},
        "keras": {"lr_key": "learning_rate", "defaults.weight_decay": 0.004, "lr_scale.default": "rms"},
        "scion": {"flag_key": "norm", "call_shape": "norm-per-group"},
        "adamw": {"family": "elementwise", "ndim.1": "accept", "defaults.weight_decay": 0.01, "sparse": "error"},
        "sgd": {"family": "elementwise", "sparse": "ok"},
    }.items(),
)
def test_facts_of_each_implementation(name: str, facts: dict[str, object]) -> None:
    profile = KNOWN.profile(name)
    for path, expected in facts.items():
        value: object = profile
        for part in path.split("."):
            value = value[part] if isinstance(value, Mapping) else getattr(value, part)
        assert value == expected, path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("torch-muon", "add_param_group"),
        ("keller", "direct_url.json"),
        ("keller-dist", "IndexError"),
        ("keller-pypi", "omics"),
        ("moonlight", "wrapper replaces the parameters"),
        ("dion-muon", "flatten=True with several parameters of one shape"),
        ("dion-muon", "use_muon=False changes nothing"),
        ("emerging-optimizers", "extra_scale_factor=0.2"),
        ("timm", "lr_scale in a group"),
        ("pytorch-optimizer", "inverted in 3.9.0, 3.10.0 and 4.0.0"),
        ("deepspeed", "ZeRO stage 0"),
        ("deepspeed", "is_expert_group"),
        ("optax", "muon_weight_dimension_numbers"),
        ("keras", "exclude_layers"),
    ],
)
def test_what_has_no_field_is_said_in_words(name: str, text: str) -> None:
    profile = KNOWN.profile(name)
    assert any(text in sentence for sentence in (*profile.known_bugs, *profile.notes))


def test_unknown_names_are_answered_with_the_nearest() -> None:
    for ask, name, near in [
        (KNOWN.profile, "torch-mun", "torch-muon"),
        (KNOWN.policy, "moonligth", "moonlight"),
        (KNOWN.role, "embeding", "embedding"),
    ]:
        with pytest.raises(ParamlintError) as caught:
            ask(name)
        assert str(caught.value) == f"no {caught.value.message.split()[1]} {name!r}; did you mean {near!r}?"


def test_it_is_read_once() -> None:
    assert load() is KNOWN
