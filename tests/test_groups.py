"""Groups in any form, without an optimizer, become the same plain proposal."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proposals import MATRICES, REST, look, matrices, names, only, rest, small_model
from torch import nn
from torch.optim import AdamW

from paramlint.errors import ParamlintError
from paramlint.model.facts import inventory
from paramlint.model.groups import read


@pytest.fixture
def model():
    return small_model()


# --- lists, generators, pairs


def test_group_dicts(model):
    groups = [{"params": matrices(model), "lr": 0.02}, {"params": rest(model), "betas": [0.9, 0.95], "fused": None}]
    proposal = look(groups, model)
    use = only(proposal)
    assert names(proposal) == {"groups": [MATRICES, REST]}
    assert [g.options for g in use.groups] == [{"lr": 0.02}, {"betas": (0.9, 0.95), "fused": None}]
    assert (use.class_name, use.profile, use.container, proposal.source) == (None, None, "list", "listed")
    assert proposal.notes == ()


@pytest.mark.parametrize(
    ("wrap", "container"),
    [
        (list, "list"),
        (tuple, "tuple"),
        (set, "set"),
        (frozenset, "frozenset"),
        (iter, "list_iterator"),
        (lambda ps: (p for p in ps), "generator"),
        (lambda ps: dict(enumerate(ps)).values(), "dict_values"),
        (lambda ps: filter(None.__ne__, ps), "filter"),
        (lambda ps: chain(ps[:1], ps[1:]), "chain"),
        (nn.ParameterList, "ParameterList"),
    ],
)
def test_containers_are_remembered(model, wrap, container):
    inner = only(look([{"params": wrap(matrices(model))}], model))
    assert inner.groups[0].container == container
    bare = only(look(wrap(matrices(model)), model))
    assert (bare.container, bare.groups[0].container) == (container, container)
    assert {m.name for m in bare.groups[0].members} == set(MATRICES)


def test_generators_inside_groups_are_left_fresh(model):
    groups = [{"params": (p for p in matrices(model))}]
    look(groups, model)
    assert len(list(groups[0]["params"])) == 2
    assert only(look(groups, model)).groups[0].members == ()


def test_model_parameters_and_named_parameters(model):
    order = tuple(n for n, _ in model.named_parameters())
    assert names(look(model.parameters(), model)) == {"groups": [order]}
    use = only(look(model.named_parameters(), model))
    assert tuple(m.given for m in use.groups[0].members) == order
    assert only(look(dict(model.named_parameters()), model)).groups[0].members == use.groups[0].members


def test_a_user_may_call_a_parameter_something_else(model):
    groups = [{"params": [("mine", model.embed.weight), ("yours", model.norm.bias)]}]
    assert [(m.given, m.name) for m in only(look(groups, model)).groups[0].members] == [
        ("mine", "embed.weight"),
        ("yours", "norm.bias"),
    ]


def test_foreign_frozen_flagged_and_computed_tensors(model):
    model.norm.weight.requires_grad_(False)
    model.norm.bias.use_muon = False
    foreign = nn.Parameter(torch.zeros(3))
    (group,) = only(look([model.norm.weight, model.norm.bias, foreign, model.body[0].weight.t()], model)).groups
    assert [(m.name, m.trainable, m.use_muon, m.leaf) for m in group.members] == [
        ("norm.weight", False, None, True),
        ("norm.bias", True, False, True),
        (None, True, None, True),
        (None, True, None, False),
    ]


def test_tied_wrapped_lazy_and_parametrized_names(model):
    assert names(look([model.head.weight], model)) == {"groups": [("embed.weight",)]}
    wrapped = torch.compile(model)
    assert names(look([wrapped.head.weight], wrapped)) == {"groups": [("embed.weight",)]}
    lazy = nn.Sequential(nn.LazyLinear(4), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    (group,) = only(look(lazy.parameters(), lazy)).groups
    assert (group.members[0].name, group.members[0].shape) == ("0.weight", ())
    assert "1.parametrizations.weight.original0" in {m.name for m in group.members}


def test_options_are_plain(model):
    options = {
        "lr": torch.tensor(0.5),
        "weight": torch.zeros(3),
        "dtype": torch.bfloat16,
        "schedule": {"warmup": 3, "steps": [1, 2]},
        "fn": test_options_are_plain,
        "thing": object(),
    }
    (group,) = only(look([{"params": matrices(model), **options}], model)).groups
    assert group.options == {
        "lr": 0.5,
        "weight": "tensor of shape (3,)",
        "dtype": "torch.bfloat16",
        "schedule": {"warmup": 3, "steps": (1, 2)},
        "fn": "test_options_are_plain",
        "thing": "<object object>",
    }


# --- two halves


@pytest.mark.parametrize(
    "obj",
    [
        lambda a, b: (a, b),
        lambda a, b: [iter(a), tuple(b)],
        lambda a, b: {"muon_params": a, "adamw_params": b},
        lambda a, b: {"adam": b, "muon": a},
        lambda a, b: {"muon": a, "everything_else": b},
        lambda a, b: {"non_muon": b, "muon": a},
    ],
)
def test_two_lists(model, obj):
    proposal = look(obj(matrices(model), rest(model)), model)
    use = only(proposal)
    by_half = {g.half: tuple(m.name for m in g.members) for g in use.groups}
    assert by_half == {"muon": MATRICES, "adam": REST}
    assert (use.profile, use.assumed) == ("moonlight", True)
    assert any("--optimizer" in n for n in proposal.notes)


def test_two_lists_of_groups_have_halves_and_no_profile(model):
    use = only(look([[{"params": matrices(model), "lr": 1}], [{"params": rest(model)}]], model))
    assert [g.half for g in use.groups] == ["muon", "adam"] and use.profile is None


def test_a_dict_of_lists_with_other_keys(model):
    proposal = look({"decay": matrices(model), "no_decay": rest(model)}, model)
    assert [g.half for g in only(proposal).groups] == [None, None]
    assert "say nothing" in proposal.notes[0]


# --- recognition by keys and by shape of the constructor


@pytest.mark.parametrize(
    ("options", "profile"),
    [
        ({"use_muon": True}, "keller"),
        ({"algorithm": "normuon"}, "normuon-dion"),
        ({"algorithm": "adamw"}, "dion-muon"),
        ({"use_fallback": True}, "timm"),
        ({"norm": "Spectral"}, "scion"),
        ({"lr": 1.0}, None),
    ],
)
def test_groups_without_an_optimizer(model, options, profile):
    proposal = look([{"params": matrices(model), **options}, {"params": rest(model)}], model)
    assert (only(proposal).profile, only(proposal).assumed) == (profile, profile is not None)
    assert len(proposal.notes) == (profile is not None)


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        ("adamw", "'adamw'"),
        (3, "3 (int)"),
        (["body.0.weight"], "a list of 1 str"),
        (nn.Linear(2, 2), "a model (Linear)"),
        (nn.Parameter(torch.zeros(2)), "one Parameter of shape (2,)"),
        ({"lr": 3}, "a dict with keys 'lr'"),
        ([[], [], []], "a list of 3 list"),
        ([{"lr": 3}], "a list of 1 dict"),
    ],
)
def test_what_is_not_understood(model, obj, text):
    with pytest.raises(ParamlintError) as caught:
        look(obj, model)
    assert text in caught.value.message and "configure_optimizers" in caught.value.hint


def test_a_group_with_something_else_in_it(model):
    with pytest.raises(ParamlintError, match="group 0 holds 1 list"):
        look([{"params": [matrices(model)]}], model)


# --- any partition, in any form


WRAPS = [list, tuple, set, lambda ps: (p for p in ps), lambda ps: iter(ps), lambda ps: dict(enumerate(ps)).values()]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_the_partition_comes_back_by_name(data):
    model = small_model()
    order = list(model.named_parameters())
    count = data.draw(st.integers(1, 4))
    where = data.draw(st.lists(st.integers(0, count - 1), min_size=len(order), max_size=len(order)))
    named = data.draw(st.booleans())
    wraps = data.draw(st.lists(st.sampled_from(WRAPS), min_size=count, max_size=count))

    def build():
        entries = [
            [(n, p) if named else p for (n, p), w in zip(order, where, strict=True) if w == i] for i in range(count)
        ]
        return [{"params": w(e), "lr": float(i)} for i, (w, e) in enumerate(zip(wraps, entries, strict=True))]

    expected = [{n for (n, _), w in zip(order, where, strict=True) if w == i} for i in range(count)]
    form = data.draw(st.sampled_from(["listed", "generator", "function", "optimizer"]))
    if form == "optimizer":
        # torch refuses an empty group beside named ones, and sets
        obj = AdamW([{**g, "params": [p[1] if named else p for p in g["params"]]} for g in build()])
    else:
        obj = {"listed": build, "generator": lambda: iter(build()), "function": lambda: lambda: AdamW(build())}[form]()
    (use,) = read(obj, model, inventory(model), {}).optimizers
    assert [{m.name for m in g.members} for g in use.groups] == expected
    assert [g.options["lr"] for g in use.groups] == [float(i) for i in range(count)]
    assert sum(len(g.members) for g in use.groups) == len(order)
