"""The order of what a collection gives, and whether it gives each thing once.

The order of a set goes by hashes. Numbers hash by their value, tuples of them too: a set of shapes or of sizes is the
same in every run. Strings hash by a seed of the run, and parameters, modules, dtypes and classes by where they lie in
memory.
https://docs.python.org/3/reference/datamodel.html#object.__hash__
"""

from __future__ import annotations

import re

from paramlint.source.interpreter.values import Bag, Phi, Row, Table, Value
from paramlint.source.terms import Attribute, Const, Op, Opaque, Span, Term, Var

#: Attributes of modules that are numbers.
_NUMBERS = re.compile(r"(^|_)(n|num|in|out)_|(features|channels|embeddings|dims?|size|depth|index|idx|id|rank|groups)$")
_BY_ADDRESS = ("attr:dtype", "attr:device", "call:id", "method:data_ptr", "call:type", "call:getattr", "attr:grad")
_TEXTS = ("concat", "call:str", "call:repr")
#: Methods of strings that give numbers; all others give strings.
_OF_STRINGS = ("method:count", "method:find", "method:index", "method:startswith", "method:endswith", "method:isdigit")
_OF_TENSORS = ("method:numel", "method:nelement", "method:element_size", "method:is_floating_point", "method:size")
_PARTS = ("if", "tuple", "getitem", "call:tuple", "call:list", "call:sorted", "call:min", "call:max", "+", "-", "*")


def unordered(over: Value) -> Span | None:
    """Where what a value gives got an order that changes from run to run, if it did."""
    if isinstance(over, Bag):
        by_hash = over.kind in ("set", "frozenset") and any(changes(e.value) for e in over.entries)
        return over.unordered or (over.made.span if by_hash else None)
    if isinstance(over, Phi):
        return unordered(over.then) or unordered(over.otherwise)
    return None


def distinct(over: Value) -> bool:
    """Whether a value has each thing once, however often the script met it."""
    if isinstance(over, Table):
        return over.kind == "dict"
    return isinstance(over, Bag) and (over.kind in ("set", "frozenset") or over.distinct)


def changes(value: Value) -> bool:
    """Whether a value certainly hashes to something else in another run."""
    if isinstance(value, Term):
        return _term(value)
    if isinstance(value, Row):
        return any(map(changes, value.values))
    if isinstance(value, Phi):
        return changes(value.then) or changes(value.otherwise)
    if isinstance(value, (Bag, Table)):
        return any(changes(e.value) for e in value.entries)
    return True


def _term(term: Term) -> bool:
    match term:
        case Const(value=value):
            return _constant(value)
        case Var(binder, "name"):
            return binder.kind != "element"
        case Var(binder, "value"):
            return binder.kind != "element" or not isinstance(binder.of, (Opaque, Const))
        case Attribute(_, name):
            return not _NUMBERS.search(name)
        case Op("if", (_, then, otherwise)):
            return _term(then) or _term(otherwise)
        case Op("getitem", (of, _)):
            return _term(of)
        case Op(op, args) if op in _PARTS:
            return any(map(_term, args))
        case Op(op):
            if op.startswith("method:"):
                return op == "method:data_ptr" or op not in (*_OF_STRINGS, *_OF_TENSORS)
            return op in _BY_ADDRESS or op in _TEXTS
    return False


def _constant(value: object) -> bool:
    return any(map(_constant, value)) if isinstance(value, tuple) else isinstance(value, str)
