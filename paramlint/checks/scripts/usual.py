"""Whether conditions let in what embeddings and heads are usually called, whatever their size."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paramlint.checks.scripts.words import roles
from paramlint.source.atoms import Atoms
from paramlint.source.point import Point, truth
from paramlint.source.prove import possible
from paramlint.source.strings import StringTest
from paramlint.source.terms import Binder, Const, Op, Term, Var, both, negated, walk

#: Those that stand for the rest in what is said come first.
TABLES = (
    *("embed_tokens.weight", "tok_emb.weight", "wte.weight", "embedding.weight", "token_embedding.weight"),
    *("transformer.wte.weight", "model.embed_tokens.weight", "embeddings.word_embeddings.weight"),
)
HEADS = (
    *("lm_head.weight", "head.weight", "output.weight", "classifier.weight", "fc.weight", "unembed.weight"),
    "model.lm_head.weight",
)
#: What tests of names may speak of that tell neither from a hidden matrix.
_APART = frozenset({"bias", "norm-gain", "scale"})


def let_in(taken: Term, fixed: Term, within: Binder) -> bool:
    """Whether all such matrices are taken under a condition.

    A test of a name that speaks of anything but weights, biases, norms and scales may be about them: then it is taken
    that they are not.

    Args:
        taken: the condition, on the parameter of `within`.
        fixed: what is assumed of settings.
        within: all parameters of a model.
    """
    names = (*TABLES, *HEADS)
    if any(truth(taken, Point(within, name, 2)) is False for name in names) or not all(map(_plain, _needles(taken))):
        return False
    u, n = Var(within, "value"), Var(within, "name")
    left = both(fixed, Op("==", (Op("attr:ndim", (u,)), Const(2))), *_large(taken, u), negated(taken))
    return not any(possible(both(left, Op("==", (n, Const(name)))), within) for name in names)


def _needles(taken: Term) -> Iterator[str]:
    """The strings that names are tested for."""
    atoms = Atoms(next(t.binder for t in walk(taken) if isinstance(t, Var)))
    atoms.formula(taken)
    return (a.test.needle for a in atoms.all if isinstance(a.test, StringTest))


def _plain(needle: str) -> bool:
    letters = re.sub(r"\d+", "", needle)
    about = roles(letters)
    return letters.strip("._").lower() in ("weight", "weights") or (bool(about) and about <= _APART)


def _large(taken: Term, u: Var) -> Iterator[Term]:
    """That a matrix has more than one row, and more than one column, as often as its sizes are asked for."""
    for term in {t for t in walk(taken) if isinstance(t, Op)}:
        match term:
            case (
                Op("getitem", (Op("attr:shape", (of,)), Const(value=int())))
                | Op("method:size", (of, Const(value=int())))
                | Op("call:min" | "call:max", (Op("attr:shape", (of,)),))
                | Op("method:numel" | "method:nelement", (of,))
            ) if of == u:
                yield Op("<", (Const(1), term))
