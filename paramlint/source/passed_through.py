"""Which test in a script let a parameter into a list: the one to look at when it should not be there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from paramlint.parameter import Location, Parameter
from paramlint.source import terms
from paramlint.source.evaluate import Bindings, Evaluator
from paramlint.source.terms import Const, Item, Member, Op, Span, Term, Test, Var

# What needles are called that are meant to take out parameters of a role.
_MEANT = {
    "embedding": ("emb", "wte", "tok", "vocab", "shared"),
    "tied-embedding": ("emb", "wte", "tok", "vocab", "shared", "head"),
    "output-head": ("head", "out", "classif", "logit", "fc", "unembed", "decoder", "score"),
    "position-table": ("pos", "wpe", "emb"),
    "relative-bias": ("pos", "bias", "rel"),
    "token": ("tok", "cls", "reg", "mask"),
    "norm-gain": ("norm", "ln", "bn", "gain"),
    "bias": ("bias",),
    "scale": ("scale", "gamma", "gain"),
    "router": ("router", "gate"),
    "input-projection": ("patch", "stem", "emb", "input"),
}
_NAMES = ("in", "==", "method:startswith", "method:endswith", "call:re.search", "call:re.match", "call:re.fullmatch")
_LONGEST = 60
#: The rank of a test that says nothing of what the parameter is for, and of one that says nothing at all here.
_PLAIN, _SILENT = 6, 7


def passed_through(
    item: Item, p: Parameter, bound: Bindings, evaluator: Evaluator, sources: Mapping[str, str], label: str = ""
) -> tuple[Location | None, str]:
    """Where, and in a few words why, a parameter came to be among the values of an item.

    A test on names that was to keep it out and did not match comes first, one meant for its role before others; then
    one that kept out what it is not, then the number of dimensions, then any other test, then what puts it there. For
    a vector the number of dimensions comes before names that have nothing to do with it.

    Args:
        sources: the text of each file, by its path.
        label: what the place is called in the end: a function's name.
    """
    ranked = [(_rank(t.holds, p), i, t) for i, t in enumerate(item.tests)]
    # of tests that say little, the one next to where it is put in says most
    ranked = [(rank, i if rank < _PLAIN else -i, t) for rank, i, t in ranked if rank < _SILENT]
    if ranked:
        _, _, test = min(ranked, key=lambda r: r[:2])
        return _location(test.span, label), _told(test, p, bound, evaluator, sources)
    if item.span is None:
        return None, ""
    text = _slice(item.span, sources)
    return _location(item.span, label), f"put there by `{text}`" if text else ""


def _location(span: Span, label: str) -> Location:
    return Location(span.path, span.line, span.column, label)


def _rank(holds: Term, p: Parameter) -> int:
    """How likely it is that this test was to keep the parameter out: 0 the likeliest."""
    vector = p.effective_ndim <= 1
    excluded = [t for part in _parts(holds) for t in _denied(part)]
    needles = [n.lower() for t in excluded for n in _needles(t)]
    if any(meant in n for n in needles for meant in _MEANT.get(p.role, ())):
        return 0
    if _speaks_of(holds, "attr:ndim", "attr:shape", "method:size", "method:numel"):
        return 1 if vector else 4
    if needles:
        return 2
    if any(isinstance(t, Member) or (isinstance(t, Op) and t.op in ("isinstance", "is")) for t in excluded):
        return 3
    if any(_needles(t) for t in terms.walk(holds)):
        return 5
    return _SILENT if isinstance(holds, Op) and holds.op == "attr:requires_grad" else _PLAIN


def _parts(term: Term) -> Iterator[Term]:
    if isinstance(term, Op) and term.op == "and":
        for arg in term.args:
            yield from _parts(arg)
    else:
        yield term


def _denied(term: Term) -> Iterator[Term]:
    """The tests that failed where this holds."""
    if isinstance(term, Op) and term.op == "not":
        inner = term.args[0]
        yield from inner.args if isinstance(inner, Op) and inner.op == "or" else (inner,)


def _needles(term: Term) -> tuple[str, ...]:
    """What a test on a name looks for."""
    if not (isinstance(term, Op) and term.op in _NAMES and _speaks_of_name(term)):
        return ()
    values = [a.value for a in term.args if isinstance(a, Const)]
    return tuple(n for v in values for n in (v if isinstance(v, tuple) else (v,)) if isinstance(n, str))


def _speaks_of_name(term: Term) -> bool:
    return any(isinstance(t, Var) and t.what == "name" for t in terms.walk(term))


def _speaks_of(term: Term, *ops: str) -> bool:
    return any(isinstance(t, Op) and t.op in ops for t in terms.walk(term))


def _told(test: Test, p: Parameter, bound: Bindings, evaluator: Evaluator, sources: Mapping[str, str]) -> str:
    """`'"embed" not in name': no 'embed' in 'wte.weight'`, and the like."""
    text = _slice(test.span, sources)
    why = _because(test.holds, p, bound, evaluator)
    if not text:
        return why
    return f"`{text}`: {why}" if why else f"let in by `{text}`"


def _because(holds: Term, p: Parameter, bound: Bindings, evaluator: Evaluator) -> str:
    denied = [t for part in _parts(holds) for t in _denied(part)]
    needles = [n for t in denied for n in _needles(t)]
    if needles:
        return f"{_listed(needles)} {'does' if len(needles) == 1 else 'do'} not match `{_name(holds, p, bound)}`"
    if any(_needles(t) for t in terms.walk(holds)):
        for part in _alternatives(holds):
            if (found := _needles(part)) and evaluator.truth(part, bound) is True:
                return f"{_listed(list(found))} matches `{_name(part, p, bound)}`"
    if _speaks_of(holds, "attr:ndim", "attr:shape", "method:size"):
        return f"`{_name(holds, p, bound)}` has {p.ndim} dimension{'' if p.ndim == 1 else 's'}"
    return ""


def _alternatives(term: Term) -> Iterator[Term]:
    if isinstance(term, Op) and term.op in ("or", "and"):
        for arg in term.args:
            yield from _alternatives(arg)
    else:
        yield term


def _name(term: Term, p: Parameter, bound: Bindings) -> str:
    """The name that was tested: relative to what the loop goes over, and of a module where it goes over modules."""
    for part in terms.walk(term):
        if isinstance(part, Var) and part.what == "name" and part.binder in bound:
            name = bound[part.binder].name
            if isinstance(name, str) and name:
                return name
    return p.name


def _listed(needles: list[str]) -> str:
    shown = [repr(n) for n in dict.fromkeys(needles)]
    if len(shown) > 4:
        shown = [*shown[:3], f"{len(shown) - 3} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _slice(span: Span, sources: Mapping[str, str]) -> str:
    """The source of a span in one line, shortened; "" where the text is not there."""
    lines = _lines(sources.get(span.path, ""))
    if not 0 < span.line <= span.end_line <= len(lines):
        return ""
    taken = list(lines[span.line - 1 : span.end_line])
    taken[-1] = taken[-1][: span.end_column - 1]
    taken[0] = taken[0][span.column - 1 :]
    text = re.sub(r"\s+", " ", " ".join(taken)).strip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3].rstrip()}..."


@lru_cache(maxsize=8)
def _lines(text: str) -> tuple[str, ...]:
    return tuple(re.split(r"\r\n|\r|\n", text))
