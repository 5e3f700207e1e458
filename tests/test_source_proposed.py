"""The groups that a script makes of a known model's parameters, and what the checks say of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from source_terms import (
    ADAMW,
    KELLER,
    KNOWN,
    MODEL,
    MUON,
    build,
    codes,
    each,
    findings,
    group,
    has,
    id_of,
    inventory,
    is_a,
    makes,
    matrix,
    members,
    name_of,
    names,
    ndim,
    only,
    op,
    parameters,
    path,
    value_of,
)

import paramlint
from examples import gpt
from paramlint import checks
from paramlint.parameter import Inventory, Module, Parameter, Site
from paramlint.source.proposed import proposals
from paramlint.source.script import OptimizerClass, SymbolicGroup
from paramlint.source.terms import (
    Attribute,
    Binder,
    Const,
    Item,
    Member,
    Op,
    Opaque,
    Root,
    Term,
    both,
    either,
    negated,
)

# Groups


def test_loops_over_names_and_dimensions() -> None:
    """The blog recipe of the example: both embeddings go to Muon, as the live check says."""

    def muon(b: Binder) -> Term:
        return both(matrix(b), negated(has("embed", b)))

    def adam(b: Binder) -> Term:
        return either(negated(matrix(b)), has("embed", b))

    recipe = build(
        makes(KELLER, group(parameters(muon), use_muon=True, lr=0.02), group(parameters(adam), use_muon=False, lr=3e-4))
    )
    with torch.device("meta"):
        live_model = gpt.build(n_layer=2, n_embd=64, vocab_size=500, block_size=16)
    live = paramlint.check(live_model, gpt.blog_recipe(live_model))
    found = findings(recipe, "gpt")
    assert [(f.code, f.parameters) for f in found] == [(f.code, f.parameters) for f in live.findings]
    assert [f.code for f in found] == ["PML203", "PML205"]


def test_submodules_and_lists_of_attributes() -> None:
    groups = build(
        makes(MUON, group(parameters(matrix, path("model.h")))),
        makes(
            ADAMW,
            group(parameters(lambda b: negated(matrix(b)), path("model.h"))),
            group(Item(path("model.wte.weight")), Item(path("model.wpe.weight")), parameters(of=path("model.ln_f"))),
        ),
    )
    assert codes(groups, "gpt") == []
    head = group(Item(path("model.lm_head.weight")))
    twice = replace(groups, constructions=(*groups.constructions, makes(ADAMW, head)))
    (found,) = findings(twice, "gpt")
    assert (found.code, found.parameters) == ("PML102", ("wte.weight",))
    assert [u.label for u in only(twice, "gpt").optimizers] == ["Muon", "AdamW", "AdamW #2"]
    without = replace(groups, constructions=groups.constructions[:1])
    (missed,) = findings(without, "gpt")
    assert missed.code == "PML101" and "ln_f.weight" in missed.parameters


def test_walks_over_modules_with_isinstance() -> None:
    m = each(path("model.layers"), "module")
    linear = Item(Attribute(value_of(m), "weight"), (m,), is_a(m, "torch.nn.Linear"))
    inner = each(value_of(m), recurse=False)
    stacks = Item(value_of(inner), (m, inner), is_a(m, "examples.moe.Experts"))
    p = each()
    taken = Member(id_of(value_of(p)), (replace(linear, value=id_of(linear.value)),))
    rest = Item(value_of(p), (p,), both(negated(taken), negated(has("experts", p))))
    proposal = only(build(makes(MUON, group(linear), group(stacks)), makes(ADAMW, group(rest))), "moe")
    matrices, experts, others = members(proposal)
    assert len(matrices) == 2 * 5 and experts[:2] == ["layers.0.moe.experts.w1", "layers.0.moe.experts.w2"]
    assert len(experts) == 4 and "embed_tokens.weight" in others and "lm_head.weight" in others
    assert not proposal.unread
    assert len(matrices) + len(experts) + len(others) == len(inventory("moe").parameters)


def test_elements_of_lists_of_modules() -> None:
    block = each(path("model.h"), "element")
    p = each(Attribute(value_of(block), "attn"))
    proposal = only(build(makes(ADAMW, group(Item(value_of(p), (block, p), has("q.", p))))), "gpt")
    assert members(proposal) == [["h.0.attn.q.weight", "h.0.attn.q.bias", "h.1.attn.q.weight", "h.1.attn.q.bias"]]


def test_a_set_has_a_tensor_once_and_a_list_as_often_as_it_was_put_there() -> None:
    items = Item(path("model.wte.weight")), Item(path("model.lm_head.weight"))
    listed = build(makes(ADAMW, SymbolicGroup(items)))
    assert members(only(listed, "gpt")) == [["wte.weight", "wte.weight"]]
    assert members(only(build(makes(ADAMW, SymbolicGroup(items, container="set"))), "gpt")) == [["wte.weight"]]


def test_groups_by_a_key() -> None:
    """One group for each layer and decay, as layer-wise learning rates make them."""
    b = each(path("model.h"))
    layer = Op("call:int", (Op("getitem", (Op("method:split", (name_of(b), Const("."))), Const(0))),))
    decayed = Op("==", (ndim(b), Const(2)))
    options = {
        "lr": Op("*", (Const(0.1), Op("+", (layer, Const(1))))),
        "weight_decay": Op("if", (decayed, Const(0.01), Const(0.0))),
        "width": Op("getitem", (Op("attr:shape", (value_of(b),)), Const(0))),
    }
    keyed = SymbolicGroup((Item(value_of(b), (b,)),), options, key=Op("tuple", (layer, decayed)), family=1)
    (use,) = only(build(makes(ADAMW, keyed)), "gpt").optimizers
    assert [(g.options["lr"], g.options["weight_decay"]) for g in use.groups] == [
        (0.1, 0.0),
        (0.1, 0.01),
        (0.2, 0.0),
        (0.2, 0.01),
    ]
    assert all(g.unread == ("width",) for g in use.groups)  # another for each of them
    assert sum(len(g.members) for g in use.groups) == 2 * 16


def test_branches_of_one_family_share_their_groups() -> None:
    b = each(path("model.ln_f"))
    one = Item(value_of(b), (b,), has("weight", b))
    other = Item(value_of(b), (b,), negated(has("weight", b)))
    keyed = [SymbolicGroup((i,), key=Const("norms"), family=3) for i in (one, other)]
    assert members(only(build(makes(ADAMW, *keyed)), "gpt")) == [["ln_f.weight", "ln_f.bias"]]


def test_a_group_for_each_parameter() -> None:
    b = each()
    keyed = SymbolicGroup((Item(value_of(b), (b,)),), {"name": name_of(b)}, key=id_of(value_of(b)), family=1)
    (use,) = only(build(makes(ADAMW, keyed)), "gpt").optimizers
    assert [g.options["name"] for g in use.groups] == [p.name for p in inventory("gpt").parameters]
    assert all(len(g.members) == 1 for g in use.groups)


# Settings


def chosen(setting: str, value: str) -> Term:
    return op("==", Opaque(setting), value)


def test_settings_that_exclude_each_other_give_a_proposal_each() -> None:
    muon, adamw = (chosen("args.optimizer", name) for name in ("muon", "adamw"))
    flag = Opaque("args.decay_all")
    script = build(
        makes(MUON, group(parameters(matrix)), when=muon),
        makes(ADAMW, group(parameters(lambda b: negated(matrix(b)))), when=muon),
        makes(ADAMW, group(parameters()), when=both(negated(muon), adamw, flag)),
    )
    found = proposals(script, inventory("gpt"), KNOWN)
    assert [([u.label for u in p.optimizers], p.notes) for p in found] == [
        (["Muon", "AdamW"], ("where args.optimizer == 'muon'",)),
        (["AdamW"], ("where args.optimizer == 'adamw' and args.decay_all",)),
    ]


def test_settings_that_change_nothing_give_one_proposal_without_a_note() -> None:
    either_way = group(parameters(lambda b: either(Opaque("args.a"), negated(Opaque("args.a")))))
    assert only(build(makes(ADAMW, either_way)), "gpt").notes == ()
    tied = op("==", Opaque("args.compile"), "max")
    same = [makes(ADAMW, group(parameters()), when=t) for t in (tied, negated(tied))]
    assert len(proposals(build(*same), inventory("gpt"), KNOWN)) == 1


def test_a_setting_inside_a_test_is_one_of_the_scenarios() -> None:
    def muon(b: Binder) -> Term:
        return both(matrix(b), either(Opaque("cfg.all"), negated(has("wte", b))))

    found = proposals(build(makes(MUON, group(parameters(muon)))), inventory("gpt"), KNOWN)
    assert [p.notes for p in found] == [("where cfg.all",), ("where not cfg.all",)]
    assert [len(*members(p)) for p in found] == [14, 13]


def test_a_known_setting_leaves_no_choice() -> None:
    script = build(
        makes(MUON, group(parameters()), when=chosen("args.optimizer", "muon")),
        makes(ADAMW, group(parameters()), when=chosen("args.optimizer", "adamw")),
    )
    proposal = only(script, "gpt", settings={"args.optimizer": "adamw"})
    assert [u.label for u in proposal.optimizers] == ["AdamW"]
    assert proposal.notes == ()


def test_very_many_settings_are_not_all_tried() -> None:
    made = [makes(ADAMW, group(parameters(), lr=i), when=Opaque(f"args.use_{i}")) for i in range(12)]
    found = proposals(build(*made), inventory("gpt"), KNOWN)
    assert len(found) == 16
    assert all("the others are not looked at" in p.notes[-1] for p in found)
    assert all(f.code not in ("PML101", "PML102") for p in found for f in checks.run(inventory("gpt"), p, KNOWN))


# Unknowns


def doubt(b: Binder) -> Term:
    return Opaque("keep(p)", (value_of(b),))


UNREADABLE = {
    "a test": [makes(ADAMW, group(parameters(doubt)))],
    "a half of a test": [
        makes(
            ADAMW,
            group(parameters(lambda b: both(matrix(b), doubt(b)))),
            group(parameters(lambda b: negated(matrix(b)))),
        )
    ],
    "a source": [makes(ADAMW, group(parameters(of=Opaque("find(model)"))))],
    "an element": [makes(ADAMW, group(Item(Opaque("head.weight")), parameters(matrix)))],
    "a group": [makes(ADAMW, SymbolicGroup((parameters(matrix),), unread=("extend",)))],
    "all groups": [replace(makes(ADAMW, group(parameters(matrix))), unread=("**kwargs",))],
    "a key": [
        makes(
            ADAMW,
            SymbolicGroup((Item(value_of(b), (b,)),), key=doubt(b), family=1) if (b := each()) else group(),
        )
    ],
    "whether there is an optimizer": [
        makes(ADAMW, group(parameters(matrix))),
        makes(ADAMW, group(parameters()), when=op("==", Opaque("size", (MODEL,)), Opaque("args.size", (MODEL,)))),
    ],
    "an attribute": [
        makes(ADAMW, group(parameters(of=path("model.transformer.h"))), group(Item(path("model.wte.weight"))))
    ],
    "a container's class": [
        makes(ADAMW, group(Item(Attribute(value_of(e), "weight"), (e,)) if (e := each(MODEL, "element")) else None))
    ],
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_not_known_makes_no_finding(what: str) -> None:
    script = build(*UNREADABLE[what])
    for proposal in proposals(script, inventory("gpt"), KNOWN):
        assert proposal.unread or "PML101" not in [f.code for f in checks.run(inventory("gpt"), proposal, KNOWN)]
        assert [f for f in checks.run(inventory("gpt"), proposal, KNOWN) if f.code != "PML516"] == []


def test_an_unknown_attribute_is_one_of_its_own_module_s() -> None:
    """What `model.h[0].special` is cannot be told, but ln_f is not in it: it is missed for certain."""
    lost = Item(Attribute(path("model.h.0"), "special"))
    rest = parameters(lambda b: negated(names(b, "h.0.", "ln_f")))
    (found,) = findings(build(makes(ADAMW, group(lost, rest))), "gpt")
    assert (found.code, found.parameters) == ("PML101", ("ln_f.weight", "ln_f.bias"))


def test_flags_and_options_that_are_not_known() -> None:
    recipe = build(
        makes(
            KELLER,
            group(parameters(matrix), use_muon=Opaque("args.muon"), lr=Opaque("args.lr")),
            group(parameters(lambda b: negated(matrix(b))), use_muon=False),
        )
    )
    (use,) = only(recipe, "gpt").optimizers
    assert use.groups[0].unread == ("use_muon", "lr")
    assert codes(recipe, "gpt") == []
    missing = build(
        makes(
            KELLER, group(parameters(matrix), lr=0.1), group(parameters(lambda b: negated(matrix(b))), use_muon=False)
        )
    )
    assert "PML101" in codes(missing, "gpt")


def test_frozen_in_a_group_with_an_unknown_decay_is_no_error() -> None:
    known = inventory("gpt")
    frozen = replace(
        known, parameters=tuple(replace(p, trainable=not p.name.startswith("ln_f")) for p in known.parameters)
    )

    def severity(decay: object) -> str:
        half = group(parameters(lambda b: negated(matrix(b))), use_muon=False, weight_decay=decay)
        muon = group(parameters(lambda b: both(matrix(b), has("h.", b))), use_muon=True)
        rest = group(parameters(lambda b: names(b, "wte", "wpe")), use_muon=False)
        return next(f.severity for f in findings(build(makes(KELLER, muon, half, rest)), frozen) if f.code == "PML104")

    assert severity(0.1) == "error"
    assert severity(Opaque("args.wd")) == "warning"


def test_an_optimizer_of_an_unknown_kind_is_neither_half() -> None:
    strange = OptimizerClass("lib.Strange")
    rest = makes(strange, group(parameters(lambda b: negated(names(b, "attn.q.weight")))))
    script = build(makes(MUON, group(parameters(lambda b: names(b, "attn.q.weight")))), rest)
    assert codes(script, "gpt") == []
    adam = replace(rest, made=OptimizerClass("lib.MyAdam", kind="adam"))
    assert codes(replace(script, constructions=(script.constructions[0], adam)), "gpt") == ["PML214"]
    muon = build(makes(OptimizerClass("lib.MyMuon", kind="muon"), group(parameters())))
    assert {"PML203", "PML204"} <= set(codes(muon, "gpt"))


# Other models


def test_other_models_are_left_out() -> None:
    student = makes(MUON, group(parameters(lambda b: both(matrix(b), has("h.", b)))))
    rest = makes(ADAMW, group(parameters(lambda b: negated(both(matrix(b), has("h.", b)))), parameters(of=Root("ema"))))
    teacher = makes(ADAMW, group(parameters(of=Root("teacher"))))
    script = build(teacher, student, rest)
    proposal = only(script, "gpt")
    assert [u.label for u in proposal.optimizers] == ["Muon", "AdamW"]
    assert proposal.notes == ("parameters of other models are left out: teacher, ema",)
    assert codes(script, "gpt") == []


def test_the_model_is_the_one_whose_attributes_are_there() -> None:
    wrong = group(parameters(of=Root("model")), Item(path("model.encoder.weight")))
    right = group(parameters(of=path("lm.h")), parameters(of=path("lm.wte")), parameters(of=path("lm.wpe")))
    proposal = only(build(makes(ADAMW, wrong), makes(ADAMW, right, group(parameters(of=path("lm.ln_f"))))), "gpt")
    assert len(proposal.optimizers) == 1
    assert "model" in proposal.notes[0]


# Modules under two paths


def test_a_module_under_two_paths_is_walked_once() -> None:
    weight = Parameter(
        "a.weight", (8, 8), "float32", True, (Site("a.weight", "a", "weight"), Site("b.weight", "b", "weight"))
    )
    linear = "torch.nn.modules.linear.Linear"
    shared = Inventory("m.Net", (weight,), (Module("", ("m.Net",)), Module("a", (linear,)), Module("b", (linear,))))
    m = each(kind="module")
    walked = group(Item(Attribute(value_of(m), "weight"), (m,), is_a(m, "torch.nn.Linear")))
    assert members(only(build(makes(ADAMW, walked)), shared)) == [["a.weight"]]


# What is no fault of the groups


def test_optimizers_with_the_very_same_are_alternatives() -> None:
    again = [makes(ADAMW, group(parameters())), makes(ADAMW, group(parameters()))]
    assert codes(build(*again), "gpt") == []
    overlapping = [makes(ADAMW, group(parameters())), makes(ADAMW, group(parameters(matrix)))]
    assert codes(build(*overlapping), "gpt") == ["PML102"]


def test_a_script_that_takes_nothing_of_the_model_gives_no_proposal() -> None:
    assert proposals(build(makes(ADAMW, SymbolicGroup(()))), inventory("gpt"), KNOWN) == ()
    assert proposals(build(), inventory("gpt"), KNOWN) == ()


def test_a_check_on_the_way_to_everything_holds() -> None:
    """What is not read, but asked for before anything is built, decides nothing."""
    counted = Opaque("len(list(model.parameters()))", (MODEL,))
    agree = op("==", counted, Opaque("len(muon) + len(adam)", (MODEL,)))
    groups = [
        group(parameters(lambda b: both(agree, matrix(b)))),
        group(parameters(lambda b: both(agree, negated(matrix(b))))),
    ]
    proposal = only(build(makes(ADAMW, *groups)), "gpt")
    assert [len(m) for m in members(proposal)] == [14, 22]
    assert not proposal.unread


@pytest.mark.parametrize("text", ['name.startswith("h.")', "seen(p)", "?"])
def test_what_may_change_from_parameter_to_parameter_is_no_setting(text: str) -> None:
    half = group(parameters(lambda b: both(Opaque(text), matrix(b))), parameters(lambda b: negated(matrix(b))))
    proposal = only(build(makes(ADAMW, half)), "gpt")
    assert set(proposal.unread) == {p.name for p in inventory("gpt").parameters if p.ndim >= 2}


def test_a_script_is_looked_at_where_nothing_fails() -> None:
    fails = Opaque("line 12 fails")
    fused = makes(ADAMW, group(parameters(), fused=True), when=negated(fails))
    plain = makes(ADAMW, group(parameters()), group(parameters(matrix)), when=fails)
    (use,) = only(build(fused, plain), "gpt").optimizers
    assert use.groups[0].options == {"fused": True}


@pytest.mark.parametrize("text", ["args.split", "cfg['split']", "parse_args().split", "cfg.get('split', 1)"])
def test_what_is_looked_up_once_is_a_setting(text: str) -> None:
    made = makes(ADAMW, group(parameters()), when=Opaque(text))
    other = makes(MUON, group(parameters(matrix)), when=negated(Opaque(text)))
    notes = [p.notes for p in proposals(build(made, other), inventory("gpt"), KNOWN)]
    assert notes == [(f"where {text}",), (f"where not {text}",)]
