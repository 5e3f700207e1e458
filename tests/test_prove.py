"""Groups read from a script: proved to be a partition for any model, or shown to be none."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramlint.source.prove import Way, branches, partition
from paramlint.source.script import SymbolicGroup
from paramlint.source.strings import StringTest, is_name, shortest
from paramlint.source.terms import (
    TRUE,
    Attribute,
    Binder,
    Const,
    Item,
    Member,
    Op,
    Opaque,
    Root,
    Var,
    both,
    either,
    negated,
    small,
)
from paramlint.source.witness import Witness, describe, reason

MODEL = Root("model")
LOOP = Binder(1, "parameter", MODEL)
P, N = Var(LOOP, "value"), Var(LOOP, "name")
NDIM, TRAINED = Op("attr:ndim", (P,)), Op("attr:requires_grad", (P,))
LOWER = Op("method:lower", (N,))


def has(needle, name=N):
    return Op("in", (Const(needle), name))


def below(k, of=NDIM):
    return Op("<", (of, Const(k)))


def at_least(k):
    return Op("<=", (Const(k), NDIM))


def dims(k):
    return Op("==", (NDIM, Const(k)))


def starts(text, name=N):
    return Op("method:startswith", (name, Const(text)))


def ends(text, name=N):
    return Op("method:endswith", (name, Const(text)))


def no(term):
    return negated(term)


def at(*names, of=MODEL):
    for name in names:
        of = Attribute(of, name)
    return of


def taking(*conditions, value=P, binders=(LOOP,), when=TRUE, **more):
    """A group filled by one loop, with an `append` under each of the conditions."""
    return SymbolicGroup(tuple(Item(value, binders, c) for c in conditions), when=when, **more)


def chain(*tests, otherwise=True):
    """Groups of an if/elif chain, with an `else` or without."""
    groups, before = [], TRUE
    for test in tests:
        groups.append(taking(both(before, test)))
        before = both(before, no(test))
    return [*groups, taking(before)] if otherwise else groups


def those_of(*path, when=lambda p, n: TRUE, number=5):
    """A group of `model.some.module.named_parameters()`."""
    b = Binder(number, "parameter", at(*path))
    value, name = Var(b, "value"), Var(b, "name")
    return taking(when(value, name), value=value, binders=(b,))


def explicit(*path):
    return taking(TRUE, value=at(*path), binders=())


def verdict(*groups, assuming=TRUE):
    (one,) = partition(groups, assuming)
    return one


def states(v):
    return v.covered.state, v.disjoint.state


def ids_of(*path):
    """`{id(p) for p in model.some.module.parameters()}`."""
    b = Binder(9, "parameter", at(*path))
    return (Item(Op("call:id", (Var(b, "value"),)), (b,)),)


PARTITIONS = {
    "everything": [taking(TRUE)],
    "an if with an else": chain(both(dims(2), no(has("embed")))),
    "a chain with an else": chain(has("embed"), either(has("lm_head"), has("head")), at_least(2)),
    "a complement by De Morgan": [
        taking(both(at_least(2), no(has("lm_head")), no(has("embed")))),
        taking(either(has("embed"), below(2), has("lm_head"))),
    ],
    "dimensions": [taking(below(2)), taking(dims(2)), taking(Op("<", (Const(2), NDIM)))],
    "dimensions of a list": [
        taking(Op("in", (NDIM, Const((2, 3))))),
        taking(either(below(2), Op("<=", (Const(4), NDIM)))),
    ],
    "endings of a tuple": [
        taking(Op("method:endswith", (N, Const((".bias", ".gain"))))),
        taking(both(no(ends(".bias")), no(ends(".gain")))),
    ],
    "needles in needles": [
        taking(has("lm_head")),
        taking(both(has("head"), no(has("lm_head")))),
        taking(no(has("head"))),
    ],
    "a name that has the start": [
        taking(starts("lm_head.")),
        taking(both(no(starts("lm_head.")), no(Op("==", (N, Const("lm_head.weight")))))),
    ],
    "lower case": [
        taking(has("Norm")),
        taking(both(has("norm", LOWER), no(has("Norm")))),
        taking(no(has("norm", LOWER))),
    ],
    "a capital in lower case": [taking(has("Norm", LOWER)), taking(TRUE)],
    "the last part": [
        taking(Op("==", (Op("getitem", (Op("method:split", (N, Const("."))), Const(-1))), Const("bias")))),
        taking(both(no(ends(".bias")), no(Op("==", (N, Const("bias")))))),
    ],
    "sizes": [
        taking(both(at_least(2), below(10_000, Op("method:numel", (P,))))),
        taking(both(at_least(2), Op("<=", (Const(10_000), Op("method:numel", (P,)))))),
        taking(below(2)),
    ],
    "what cannot be read, and all else": chain(Opaque("cfg.matches(n)", (N,))),
    "a regular expression, and all else": chain(Op("call:re.search", (Const(r"layers\.\d+"), N))),
    "a set of names": [
        taking(Member(N, (Item(N, (LOOP,), dims(2)),))),
        taking(no(dims(2))),
    ],
    "a submodule, and what is not in it": [those_of("h"), taking(no(Member(Op("call:id", (P,)), ids_of("h"))))],
    "a parameter, and all but it": [
        explicit("lm_head", "weight"),
        taking(no(Op("is", (P, at("lm_head", "weight"))))),
    ],
    "a part of what is left out": [
        those_of("head", "norm"),
        taking(both(no(Member(P, those_of("head").items)))),
        those_of("head", when=lambda p, n: no(Member(p, those_of("head", "norm").items))),
    ],
    "two submodules, and what is in neither": [
        those_of("head"),
        those_of("neck", number=6),
        taking(both(no(Member(P, those_of("head").items)), no(Member(P, those_of("neck").items)))),
    ],
    "a submodule, a parameter, and the rest": [
        those_of("head"),
        explicit("pos_embed"),
        taking(both(no(Member(P, those_of("head").items)), no(Op("is", (P, at("pos_embed")))))),
    ],
}


@pytest.mark.parametrize("what", PARTITIONS)
def test_partitions_are_proved(what):
    assert states(verdict(*PARTITIONS[what])) == ("proved", "proved")


def test_only_what_is_trained_is_asked_for():
    v = verdict(taking(both(TRAINED, at_least(2))), taking(both(TRAINED, below(2))))
    assert states(v) == ("proved", "proved") and v.frozen_covered.state == "refuted"
    assert not v.frozen_covered.witness.requires_grad
    assert describe(v.frozen_covered.witness) == "a frozen 2-D parameter, say `blocks.0.weight`"


CERTAIN_HOLES = {
    "three dimensions": ([taking(dims(2)), taking(below(2))], 3),
    "vectors": (chain(has("embed"), has("head"), dims(2), otherwise=False), 1),
    "matrices": (chain(has("embed"), below(2), otherwise=False), 2),
    "vectors, and the head by its name": ([taking(at_least(2)), taking(both(below(2), has("head")))], 1),
    "other letters": (chain(both(has("weight"), dims(2)), below(2), otherwise=False), 2),
    "volumes that are spoken of": (chain(below(5), Op("<", (Const(5), NDIM)), otherwise=False), 5),
}


@pytest.mark.parametrize("what", CERTAIN_HOLES)
def test_holes_that_any_model_shows_are_certain(what):
    groups, ndim = CERTAIN_HOLES[what]
    covered = verdict(*groups).covered
    assert covered.state == "refuted"
    if what == "other letters":  # matrices are chosen by a name that most have
        assert covered.witness.ndim == 3 and covered.certain
    else:
        assert covered.certain and covered.witness.ndim == ndim
    assert covered.witness.groups == ()


UNSURE_HOLES = {
    "a list of names": [taking(has("attn")), taking(has("mlp"))],
    "adapters": [taking(has("lora_A")), taking(both(dims(1), no(has("lora_A"))))],
    "norms by name": chain(has("norm"), Op("<=", (Const(2), NDIM)), otherwise=False),
    "biases by name": chain(ends("bias"), at_least(2), otherwise=False),
    "scalars": [taking(at_least(2)), taking(dims(1))],
    "volumes": [taking(dims(4)), taking(below(4))],
    "matrices of a submodule": [
        those_of("h", when=lambda p, n: Op("==", (Op("attr:ndim", (p,)), Const(2)))),
        taking(has("embed")),
    ],
    "a vector of one name": [taking(either(at_least(2), no(has("embed"))))],
    "a setting": chain(at_least(2), Opaque("args.train_vectors"), otherwise=False),
}


@pytest.mark.parametrize("what", UNSURE_HOLES)
def test_holes_that_a_model_may_not_show_are_not_certain(what):
    covered = verdict(*UNSURE_HOLES[what]).covered
    assert covered.state == "refuted" and not covered.certain


def test_a_hole_says_under_which_settings():
    muon = Op("==", (Opaque("args.opt"), Const("muon")))
    groups = [taking(dims(2), when=muon), taking(below(2), when=muon), taking(TRUE, when=no(muon))]
    covered = verdict(*groups).covered
    assert covered.state == "refuted" and not covered.certain
    assert describe(covered.witness) == "a 3-D parameter, say `blocks.0.weight`, where `args.opt` is muon"
    one, other = (verdict(*groups, assuming=way) for way in (muon, no(muon)))
    assert one.covered.certain and one.covered.witness.ndim == 3
    assert states(other) == ("proved", "proved")


def test_settings_exclude_each_other():
    a, b = (Op("==", (Opaque("args.opt"), Const(name))) for name in ("muon", "adamw"))
    v = verdict(taking(dims(2), when=a), taking(no(dims(2)), when=a), taking(TRUE, when=b))
    assert states(v) == ("proved", "proved")  # where neither is chosen, nothing is made
    assert branches([a, b, a]) == (Way(both(a, no(b))), Way(both(no(a), b)))
    plain = Opaque("args.fused")
    assert branches([plain, no(plain)]) == (Way(plain), Way(no(plain)))
    assert branches([TRUE, a]) == (Way(a), Way(no(a), full=False))  # one optimizer, and another for some settings


def test_overlaps():
    nested = verdict(taking(both(no(has("head")))), taking(has("lm_head")), taking(has("head"))).disjoint
    assert nested.state == "refuted" and nested.certain
    assert nested.witness.name == "lm_head.weight" and nested.witness.groups == (1, 2)
    assert nested.witness.items == ((1, 0), (2, 0))
    plain = verdict(taking(at_least(2)), taking(below(3))).disjoint
    assert plain.certain and plain.witness.ndim == 2 and "blocks" in plain.witness.name
    vector = verdict(taking(has("embed")), taking(both(below(2))), taking(both(at_least(2), no(has("embed"))))).disjoint
    assert vector.state == "refuted" and not vector.certain  # embeddings are no vectors
    two = verdict(taking(has("head")), taking(has("attn"))).disjoint
    assert two.state == "refuted" and not two.certain
    assert "head" in two.witness.name and "attn" in two.witness.name
    frozen = verdict(taking(TRAINED), taking(either(no(TRAINED), both(TRAINED, has("zz"), has("qq"))))).disjoint
    assert frozen.state == "refuted" and not frozen.certain


def test_twice_in_one_list():
    v = verdict(taking(at_least(2), has("bias")))
    assert v.disjoint.state == "proved" and v.once.state == "refuted"
    assert v.once.witness.items == ((0, 0), (0, 1)) and v.once.witness.groups == (0,)
    assert verdict(taking(at_least(2), has("bias"), container="set")).once.state == "proved"


def test_what_hangs_on_the_model_is_unknown():
    head = explicit("lm_head", "weight")
    skipping = both(at_least(2), no(Op("is", (P, at("lm_head", "weight")))))
    v = verdict(taking(skipping), taking(below(2)), head)
    assert v.covered.state == "proved"
    assert v.disjoint.state == "unknown" and v.disjoint.reasons == ("depends on the model: model.lm_head.weight",)
    listed = verdict(those_of("h", when=lambda p, n: dims(2)), head, explicit("wte", "weight"))
    assert listed.covered.state == listed.disjoint.state == "unknown"
    assert "depends on the model: model.h" in listed.covered.reasons
    tied = ("depends on the model: model.lm_head.weight", "depends on the model: model.wte.weight")
    assert verdict(those_of("h"), head, explicit("wte", "weight")).disjoint.reasons == tied


def test_what_hangs_on_other_parameters_is_named():
    """`[p for p in rest if p.shape in {q.shape for q in matrices}]`: p is no answer to what that depends on."""
    other = Binder(2, "parameter", MODEL)
    shape, theirs = Op("attr:shape", (P,)), Op("attr:shape", (Var(other, "value"),))
    matrices = Op("==", (Op("attr:ndim", (Var(other, "value"),)), Const(2)))
    same = both(matrices, Op("==", (shape, theirs)))
    v = verdict(taking(both(no(has("bias")), same), binders=(other, LOOP)), taking(has("bias")))
    assert v.covered.reasons == ("depends on the model: p.shape == q.shape",)
    assert v.disjoint.state == "proved"  # what it asks of the parameter itself is known


def test_witnesses_of_likely_shapes():
    """Biases have one dimension, where the groups allow it."""
    assert verdict(taking(starts("lm_head")), taking(ends("bias"))).disjoint.witness.ndim == 1
    assert verdict(taking(starts("lm_head")), taking(both(ends("bias"), at_least(2)))).disjoint.witness.ndim == 2


def test_what_is_taken_whole_is_taken_twice():
    again = verdict(taking(TRUE), explicit("lm_head", "weight")).disjoint
    assert again.certain and again.witness.name == "lm_head.weight"
    tensor = verdict(taking(TRUE), explicit("log_alpha")).disjoint
    assert tensor.state == "refuted" and tensor.witness.name == "log_alpha" and not tensor.certain
    below_it = verdict(those_of("h"), those_of("h", "0", "mlp", number=6)).disjoint
    assert below_it.certain and below_it.witness.name.startswith("h.0.mlp.")
    other = verdict(those_of("h"), those_of("h2", number=6)).disjoint
    assert other.state == "proved"


def test_names_in_a_submodule_are_its_own():
    split = verdict(
        those_of("h", when=lambda p, n: ends("bias", n)),
        those_of("h", when=lambda p, n: no(ends("bias", n)), number=6),
        taking(no(Member(P, those_of("h").items))),
    )
    assert states(split) == ("proved", "proved")


def test_a_walk_over_modules():
    m = Binder(1, "module", MODEL)
    b = Binder(2, "parameter", Var(m, "value"), recurse=False)
    norm = Op("isinstance", (Var(m, "value"), Const("torch.nn.LayerNorm")))
    value, name = Var(b, "value"), Var(b, "name")
    bias = Op("==", (name, Const("bias")))
    walk = {"value": value, "binders": (m, b)}
    v = verdict(taking(either(norm, bias), **walk), taking(both(no(norm), no(bias)), **walk))
    assert v.covered.state == "proved"
    assert v.disjoint.state == "unknown" and v.disjoint.reasons == ("a weight with two names is met twice",)
    left = verdict(taking(norm, **walk), taking(both(no(norm), at_least(2)), value=value, binders=(m, b)))
    assert left.covered.state == "unknown"
    full = Op("if", (Var(m, "name"), Op("concat", (Var(m, "name"), Const("."), name)), name))
    names = (Item(full, (m, b), bias),)
    assert (
        states(verdict(taking(Member(N, names)), taking(no(ends(".bias")), taking(TRUE).items[0].when)))[0] == "proved"
    )


def test_each_model_is_its_own():
    other = Root("critic")
    b = Binder(7, "parameter", other)
    ndim = Op("attr:ndim", (Var(b, "value"),))
    groups = [
        taking(TRUE),
        taking(below(2, ndim), value=Var(b, "value"), binders=(b,)),
        taking(Op("==", (ndim, Const(2))), value=Var(b, "value"), binders=(b,)),
    ]
    first, second = partition(groups)
    assert (first.root, states(first)) == (MODEL, ("proved", "proved"))
    assert (second.root, states(second)) == (other, ("refuted", "proved"))
    assert second.covered.certain and second.covered.witness.ndim == 3


def test_what_was_not_read_is_unknown():
    (v,) = partition([SymbolicGroup((), unread=("build(x)",))])
    assert v.root is None and states(v) == ("unknown", "unknown") and v.covered.reasons == ("not read: build(x)",)
    part = verdict(taking(dims(2)), SymbolicGroup((), unread=("build(x)",)))
    assert states(part) == ("unknown", "unknown")
    item = Item(Opaque("rest(model)", (MODEL,)))
    assert verdict(taking(dims(2)), SymbolicGroup((item,))).covered.reasons == ("not read: rest(model)",)
    assert states(verdict(taking(TRUE), SymbolicGroup((), unread=("x",)))) == ("proved", "unknown")
    assert partition([]) == ()


def test_long_chains_are_proved():
    assert states(verdict(*chain(*(has(f"layers.{i}.") for i in range(40))))) == ("proved", "proved")


def test_very_many_cases_are_given_up():
    """That seven do not fit into six holes has no short proof by cases."""
    fits = [[has(f"<{i}{j}>") for j in range(6)] for i in range(7)]
    alone = [no(both(a[j], b[j])) for a, b in combinations(fits, 2) for j in range(6)]
    covered = verdict(taking(no(both(*(either(*row) for row in fits), *alone)))).covered
    assert covered.state == "unknown" and covered.reasons == ("too many cases",)
    parity = has("<0>")
    for i in range(1, 13):
        parity = either(both(parity, no(has(f"<{i}>"))), both(no(parity), has(f"<{i}>")))
    assert states(verdict(taking(parity))) == ("unknown", "unknown")


def test_words_of_a_witness():
    assert describe(Witness("w", 8)) == "an 8-D parameter, say `w`"
    assert describe(Witness("w", 0, False)) == "a frozen 0-D parameter, say `w`"
    on, off = (Opaque("args.muon"), True), (Opaque("found after the loop"), False)
    assert describe(Witness("w", 1, settings=(on,))) == "a 1-D parameter, say `w`, where `args.muon` is true"
    assert describe(Witness("w", 1, settings=(on, off), told=(off,))).endswith("where `found` is false after the loop")
    tried = (Opaque("line 17 fails"), False)
    assert describe(Witness("w", 1, settings=(tried,))) == "a 1-D parameter, say `w`, where line 17 does not fail"


def test_words_of_what_is_not_known():
    assert reason(Op("relative", (N, Const("h")))) == "depends on the model: names in model.h"
    nothing = Binder(3, "parameter", Const(None))  # `model = None` in some branch
    taken = Member(P, (Item(Var(nothing, "value"), (nothing,)),))
    assert reason(taken) == "not read: whose parameters are taken"
    assert reason(small(both(*(has(str(k)) for k in range(99))))) == "not read: what is too long to follow"


# Any groups at all, against plain Python on real strings.

NEEDLES = ("a", "ab", "b", "Ab", "a.b", ".b", "head", "lm_head", "x.a")
PARTS = ("a", "ab", "b", "Ab", "lm_head", "x")
NAMES = [".".join(parts) for length in (1, 2) for parts in product(PARTS, repeat=length)]
ALL = [(name, ndim, trained) for name in NAMES for ndim in range(5) for trained in (True, False)]

STRINGS = st.tuples(st.sampled_from(("in", "starts", "ends", "eq")), st.sampled_from(NEEDLES), st.booleans())
DIMS = st.tuples(st.sampled_from(("lt", "le", "dims")), st.integers(0, 4))
ATOMS = st.one_of(STRINGS, STRINGS, DIMS, st.just(("trained",)))
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(("and", "or")), inner, inner), st.tuples(st.just("not"), inner)
    ),
    max_leaves=6,
)  # fmt: skip


def term_of(tree):
    match tree:
        case ("and" | "or" as op, a, b):
            return (both if op == "and" else either)(term_of(a), term_of(b))
        case ("not", a):
            return negated(term_of(a))
        case ("trained",):
            return TRAINED
        case ("lt" | "le", k):
            return Op("<" if tree[0] == "lt" else "<=", (NDIM, Const(k)))
        case ("dims", k):
            return dims(k)
        case (kind, needle, lowered):
            name = LOWER if lowered else N
            made = {"in": has, "starts": starts, "ends": ends}
            return made[kind](needle, name) if kind in made else Op("==", (name, Const(needle)))


SIGNS = {"lt": "<", "le": "<=", "dims": "=="}


def source_of(tree):
    """The condition as a script would have it."""
    match tree:
        case ("and" | "or" as op, a, b):
            return f"({source_of(a)} {op} {source_of(b)})"
        case ("not", a):
            return f"(not {source_of(a)})"
        case ("trained",):
            return "trained"
        case ("lt" | "le" | "dims" as op, k):
            return f"ndim {SIGNS[op]} {k}"
        case (kind, needle, lowered):
            text = "name.lower()" if lowered else "name"
            if kind in ("starts", "ends"):
                return f"{text}.{kind}with({needle!r})"
            return f"{needle!r} in {text}" if kind == "in" else f"{text} == {needle!r}"


def python(tree):
    return eval(f"lambda name, ndim, trained: {source_of(tree)}")


def somewhere_likely(trees):
    """Half of the time the last group takes what the others leave, so that proofs are drawn as well."""
    union = trees[0]
    for tree in trees[1:]:
        union = ("or", union, tree)
    return [*trees, ("not", union)]


DRAWS = st.one_of(
    st.lists(TREES, min_size=2, max_size=4), st.lists(TREES, min_size=1, max_size=3).map(somewhere_likely)
)


@settings(max_examples=1000, deadline=None)
@given(DRAWS)
def test_verdicts_are_those_of_plain_python(trees):
    if not any(term_of(tree) != Const(False) for tree in trees):
        return
    v = verdict(*(taking(term_of(tree)) for tree in trees))
    tests = [python(tree) for tree in trees]
    taken = {one: [i for i, test in enumerate(tests) if test(*one)] for one in ALL}
    holes = {trained: any(not by and one[2] is trained for one, by in taken.items()) for trained in (True, False)}
    for answer, bad in (
        (v.covered, holes[True]),
        (v.frozen_covered, holes[False]),
        (v.disjoint, any(len(by) > 1 for by in taken.values())),
    ):
        assert answer.state != "unknown"
        if bad:
            assert answer.state == "refuted"
    for answer, trained in ((v.covered, True), (v.frozen_covered, False)):
        if answer.state == "refuted":
            w = answer.witness
            assert w.requires_grad is trained and is_name(w.name) and w.groups == ()
            assert not any(test(w.name, w.ndim, w.requires_grad) for test in tests)
    if v.disjoint.state == "refuted":
        w = v.disjoint.witness
        by = [i for i, test in enumerate(tests) if test(w.name, w.ndim, w.requires_grad)]
        assert is_name(w.name) and len(by) > 1 and w.groups == tuple(by)


TESTS = st.builds(
    StringTest, st.sampled_from(("contains", "startswith", "endswith", "==")), st.sampled_from(NEEDLES), st.booleans()
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(TESTS, st.booleans()), min_size=1, max_size=5))
def test_there_is_a_string_where_one_is_found_by_trying(literals):
    kinds = {"contains": "in", "startswith": "starts", "endswith": "ends", "==": "eq"}

    def plainly(test, text):
        return python((kinds[test.kind], test.needle, test.lowered))(text, 0, True)

    found = shortest(literals)
    if found is not None:
        assert is_name(found) and all(plainly(t, found) == wanted for t, wanted in literals)
    tried = [n for n in NAMES if all(plainly(t, n) == wanted for t, wanted in literals)]
    assert found is not None or not tried
    assert found is None or not tried or len(found) <= min(map(len, tried))


def test_pairs_are_those_of_the_groups():
    """Which two groups share a parameter does not hang on their order."""
    groups = [taking(dims(k)) for k in range(4)] + [taking(Op("<", (Const(2), NDIM)))]
    for order in (groups, groups[::-1]):
        w = verdict(*order).disjoint.witness
        assert w.ndim == 3 and [order[i] for i in w.groups] == [g for g in order if g in (groups[3], groups[4])]
    assert all(verdict(a, b).disjoint.state == "proved" for a, b in combinations(groups[:4], 2))
