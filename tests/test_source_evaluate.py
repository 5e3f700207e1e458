"""What a script's terms come to over the modules and parameters of a known model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from source_terms import (
    MODEL,
    UNREAD,
    each,
    evaluator,
    id_of,
    inventory,
    is_a,
    op,
    path,
    value_of,
)

import paramlint
from examples import gpt, moe, vit
from paramlint.parameter import Inventory, Module, Parameter
from paramlint.source.evaluate import Turn
from paramlint.source.terms import (
    Attribute,
    Const,
    Item,
    Member,
    Op,
    Opaque,
    Root,
    Term,
)
from paramlint.source.tree import Tree
from paramlint.source.values import UNKNOWN, Node

# The tree


@pytest.mark.parametrize("name", ["gpt", "moe", "vit"])
def test_walks_are_those_of_torch(name: str) -> None:
    with torch.device("meta"):
        model = {"gpt": gpt, "moe": moe, "vit": vit}[name].build()
    tree = Tree(paramlint.inspect(model, trace=False))
    for path_, module in model.named_modules():
        node = Node(path_)
        for recurse in (True, False):
            got = [(n, tuple(p.shape)) for n, p in tree.named_parameters(node, recurse)]
            assert got == [(n, tuple(p.shape)) for n, p in module.named_parameters(recurse=recurse)]
        assert [n for n, _ in tree.named_modules(node)] == [n for n, _ in module.named_modules()]
        assert [n for n, _ in tree.named_children(node)] == [n for n, _ in module.named_children()]


def test_attributes_lead_to_modules_parameters_and_sizes() -> None:
    ev = evaluator()
    head, embedding = ev.value(path("model.lm_head.weight")), ev.value(path("model.wte.weight"))
    assert isinstance(head, Parameter) and head is embedding
    assert ev.value(path("model.h.-1.attn.q.bias")).name == "h.1.attn.q.bias"
    assert ev.value(path("model.lm_head.bias")) is None
    assert ev.value(path("model.lm_head.in_features")) == 64
    assert ev.value(path("model.h.7.attn")) is UNKNOWN
    assert ev.value(path("model.nothing")) is UNKNOWN
    assert ev.value(Op("call:hasattr", (path("model.wte"), Const("bias")))) is False
    assert ev.value(Op("call:hasattr", (MODEL, Const("tied")))) is UNKNOWN
    assert ev.value(Op("call:len", (path("model.h"),))) == 2
    first = Op("getitem", (path("model.h"), Op("call:slice", (Const(None), Const(1), Const(None)))))
    assert ev.value(first) == (Node("h.0"),)


def test_classes_are_known_by_their_last_name_and_bases() -> None:
    tree = Tree(
        Inventory(
            "m.Net",
            (),
            (
                Module("", ("m.Net",)),
                Module("conv", ("torch.nn.modules.conv.Conv2d", "torch.nn.modules.conv._ConvNd")),
                Module("mine", ("m.Linear",)),
                Module("scaled", ("m.Scaled", "torch.nn.modules.sparse.Embedding")),
            ),
        )
    )
    assert tree.is_instance(Node("conv"), "torch.nn.Conv2d") is True
    assert tree.is_instance(Node("conv"), "torch.nn.modules.conv._ConvNd") is True
    assert tree.is_instance(Node("conv"), "torch.nn.Module") is True
    assert tree.is_instance(Node("conv"), "torch.nn.Linear") is False
    assert tree.is_instance(Node("scaled"), "torch.nn.Embedding") is True
    assert tree.is_instance(Node("mine"), "torch.nn.Linear") is False  # one's own, of the same name
    assert tree.is_instance(Node("mine"), "layers.Linear") is True  # imported another way
    assert tree.is_instance(Node("conv"), "layers.Conv2d") is UNKNOWN  # may pass torch's on


def test_without_classes_isinstance_is_not_known() -> None:
    bare = replace(inventory("gpt"), modules=())
    tree = Tree(bare)
    assert [n for n, _ in tree.named_parameters(Node("h.1"))][:2] == ["ln_1.weight", "ln_1.bias"]
    assert tree.is_instance(Node("wte"), "torch.nn.Embedding") is UNKNOWN
    assert [n for n, _ in tree.elements(Node("h"))] == ["0", "1"]


# Values


@pytest.mark.parametrize(
    ("term", "value"),
    [
        (op("getitem", op("method:split", "h.0.attn", "."), -2), "0"),
        (op("method:startswith", "h.0", ("h.", "g.")), True),
        (op("call:int", op("getitem", op("method:split", "h.11.w", "."), 1)), 11),
        (op("method:group", op("call:re.search", r"h\.(\d+)\.", "x.h.12.w"), 1), "12"),
        (op("is", op("call:re.match", "a", "b"), None), True),
        (op("call:fnmatch.fnmatch", "h.0.attn", "h.*.attn"), True),
        (op("concat", "h.", 3, ".w"), "h.3.w"),
        (op("method:join", ".", op("getitem", op("method:split", "a.b.c", "."), op("call:slice", 0, 2, None))), "a.b"),
        (op("call:max", op("tuple", 1, 3, 2)), 3),
        (op("%", 7, 4), 3),
        (op("if", op("<", 1, 2), "a", "b"), "a"),
        (op("or", "", "b"), "b"),
        (op("in", "b", op("tuple", "a", UNREAD, "b")), True),
        (op("and", UNREAD, False), False),
        (op("or", UNREAD, True), True),
        (op("if", UNREAD, "same", "same"), "same"),
        (op("call:any", op("tuple", UNREAD, True)), True),
        (op("call:len", op("tuple", UNREAD, UNREAD)), 2),
        (op("==", op("attr:dtype", path("model.wte.weight")), Opaque("torch.float")), True),
        (op("attr:shape", path("model.wpe.weight")), (16, 64)),
        (op("method:size", path("model.wpe.weight"), -1), 64),
        (op("method:numel", path("model.ln_f.bias")), 64),
        (op("attr:__name__", op("call:type", path("model.ln_f"))), "LayerNorm"),
        (op("call:len", op("method:parameters", path("model.ln_f"))), 2),
        (op("==", id_of(path("model.lm_head.weight")), id_of(path("model.wte.weight"))), True),
        (op("is", path("model.lm_head.weight"), path("model.wpe.weight")), False),
        (op("call:getattr", path("model.wte"), "bias", "none"), "none"),
    ],
)
def test_values(term: Term, value: object) -> None:
    assert evaluator().value(term) == value


@pytest.mark.parametrize(
    "term",
    [
        UNREAD,
        op("and", UNREAD, True),
        op("not", UNREAD),
        op("if", UNREAD, "a", "b"),
        op("in", "c", op("tuple", "a", UNREAD)),
        op("getitem", op("method:split", "h.0", "."), 7),
        op("call:int", "h"),
        op("call:re.search", "(a+)+b", "aaaa"),
        op("call:re.search", "(", "aaaa"),
        op("*", "x", 10**9),
        op("**", 10, 10**9),
        op("call:range", 10**9),
        op("call:open", "train.py"),
        op("method:format_map", "{a}", 1),
        op("<", None, 1),
        op("==", path("model.wte.weight"), path("model.wte.weight")),
        op("concat", "a", UNREAD),
        op("attr:grad", path("model.wte.weight")),
        Root("teacher"),
        Opaque("f(x)", (Const(1),)),
    ],
)
def test_what_is_not_known_or_fails_is_unknown(term: Term) -> None:
    assert evaluator().value(term) is UNKNOWN


def test_settings_that_are_given_are_known() -> None:
    ev = evaluator(**{"args.unread": 3, "cfg['lr']": 0.1})
    assert ev.value(op("+", UNREAD, 1)) == 4
    assert ev.value(op("getitem", Opaque("cfg"), "lr")) == 0.1
    assert ev.value(Attribute(Opaque("args"), "unread")) == 3


def test_membership_is_by_identity_and_unknown_where_a_member_is() -> None:
    heads = Item(id_of(path("model.lm_head.weight")))
    b = each(kind="module")
    norms = Item(id_of(Attribute(value_of(b), "weight")), (b,), is_a(b, "torch.nn.LayerNorm"))
    ev, p = evaluator(), each()

    def inside(name: str, *items: Item) -> object:
        known = inventory("gpt").find(name)
        return ev.value(Member(id_of(value_of(p)), items), {p: Turn(name, known)})

    assert inside("wte.weight", heads) is True
    assert inside("wpe.weight", heads) is False
    assert inside("h.1.ln_2.weight", heads, norms) is True
    assert inside("h.1.ln_2.bias", norms) is False
    lost = Item(id_of(Attribute(path("model.h.0"), "somewhere")))
    assert inside("h.0.attn.q.weight", lost) is UNKNOWN  # a property of that block may give it
    assert inside("h.1.attn.q.weight", lost) is False
    assert inside("wte.weight", Item(id_of(Opaque("head")))) is UNKNOWN
    assert inside("wte.weight", replace(heads, when=UNREAD)) is UNKNOWN
    assert inside("wte.weight", heads, replace(heads, when=UNREAD)) is True
