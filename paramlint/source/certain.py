"""How sure a counterexample is to matter: whether models nearly always have such a parameter.

A hole is certain where all of this holds, whatever the script's other settings are and however the model is built:

- a parameter with a name that no test of the script speaks of is in no group, with 1 to 4 dimensions, or with 5 where
  the script speaks of 5;
- with another number of dimensions that very parameter is in one: the script means to take those that it does not name;
- parameters with the usual names of so many dimensions are in no group either: none of them is chosen by its name;
- no test asks for a part that is trained alone, with the rest frozen (adapters);
- the script does not ask beforehand, in a way that was not read, for how many dimensions parameters have.

An overlap is certain where a parameter with such a plain name, with so many dimensions, is in both groups, or where one
string in a name puts it into both, whatever its dimensions are; and where both have what is at one path of the model,
and models that have something there have a parameter of such dimensions there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from paramlint.source.atoms import Atoms, ValueTest
from paramlint.source.likely_names import below, has_vectors, holds_layers, is_head, is_stack, is_table, may_be_empty
from paramlint.source.point import Point, named, truth, value
from paramlint.source.strings import PLAIN, StringTest, TooMany, follows, likely, shortest
from paramlint.source.terms import Const, Op, Opaque, Term, Var, binders, both, negated, parts
from paramlint.source.theory import place

_DIMENSIONS = (2, 1, 3, 4)
#: Usual names, by dimensions: norms and biases, weights of layers, kernels and stacks.
_VECTORS = (
    *("blocks.0.norm1.weight", "layers.0.input_layernorm.weight", "transformer.h.0.ln_1.weight", "bn1.weight"),
    *("encoder.layer.0.LayerNorm.weight", "model.norm.weight", "layers.0.attention_norm.weight"),
    *("blocks.0.attn.qkv.bias", "layers.0.mlp.fc1.bias"),
)
_MATRICES = (
    *("blocks.0.attn.qkv.weight", "layers.0.self_attn.q_proj.weight", "transformer.h.0.mlp.c_fc.weight"),
    *("layers.0.feed_forward.w1.weight", "encoder.layer.0.attention.self.query.weight", "net.0.weight", "fc.weight"),
    *("layers.0.linear1.weight", "blocks.0.mlp.fc1.weight"),
)
_KERNELS = ("conv1.weight", "layer1.0.conv1.weight", "features.0.weight", "layers.0.mlp.experts.gate_up_proj")
_USUAL = {1: _VECTORS, 2: _MATRICES, 3: _KERNELS, 4: _KERNELS, 5: _KERNELS}
_SHAPES = re.compile(r"\.ndim\b|\.dim\(|\.shape\b|\.size\(")
_WORD = re.compile(r"\w+")
#: Parts that are trained alone.
_ALONE = ("lora", "adapter", "dora", "ia3", "prompt", "peft")


def hole(union: Term, fixed: Term, found: Point) -> Point | None:
    """A parameter in no group for which that is certain, None where there is none.

    Args:
        union: the condition under which a parameter is in any group.
        fixed: what is assumed of settings.
        found: a parameter in no group.
    """
    atoms, missing = _atoms(found, union), both(fixed, negated(union))
    tests = [a.test for a in atoms.all if isinstance(a.test, StringTest)]
    if any(word in t.needle.lower() for t in tests for word in _ALONE) or any(map(_asks_shapes, parts(fixed))):
        return None
    dimensions = _dimensions(atoms)
    plain = _plain(atoms, _assumed(found, fixed))
    if plain is None:
        return None
    taken = {d: truth(union, replace(plain, ndim=d)) for d in dimensions}
    if any(taken.values()):
        for ndim in dimensions:
            same = [replace(plain, ndim=ndim, name=name) for name in (plain.name, *_USUAL[ndim])]
            if taken[ndim] is False and all(truth(missing, p) for p in same):
                return _named(missing, same[0], atoms)
    return None


def overlap(one: Term, other: Term, fixed: Term, found: Point) -> Point | None:
    """A parameter in both groups for which that is certain, None where there is none."""
    atoms, shared = _atoms(found, one, other), both(fixed, one, other)
    at, dimensions = _assumed(found, fixed), _dimensions(atoms)
    texts = [text for term in (one, other) for text in _texts(term)]
    plain = _plain(atoms, at)
    if plain is not None and not any(_is_called_otherwise(plain.name, path, texts) for path in _paths(atoms)):
        for point in (replace(plain, ndim=d) for d in dimensions):
            if truth(shared, point):
                return _named(shared, point, atoms)
    there = _at_a_path(one, other, shared, at, texts)
    if there is not None:
        return named(there, lambda p: bool(truth(shared, p)))
    name = Var(found.within, "name")
    tests = [a.test for a in atoms.all if a.subject == name and isinstance(a.test, StringTest)]
    for test in tests:
        # whatever else the script speaks of is not in the name, unless the one string brings it along
        rest = [(t, False) for t in tests if t != test and follows(test, t) is not True]
        for text in likely([(test, True), *rest]):
            points = [replace(at, name=text, ndim=d) for d in (*dimensions, 0)]
            if all(truth(shared, p) for p in points):
                return points[0]
            break
    return None


def _named(condition: Term, point: Point, atoms: Atoms) -> Point:
    """The parameter by a name that is likely for it, below a path that the script names where there is one."""
    names = [name for path, under in _paths(atoms).items() if under and holds_layers(path) for name in below(path)]
    return named(point, lambda p: bool(truth(condition, p)), names)


def _at_a_path(one: Term, other: Term, shared: Term, at: Point, texts: Sequence[str]) -> Point | None:
    """A parameter at a path of the model, or of a module there, that is in both groups for certain.

    Nothing is certain where a test speaks of the module by another name than the path; where a group that does not name
    the path asks for what is trained, and the other does not; of vectors where a test takes out gains or biases; and of
    a head, which may be another name of a table of words, where a test speaks of such a table.
    """
    atoms, halves = _atoms(at, one, other), [_atoms(at, term) for term in (one, other)]
    trained = Op("attr:requires_grad", (Var(at.within, "value"),))
    asking = [half for half in halves if any(a.subject == trained for a in half.all)]
    for path, under in _paths(atoms).items():
        if is_head(path) and any(map(is_table, texts)):
            continue
        twice = all(path in _paths(half) for half in halves)
        frozen = len(asking) == 1 and path not in _paths(asking[0])
        for name in below(path) if under else (path,):
            points = [replace(at, name=name, ndim=d) for d in (*_DIMENSIONS, 0)]
            if _is_called_otherwise(name, path, texts):
                continue
            if under and not _is_plain(atoms, points[0], path):
                continue
            held = [p for p in points if truth(shared, p)]
            if frozen:
                held = [p for p in held if truth(shared, replace(p, requires_grad=False))]
            gainless = any(map(has_vectors, texts)) and all(p.ndim < 2 for p in held)
            if _has_one(path, under, {p.ndim for p in held}, twice and not gainless):
                return held[0]
    return None


def _has_one(path: str, under: bool, held: set[int], twice: bool) -> bool:
    """Whether there is a parameter at a path, or below it where `under`, with one of these numbers of dimensions.

    There is one below it where any number will do, where all do but one, unless vectors are all that is there, where
    two groups name the path, and a matrix in what stacks of layers are usually called. At the path is the weight of a
    layer, which has more than one dimension, or its bias; other tensors may be no parameters.
    """
    matrices = {2, 3, 4} <= held and not has_vectors(path)
    if not under:
        layers, _, last = path.rpartition(".")
        return bool(layers) and ((last == "weight" and matrices) or (last in ("weight", "bias") and len(held) == 5))
    stacked = 2 in held and is_stack(path)
    return not may_be_empty(path) and ({1, 2, 3, 4} <= held or matrices or stacked or (twice and bool(held - {0})))


def _is_called_otherwise(name: str, path: str, texts: Iterable[str]) -> bool:
    """Whether tests of names speak of a path, but not as it is in a name there: `module.backbone`, a pattern for it."""
    last = path.rpartition(".")[2]
    below_it = name == path or name.startswith(f"{path}.")
    return below_it and any(last in _WORD.findall(text) and text not in name for text in texts)


def _texts(term: Term) -> Iterator[str]:
    """What names are tested for, and other strings; paths of the model are none."""
    for part in parts(term):
        if isinstance(part, Op) and part.op not in ("under", "relative"):
            yield from (a.value for a in part.args if isinstance(a, Const) and isinstance(a.value, str))


def _asks_shapes(term: Term) -> bool:
    """Whether a setting hangs on the dimensions of parameters: `any(p.ndim > 2 for p in model.parameters())`."""
    return isinstance(term, Opaque) and "parameters(" in term.text and bool(_SHAPES.search(term.text))


def _dimensions(atoms: Atoms) -> tuple[int, ...]:
    """Those that models have, the usual ones first; 5, which kernels over volumes have, where a test names it."""
    ndim = Op("attr:ndim", (Var(atoms.within, "value"),))
    spoken_of = any(a.subject == ndim and isinstance(a.test, ValueTest) and a.test.than == 5 for a in atoms.all)
    return (*_DIMENSIONS, 5) if spoken_of else _DIMENSIONS


def _atoms(found: Point, *terms: Term) -> Atoms:
    atoms = Atoms(found.within)
    for term in terms:
        atoms.formula(term)
    return atoms


def _paths(atoms: Atoms) -> dict[str, bool]:
    """The paths of the model that tests name, each with whether what is below it is meant."""
    found = (place(a.subject, atoms.within) for a in atoms.all)
    return {where: under for under, where in filter(None, found)}


def _assumed(found: Point, fixed: Term) -> Point:
    """A trainable parameter with no more known of settings than is assumed."""
    asked = {a.subject for a in _atoms(found, fixed).all}
    return replace(found, requires_grad=True, values={s: v for s, v in found.values.items() if s in asked})


def _plain(atoms: Atoms, at: Point) -> Point | None:
    """The parameter with a name that passes no test of it."""
    name = Var(at.within, "name")
    literals = [(a.test, False) for a in atoms.all if a.subject == name and isinstance(a.test, StringTest)]
    try:
        unnamed = shortest(literals)
    except TooMany:
        unnamed = None
    names = (*PLAIN, *(() if unnamed is None else (unnamed,)))
    return next((p for p in (replace(at, name=n) for n in names) if _is_plain(atoms, p)), None)


def _is_plain(atoms: Atoms, point: Point, path: str = "") -> bool:
    """Whether a name passes no test of it, but for those that whatever is below a path passes."""
    tests = [(a.subject, a.test) for a in atoms.all if isinstance(a.test, StringTest) and binders(a.subject)]

    def passed(test: StringTest, found: object) -> bool:
        return isinstance(found, str) and test.passed(found)

    return not any(
        passed(test, value(subject, point))
        and not (path and passed(test, value(subject, replace(point, name=f"{path}.~"))))
        for subject, test in tests
    )
