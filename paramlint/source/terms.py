"""What a script says of a parameter that is not known yet: terms over variables, compared by structure.

A loop such as `for n, p in model.named_parameters()` is read once, with a variable for what one turn takes. What is
computed from `n` and `p` becomes a term, and every list that the loop fills becomes items: a term, and the condition
under which it is in the list. From the same terms come a proof over any model, and the sets over a known one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field, replace
from typing import Literal, TypeVar

from paramlint.record import dataclass


@dataclass(frozen=True)
class Span:
    """A piece of source. Lines and columns count from 1, columns count characters; the end is past the last one."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int


T = TypeVar("T")


def _hashed_once(cls: type[T]) -> type[T]:
    """Terms grow, and are looked up all the time: what they hash to is kept."""
    work_out = cls.__hash__

    def hashed(self: object) -> int:
        kept: int | None = self.__dict__.get("_hash")
        if kept is None:
            kept = self.__dict__["_hash"] = work_out(self)
        return kept

    cls.__hash__ = hashed  # type: ignore[method-assign]
    return cls


@dataclass(frozen=True)
class Term:
    """A value that the script computes."""


@_hashed_once
@dataclass(frozen=True)
class Const(Term):
    """A value that is known: None, a bool, number or string, or a tuple of these. `True` is not `1` here."""

    value: object
    kind: type = field(init=False, default=object)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", type(self.value))


@_hashed_once
@dataclass(frozen=True)
class Root(Term):
    """A model, by the expression that the script has for it ("model", "self.net"), wrappers taken off."""

    name: str


@_hashed_once
@dataclass(frozen=True)
class Attribute(Term):
    """`of.name`, where `of` is a model, a module or something in one: a submodule, a parameter, or plain data."""

    of: Term
    name: str


@_hashed_once
@dataclass(frozen=True)
class Binder:
    """What one turn of a loop takes.

    kind "parameter": one of `of.named_parameters(recurse=recurse)`; "module": one of `of.named_modules()`, itself among
    them; "child": one of `of.named_children()`; "element": one of the modules in `of` when it is iterated over.
    `number` tells binders apart.
    """

    number: int
    kind: Literal["parameter", "module", "child", "element"]
    of: Term
    recurse: bool = True


@_hashed_once
@dataclass(frozen=True)
class Var(Term):
    """What a binder stands for: "value" is the parameter or module itself, "name" its name, relative to `binder.of`."""

    binder: Binder
    what: Literal["value", "name"]


@_hashed_once
@dataclass(frozen=True)
class Op(Term):
    """An operation on terms. Operators by sign: "and", "or" (any number of arguments), "not", "==", "<", "<=", "is",
    "in" (needle, string), "+", "-", "*", "/", "//", "%", "**", "neg", "getitem", "if" (condition, then, otherwise),
    "tuple", "concat" (strings joined, numbers written out).

    "attr:ndim", "attr:requires_grad", "attr:shape" and the like of one argument; "method:lower" and the like, the
    object first; "call:len" and the like, by the qualified name ("call:re.search"). "isinstance" has an object and the
    qualified name of one class as a constant. Of a number of dimensions there is one way to speak: "attr:ndim".
    """

    op: str
    args: tuple[Term, ...]


@_hashed_once
@dataclass(frozen=True)
class Opaque(Term):
    """What cannot be read: the same text over the same arguments has the same value. `why` says what was in the way.

    `made` is where a call stands that makes something, with the calls that lead there: `Net()` in two places is two.
    """

    text: str
    args: tuple[Term, ...] = ()
    why: str = field(default="", compare=False)
    made: str = ""


@_hashed_once
@dataclass(frozen=True)
class Member(Term):
    """Whether a term is among the values of items."""

    of: Term
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Test:
    """A condition that a script tests on the way to a place, and where. `holds` is the term that is true there."""

    holds: Term
    span: Span = field(compare=False)


@_hashed_once
@dataclass(frozen=True)
class Item:
    """What is put into a collection: `value`, once for each way to bind `binders` under which `when` holds.

    `tests` are the conditions on the way there, in the order of the source, and `span` is what puts it there; neither
    counts when items are compared. Later binders may be over the values of earlier ones.
    """

    value: Term
    binders: tuple[Binder, ...] = ()
    when: Term = Const(True)
    tests: tuple[Test, ...] = field(default=(), compare=False)
    span: Span | None = field(default=None, compare=False)


TRUE = Const(True)
FALSE = Const(False)


def both(*terms: Term) -> Term:
    """The conjunction, simplified: no constants, no doubles, FALSE where a term and its negation stand in it."""
    return _joined("and", terms, TRUE, FALSE)


def either(*terms: Term) -> Term:
    """The disjunction, simplified in the same way."""
    return _joined("or", terms, FALSE, TRUE)


def negated(term: Term) -> Term:
    if isinstance(term, Const):
        return Const(not term.value)
    if isinstance(term, Op) and term.op == "not":
        return term.args[0]
    return Op("not", (term,))


def chosen(condition: Term, then: Term, otherwise: Term) -> Term:
    """`then if condition else otherwise`; over truth values it becomes a condition itself."""
    if isinstance(condition, Const):
        return then if condition.value else otherwise
    if then == otherwise:
        return then
    if is_condition(then) and is_condition(otherwise):
        return either(both(condition, then), both(negated(condition), otherwise))
    return Op("if", (condition, then, otherwise))


def conjuncts(term: Term) -> tuple[Term, ...]:
    """The conditions that hold together where a term does."""
    if term == TRUE:
        return ()
    return term.args if isinstance(term, Op) and term.op == "and" else (term,)


_CONDITIONS = {"and", "or", "not", "==", "<", "<=", "is", "in", "isinstance", "attr:requires_grad"}


def is_condition(term: Term) -> bool:
    """Whether a term is a truth value for certain."""
    if isinstance(term, Const):
        return isinstance(term.value, bool)
    if isinstance(term, Op):
        return term.op in _CONDITIONS or term.op in ("method:startswith", "method:endswith")
    return isinstance(term, Member)


def children(term: Term) -> Iterator[Term]:
    """The terms that a term is made of, those of the binders and items in it among them."""
    match term:
        case Op(args=args) | Opaque(args=args):
            yield from args
        case Attribute(of=of):
            yield of
        case Var(binder=binder):
            yield binder.of
        case Member(of=of, items=items):
            yield of
            for item in items:
                yield item.value
                yield item.when
                for binder in item.binders:
                    yield binder.of


def walk(term: Term) -> Iterator[Term]:
    """The term and all terms in it."""
    stack = [term]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(children(one))


def parts(*terms: Term) -> Iterator[Term]:
    """The terms and all terms in them, one that several of them share once."""
    stack, seen = list(terms), set[int]()
    while stack:
        one = stack.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            stack.extend(children(one))


def size(term: Term) -> int:
    """How many terms a term is made of, itself among them."""
    kept: int | None = term.__dict__.get("_size")
    if kept is None:
        kept = term.__dict__["_size"] = 1 + sum(size(c) for c in children(term))
    return kept


def binders(term: Term) -> frozenset[Binder]:
    """The binders of the variables that a term has; those that its own items bind are not among them."""
    kept: frozenset[Binder] | None = term.__dict__.get("_binders")
    if kept is None:
        kept = term.__dict__["_binders"] = frozenset(_binders(term))
    return kept


def _binders(term: Term) -> set[Binder]:
    match term:
        case Var(binder=binder):
            return {binder} | binders(binder.of)
        case Member(of=of, items=items):
            found = set(binders(of))
            for item in items:
                inner = binders(item.value) | binders(item.when)
                for b in item.binders:
                    inner |= binders(b.of)
                found |= inner - set(item.binders)
            return found
    return {b for child in children(term) for b in binders(child)}


def variables(term: Term) -> tuple[Var, ...]:
    """The variables of a term, each once."""
    kept: tuple[Var, ...] | None = term.__dict__.get("_variables")
    if kept is None:
        found = [term] if isinstance(term, Var) else []
        found += (v for child in children(term) for v in variables(child))
        kept = term.__dict__["_variables"] = tuple(dict.fromkeys(found))
    return kept


def small(term: Term, limit: int = 120) -> Term:
    """The term itself, or something that is not known in place of one that has grown past all use."""
    if size(term) <= limit:
        return term
    return Opaque(f"term {hash(term):x}", variables(term), "it is too long")


def mapped(term: Term, change: Callable[[Term], Term | None], done: dict[Term, Term] | None = None) -> Term:
    """The term with parts replaced: `change` gives what stands for a part, or None to look inside it. Conditions that
    have changed are simplified again on the way out. `done` is what was replaced before by the same `change`."""
    return _mapped(term, change, {} if done is None else done)


def _mapped(term: Term, change: Callable[[Term], Term | None], done: dict[Term, Term]) -> Term:
    # Terms share their parts: each is looked at once.
    kept = done.get(term)
    if kept is None:
        new = change(term)
        kept = done[term] = _rebuilt(term, change, done) if new is None else new
    return kept


def _rebuilt(term: Term, change: Callable[[Term], Term | None], done: dict[Term, Term]) -> Term:
    match term:
        case Op(op=op, args=args) | Opaque(text=op, args=args) if args:
            new = tuple([_mapped(a, change, done) for a in args])
            if all(a is b for a, b in zip(new, args, strict=True)):
                return term
            return operation(op, new) if isinstance(term, Op) else replace(term, args=new)
        case Attribute(of=of):
            inner = _mapped(of, change, done)
            return term if inner is of else replace(term, of=inner)
        case Var(binder=binder):
            other = _rebound(binder, change, done)
            return term if other is binder else replace(term, binder=other)
        case Member(of=of, items=items):
            return Member(_mapped(of, change, done), tuple([_mapped_item(i, change, done) for i in items]))
    return term


def mapped_item(item: Item, change: Callable[[Term], Term | None], done: dict[Term, Term] | None = None) -> Item:
    """The item with parts of its terms replaced, as `mapped` does."""
    return _mapped_item(item, change, {} if done is None else done)


def _mapped_item(item: Item, change: Callable[[Term], Term | None], done: dict[Term, Term]) -> Item:
    return replace(
        item,
        value=_mapped(item.value, change, done),
        when=_mapped(item.when, change, done),
        binders=tuple([_rebound(b, change, done) for b in item.binders]),
        tests=tuple([Test(_mapped(t.holds, change, done), t.span) for t in item.tests]),
    )


def operation(op: str, args: tuple[Term, ...]) -> Term:
    """An `Op`, with its conditions simplified."""
    if op == "and":
        return both(*args)
    if op == "or":
        return either(*args)
    if op == "not":
        return negated(args[0])
    if op == "if":
        return chosen(*args)
    return Op(op, args)


def _rebound(binder: Binder, change: Callable[[Term], Term | None], done: dict[Term, Term]) -> Binder:
    of = _mapped(binder.of, change, done)
    return binder if of == binder.of else replace(binder, of=of)


def _joined(op: Literal["and", "or"], terms: Iterable[Term], neutral: Const, absorbing: Const) -> Term:
    parts: dict[Term, None] = {}
    for term in terms:
        for part in term.args if isinstance(term, Op) and term.op == op else (term,):
            if isinstance(part, Const):
                if bool(part.value) == bool(absorbing.value):
                    return absorbing
            else:
                parts[part] = None
    if any(isinstance(part, Op) and part.op == "not" and part.args[0] in parts for part in parts):
        return absorbing
    if len(parts) > 1:
        return Op(op, tuple(parts))
    return next(iter(parts), neutral)
