"""Which tests of names the groups of a script hang on, where they stand in the source, and conditions without them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import groupby

from paramlint.checks.scripts.context import ScriptContext
from paramlint.source.interpreter.entries import Read
from paramlint.source.script import Needle, SymbolicGroup
from paramlint.source.terms import Const, Op, Span, Term, Var, binders, both, mapped, variables, walk

#: The string that is looked for, and the operation that does it.
Asked = tuple[str, str]
_PLACED = ("in", "==", "method:startswith", "method:endswith")


def asked(term: Term) -> Asked | None:
    """What a term asks of the name of a parameter or a module, if it asks that."""
    if not isinstance(term, Op) or term.op not in _PLACED or len(term.args) != 2:
        return None
    sought, within = term.args if term.op == "in" else term.args[::-1]
    if not (isinstance(sought, Const) and isinstance(sought.value, str)) or not is_name(within):
        return None
    return term.op, sought.value


def is_name(within: Term) -> bool:
    """Whether a term is made of the name of a parameter or a module."""
    return any(v.what == "name" and v.binder.kind != "element" for v in variables(within))


def is_whole(within: Term) -> bool:
    """Whether a term is a name as it stands, its case apart."""
    while isinstance(within, Op) and within.op in ("method:lower", "method:casefold", "method:upper"):
        within = within.args[0]
    return isinstance(within, Var)


def without_settings(condition: Term) -> Term:
    """A condition without what it asks of settings alone."""
    parts = condition.args if isinstance(condition, Op) and condition.op == "and" else (condition,)
    return both(*(p for p in parts if binders(p) or isinstance(p, Const)))


def forced(term: Term, what: Asked, holds: bool) -> Term:
    """The term where one test of names is taken to hold, or not."""
    return mapped(term, lambda t: Const(holds) if asked(t) == what else None)


def signed(term: Term, holds: bool = True) -> Iterator[tuple[Asked, bool]]:
    """The tests of names in a condition, each with whether it has to hold there, or to fail."""
    what = asked(term)
    if what is not None:
        yield what, holds
    elif isinstance(term, Op) and term.op == "not":
        yield from signed(term.args[0], not holds)
    elif isinstance(term, Op) and term.op in ("and", "or"):
        for part in term.args:
            yield from signed(part, holds)


def of_group(g: SymbolicGroup) -> Iterator[Term]:
    """The terms that say what is in a group, and with which options."""
    yield from (item.when for item in g.items)
    if g.key is not None:
        yield g.key
    yield from (o for o in g.options.values() if binders(o))


def deciding(read: Read) -> tuple[Needle, ...]:
    """The tests of names that groups hang on, each place in the source once for each string."""
    used: set[Asked | None] = set()
    for c in read.build.constructions:
        for g in c.groups:
            used |= {asked(t) for whole in of_group(g) for t in walk(whole)}
    found: dict[tuple[str, str, Span], Needle] = {}
    for needle in read.needles:
        if needle.text and (needle.op, needle.text) in used and is_name(needle.within):
            found.setdefault((needle.op, needle.text, needle.span), needle)
    return tuple(found.values())


def by_test(needles: Iterable[Needle]) -> Iterator[tuple[Span, tuple[Needle, ...]]]:
    """Needles together that are looked for in one place."""

    def place(n: Needle) -> tuple[int, int]:
        return n.span.line, n.span.column

    for _, same in groupby(sorted(needles, key=place), key=place):
        together = tuple(same)
        yield together[0].span, together


def literal(ctx: ScriptContext, read: Read, needle: Needle) -> Span | None:
    """Where the string of a needle is written: in the test, or else in a list, in the same function or in the file.
    None where it is not written in exactly one such place."""
    if not ctx.here(needle.span):
        return None
    at, end = (needle.span.line, needle.span.column), (needle.span.end_line, needle.span.end_column)
    every = [ctx.file.span(node) for node in _strings(ctx.file.tree, needle.text)]
    inside = [s for s in every if at <= (s.line, s.column) and (s.end_line, s.end_column) <= end]
    if inside:
        return inside[0]
    start = read.build.span.line if isinstance(read.node, (ast.FunctionDef, ast.AsyncFunctionDef)) else 1
    near = [s for s in every if start <= s.line and (s.line, s.column) < at]
    for found in (near, every):
        if len(found) == 1:
            return found[0]
    return None


def _strings(tree: ast.AST, text: str) -> Iterator[ast.Constant]:
    """The constants of a file with this value that stand in lists, are given a name, or are compared."""
    for node in ast.walk(tree):
        held: list[ast.expr] = []
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            held = node.elts
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.keyword)) and node.value is not None:
            held = [node.value]
        elif isinstance(node, ast.Compare):
            held = [node.left, *node.comparators]
        elif isinstance(node, ast.Call):
            held = node.args
        elif isinstance(node, ast.arguments):
            held = node.defaults
        for one in held:
            if isinstance(one, ast.Constant) and one.value == text:
                yield one
