"""Which options of its groups a class reads, and which it sees to itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import passed
from paramlint.record import dataclass
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.reaching import callee, reached
from paramlint.source.statements import every

_NAMES = ("group", "param_group", "pg")
#: What a walk over `self.param_groups` may be wrapped in, and what only looks at it.
_WALKS = frozenset({"enumerate", "zip", "reversed", "list", "tuple", "sorted", "len", "print"})


@dataclass(frozen=True)
class Options:
    """What the methods of an optimizer class do with its groups: those in `self.param_groups`, not what the constructor
    is given.

    `needed` are the keys that have to be there, since a subscript reads them, `asked` those that it looks for first,
    `stored` those that it sets, `made` those of groups that it makes itself. `lost` says that a group goes where it is
    not seen, or is read by keys that are not known.
    """

    needed: frozenset[str]
    asked: frozenset[str]
    stored: frozenset[str]
    made: frozenset[str]
    lost: bool


def options(c: OptimizerFacts) -> Options:
    """What the methods of a class, and the functions of the file that they call, do with groups."""
    look = _Look(c)
    for function in dict.fromkeys(f for m in c.methods.values() for f in reached(m, c.methods, c.functions)):
        look.function(function)
    needed = frozenset(look.needed - {"params"})
    return Options(needed, frozenset(look.asked), frozenset(look.stored), frozenset(look.made), look.lost)


class _Look:
    def __init__(self, c: OptimizerFacts) -> None:
        self.c = c
        self.needed: set[str] = set()
        self.asked: set[str] = set()
        self.stored: set[str] = set()
        self.made: set[str] = set()
        self.lost = False

    def function(self, function: ast.FunctionDef) -> None:
        groups = frozenset(_groups(function))
        clear: set[int] = set()  # mentions of groups that are understood
        for node in every(function):  # what holds a mention comes before it
            match node:
                case ast.Subscript(value=of, slice=key, ctx=ctx) if _is_group(of, groups):
                    clear.add(id(of))
                    self._subscript(key, ctx)
                case ast.Call(func=ast.Attribute(value=of, attr=attr), args=given) if _is_group(of, groups):
                    clear.add(id(of))
                    self._method(attr, given)
                case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[of]) if _is_group(of, groups):
                    clear.add(id(of))
                    self._key(left, self.asked)
                case ast.For(iter=over) | ast.comprehension(iter=over):
                    clear.add(id(over))
                case ast.Assign(targets=[ast.Name()], value=ast.Subscript() as value):
                    clear.add(id(value))
                case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")))):
                    clear |= {id(a) for a in node.args}
                case ast.Call(func=ast.Name(id=name)) if name in _WALKS:
                    clear |= {id(a) for a in node.args}
                case ast.Call():
                    called = callee(node.func, self.c.methods, self.c.functions)
                    if called is not None:
                        known = set(_groups(called))
                        clear |= {id(value) for name, value in passed(node, called) if name in known}
            if isinstance(node, (ast.Dict, ast.Call)):
                self.made |= _made(node)
            if isinstance(node, ast.Subscript) and _is_group(node, groups):
                clear.add(id(node.value))
            if id(node) not in clear and _is_group(node, groups, whole=True):
                self.lost = True

    def _subscript(self, key: ast.expr, ctx: ast.expr_context) -> None:
        self._key(key, self.needed if isinstance(ctx, ast.Load) else self.stored)

    def _method(self, attr: str, given: list[ast.expr]) -> None:
        if attr in ("get", "setdefault") and given:
            self._key(given[0], self.asked)
        elif attr == "pop" and given:
            self._key(given[0], self.needed if len(given) == 1 else self.asked)
        elif attr != "keys":
            self.lost = True

    def _key(self, key: ast.expr, into: set[str]) -> None:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            into.add(key.value)
        else:
            self.lost = True


def _groups(function: ast.FunctionDef) -> Iterator[str]:
    """The names that groups go by in a function. What a constructor is given is no group yet."""
    a = function.args
    given = (*a.posonlyargs, *a.args, *a.kwonlyargs) if function.name != "__init__" else ()
    yield from (one.arg for one in given if one.arg in _NAMES or one.arg.endswith("_group"))
    for node in every(function):
        match node:
            case ast.For(target=target, iter=over) | ast.comprehension(target=target, iter=over):
                if any(_is_list(n) for n in every(over)):
                    yield from (n.id for n in every(target) if isinstance(n, ast.Name))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript(value=of)) if _is_list(of):
                yield name


def _is_list(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "param_groups"


def _is_group(node: ast.AST, groups: frozenset[str], *, whole: bool = False) -> bool:
    """Whether a node is a group, or, with `whole`, the list of them, and is read."""
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            return name in groups
        case ast.Subscript(value=of):
            return _is_list(of)
        case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Load()):
            return whole and _is_list(node)
    return False


def _made(node: ast.Dict | ast.Call) -> set[str]:
    """The keys of a group that is made here."""
    if isinstance(node, ast.Dict):
        keys = {k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)}
    else:
        named = isinstance(node.func, ast.Name) and node.func.id == "dict"
        keys = {k.arg for k in node.keywords if k.arg} if named else set()
    return keys if "params" in keys else set()
