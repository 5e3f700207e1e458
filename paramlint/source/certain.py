"""How sure a counterexample is to matter: whether models nearly always have such a parameter.

A hole is certain where all of this holds, whatever the script's other settings are and however the model is built:

- a parameter with a name that no test of the script speaks of is in no group, with 1 to 5 dimensions;
- with another number of dimensions that very parameter is in one: the script means to take those that it does not name;
- parameters with the usual names of so many dimensions are in no group either: none of them is chosen by its name;
- no test asks for a part that is trained alone, with the rest frozen (adapters).

An overlap is certain where a parameter with such a plain name, with 1 to 5 dimensions, is in both groups, or where one
string in a name puts it into both, whatever its dimensions are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paramlint.source.atoms import Atoms
from paramlint.source.point import Point, truth, value
from paramlint.source.strings import PLAIN, StringTest, TooMany, follows, likely, shortest
from paramlint.source.terms import Term, Var, both, negated

_DIMENSIONS = (2, 1, 3, 4, 5)
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
    if any(word in t.needle.lower() for t in tests for word in _ALONE):
        return None
    at = _assumed(found, fixed)
    for plain in _plain(atoms, at):
        taken = {d: truth(union, replace(plain, ndim=d)) for d in _DIMENSIONS}
        if not any(taken.values()):
            continue
        for ndim in _DIMENSIONS:
            same = [replace(plain, ndim=ndim, name=name) for name in (plain.name, *_USUAL[ndim])]
            if taken[ndim] is False and all(truth(missing, p) for p in same):
                return same[0]
    return None


def overlap(one: Term, other: Term, fixed: Term, found: Point) -> Point | None:
    """A parameter in both groups for which that is certain, None where there is none."""
    atoms, shared = _atoms(found, one, other), both(fixed, one, other)
    at = _assumed(found, fixed)
    for plain in _plain(atoms, at):
        for ndim in _DIMENSIONS:
            if truth(shared, replace(plain, ndim=ndim)):
                return replace(plain, ndim=ndim)
    name = Var(found.within, "name")
    tests = [a.test for a in atoms.all if a.subject == name and isinstance(a.test, StringTest)]
    for test in tests:
        # whatever else the script speaks of is not in the name, unless the one string brings it along
        rest = [(t, False) for t in tests if t != test and follows(test, t) is not True]
        for text in likely([(test, True), *rest]):
            points = [replace(at, name=text, ndim=d) for d in (*_DIMENSIONS, 0)]
            if all(truth(shared, p) for p in points):
                return points[0]
            break
    return None


def _atoms(found: Point, *terms: Term) -> Atoms:
    atoms = Atoms(found.within)
    for term in terms:
        atoms.formula(term)
    return atoms


def _assumed(found: Point, fixed: Term) -> Point:
    """A trainable parameter with no more known of settings than is assumed."""
    asked = {a.subject for a in _atoms(found, fixed).all}
    return replace(found, requires_grad=True, values={s: v for s, v in found.values.items() if s in asked})


def _plain(atoms: Atoms, at: Point) -> Iterator[Point]:
    """The parameter with a name that passes no test of it."""
    name = Var(at.within, "name")
    literals = [(a.test, False) for a in atoms.all if a.subject == name and isinstance(a.test, StringTest)]
    try:
        unnamed = shortest(literals)
    except TooMany:
        unnamed = None
    names = [n for n in PLAIN if not any(t.passed(n) for t, _ in literals)]
    if unnamed is not None:
        names.append(unnamed)
    for text in names:
        point = replace(at, name=text)
        if not any(
            isinstance(a.test, StringTest) and isinstance(v := value(a.subject, point), str) and a.test.passed(v)
            for a in atoms.all
            if atoms.is_computed(a.subject)
        ):
            yield point
            return
