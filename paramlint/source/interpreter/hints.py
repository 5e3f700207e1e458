"""What an optimizer is given to tell parameters apart by, other than their shapes: names, a model, flags, options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from paramlint.source.interpreter.values import Bag, Phi, Row, Table, Value
from paramlint.source.terms import Attribute, Const, Term, Var

if TYPE_CHECKING:
    from paramlint.source.interpreter.calls import Given

#: Arguments that say which parameters are meant: by names, by modules, or by a function.
_WHICH = re.compile(
    r"exclu|ignore|skip|embed|(?<!n_)(?<!num_)heads?(?!_(dim|size))|names($|_)|(^|_)(model|net|network)$|modules?$"
    r"|predicate|filter|select|route|pattern|regex|(first|last)_layer"
)
#: Arguments that are for those which Muon does not take.
_OTHERS = re.compile(
    r"(^|aux_|use_|for_)(adam|sgd|lion)|_(adamw?|sgd|lion|aux)$|^aux|fallback|backup|scalar|(^|_)(non?_?)?muon(_|$)"
)
#: Keys by which groups say who updates them, and those that do where the value names an optimizer.
_FLAG = re.compile(
    r"muon|adam|algo|kind|optim|^opt$|fallback|ortho|matrix|matrices|(^|_)(type|method|mode|rule|role|route)$"
)
_TITLE = re.compile(r"(name|group|label|tag|part|id)$")
_OPTIMIZER = re.compile(r"muon|adam|sgd|lion|scalar", re.IGNORECASE)


def told(given: Given) -> bool:
    """Whether a call says which parameters are meant: by arguments for that, with the names, or with the model."""
    return any(map(_WHICH.search, given.named)) or any(map(_paired, given.all())) or _has_model(given)


def divided(given: Given) -> bool:
    """Whether a call speaks of two halves: in arguments for the other one, or in the groups themselves."""
    return any(map(_OTHERS.search, given.named)) or any(_flagged(t) for v in given.all() for t in _tables(v))


def _paired(value: Value) -> bool:
    """Whether parameters come with their names."""
    if isinstance(value, Phi):
        return _paired(value.then) or _paired(value.otherwise)
    if isinstance(value, Bag):
        return any(_paired(e.value) for e in value.entries)
    if isinstance(value, Table):
        return any(_paired(e.value) for e in value.find(Const("params")))
    return isinstance(value, Row) and len(value.values) == 2 and bool(list(_parameters(value.values[1:])))


def _has_model(given: Given) -> bool:
    """Whether the module is given along with its parameters."""
    modules = [v for v in given.all() if isinstance(v, Term) and not isinstance(v, Const)]
    walked: set[Term] = set()
    for p in _parameters(given.all()) if modules else ():
        of = p.binder.of
        walked.add(of)
        while isinstance(of, Attribute):
            of = of.of
            walked.add(of)
    return any(m in walked for m in modules)


def _parameters(values: Iterable[Value]) -> Iterator[Var]:
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, Var) and value.binder.kind == "parameter" and value.what == "value":
            yield value
        elif isinstance(value, Phi):
            stack += [value.then, value.otherwise]
        elif isinstance(value, (Bag, Table)):
            stack += [e.value for e in value.entries]
        elif isinstance(value, Row):
            stack += value.values


def _tables(value: Value) -> Iterator[Table]:
    """The groups in a value."""
    if isinstance(value, Phi):
        yield from _tables(value.then)
        yield from _tables(value.otherwise)
    elif isinstance(value, Row):
        for v in value.values:
            yield from _tables(v)
    elif isinstance(value, Bag):
        for e in value.entries:
            yield from _tables(e.value)
    elif isinstance(value, Table):
        yield value


def _flagged(group: Table) -> bool:
    keys = {e.key.value: e.value for e in group.entries if isinstance(e.key, Const) and isinstance(e.key.value, str)}
    if "params" not in keys:
        return False
    named = (str(v.value) for k, v in keys.items() if _TITLE.search(k) and isinstance(v, Const))
    return bool(group.unread) or any(map(_FLAG.search, keys)) or any(map(_OPTIMIZER.search, named))
