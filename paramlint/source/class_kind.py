"""Who an optimizer class updates with what: whether all of it is orthogonalised, and what decides else."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Literal

from paramlint.source.imports import Imports, dotted
from paramlint.source.reaching import callee, methods, reached
from paramlint.source.script import FLAGS
from paramlint.source.statements import every

Kind = Literal["muon", "adam", "routed", "unknown"]

#: What functions are called that orthogonalise, whatever their insides look like.
_ORTHOGONAL = re.compile(
    r"zero_?power|newton_?schul|polar|orthogonal(?!_?(matrix|basis|grad))|orthonormal|msign|matrix_sign", re.IGNORECASE
)
#: And what those are called that may: of another file they are taken to, in this one their insides tell.
_MUON = re.compile(r"muon|(^|_)ns_?\d?(_|$)", re.IGNORECASE)
#: Bases for a preconditioner are orthogonal too, as those of SOAP: nothing is orthogonalised by them.
_BASES = re.compile(r"^(eigh|qr)$|orthogonal_?(matrix|basis)", re.IGNORECASE)
#: What a test looks at that sends parameters one way or the other: keys of groups and states, attributes, variables.
_FLAG = re.compile(r"muon|adam|algo|kind|optim|fallback|ortho|matrix|matrices|(^|_)type$", re.IGNORECASE)
#: Names of operations that mix the elements of a tensor.
_MIXES = re.compile(
    r"matmul|einsum|mm_?$|linalg|eig|svd|qr$|cholesky|invers|precond|project|rotat|schur|lmo", re.IGNORECASE
)
_OWN_MODULES = frozenset(
    {"torch", "math", "typing", "functools", "itertools", "collections", "logging", "os", "warnings"}
)
_MUON_CLASS = re.compile(r"Muon", re.IGNORECASE)
_ADAM_CLASS = re.compile(r"^(Fused|Dist|Foreach)?(Adam\w*|SGD|Lion|RMSprop|NAdam|RAdam|Adafactor)$")

Definitions = Mapping[str, ast.FunctionDef]


def kind_of(step: ast.FunctionDef, methods: Definitions, functions: Definitions, imports: Imports) -> Kind:
    """What a step does to the parameters that it is given. "unknown" wherever something is in the way."""
    look = _Look(methods, functions)
    everywhere = reached(step, methods, functions)
    names = {n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for f in everywhere for n in every(f)}
    if any(_BASES.search(n) for n in names) and not any(_ORTHOGONAL.search(n) or _MUON.search(n) for n in names):
        return "unknown"
    if look.any(step.body) or _drops_values(step):
        return "routed" if look.routes(step, set()) else "muon"
    inner = _inner(methods)
    if inner:
        return inner
    return "adam" if _elementwise(everywhere, methods, functions, imports) else "unknown"


class _Look:
    """Where a step orthogonalises, and under which tests."""

    def __init__(self, methods: Definitions, functions: Definitions) -> None:
        self.methods, self.functions = methods, functions
        self.known: dict[int, bool] = {}

    def any(self, body: Sequence[ast.AST]) -> bool:
        """Whether something in these nodes orthogonalises."""
        return any(self._does(n) for statement in body for n in every(statement))

    def _does(self, node: ast.AST) -> bool:
        if isinstance(node, (ast.For, ast.While)) and _iterates_products(node):
            return True
        if not isinstance(node, ast.Call):
            return False
        called = callee(node.func, self.methods, self.functions)
        if called is not None:
            return self._function(called)
        of = node.func.value if isinstance(node.func, ast.Subscript) else node.func
        name = (dotted(of) or "").rpartition(".")[2]
        return bool(_ORTHOGONAL.search(name) or _MUON.search(name)) and not re.match(r"_?(is|has)_|[A-Z]", name)

    def _function(self, function: ast.FunctionDef) -> bool:
        if id(function) not in self.known:
            self.known[id(function)] = False  # while it is looked at
            named = _ORTHOGONAL.search(function.name) and not re.match(r"_?(is|has)_", function.name)
            self.known[id(function)] = bool(named) or _drops_values(function) or self.any(function.body)
        return self.known[id(function)]

    def routes(self, function: ast.FunctionDef, seen: set[int]) -> bool:
        """Whether a test in the function, or in one that it calls, sends some parameters past it."""
        if id(function) in seen:
            return False
        seen.add(id(function))
        flags = _flags(function)
        for node in every(function):
            match node:
                case ast.If(test=test, body=body, orelse=orelse) if routing(test, flags):
                    if self._splits(node, body, orelse, function):
                        return True
                case ast.IfExp(test=test, body=one, orelse=other) if routing(test, flags):
                    if self.any([one]) != self.any([other]):
                        return True
                case ast.comprehension(ifs=tests) if any(flagged(t, flags) for t in tests):
                    return True
                case ast.Call():
                    called = callee(node.func, self.methods, self.functions)
                    if called is None or _ORTHOGONAL.search(called.name):
                        continue
                    if self._function(called) and self.routes(called, seen):
                        return True
        return False

    def _splits(self, node: ast.If, body: list[ast.stmt], orelse: list[ast.stmt], function: ast.FunctionDef) -> bool:
        one, other = self.any(body), self.any(orelse)
        if one and other:
            return False
        if one or other:
            rest = orelse if one else body
            return not all(isinstance(s, ast.Raise) for s in rest) or not rest
        leaves = isinstance(body[-1], (ast.Continue, ast.Return))
        later = any(self._does(n) and getattr(n, "lineno", 0) > node.lineno for n in every(function))
        return leaves and later and (len(body) > 1 or flagged(node.test, set()) or _steps_others(function))


def routing(test: ast.expr, flags: frozenset[str] | set[str]) -> bool:
    """Whether a test asks what kind of parameter there is: by dimensions, a flag, its identity or its name."""
    return flagged(test, flags) or any(_shape(n) for n in every(test))


def flagged(test: ast.expr, flags: frozenset[str] | set[str]) -> bool:
    """Whether it asks by something other than the shape. `flags` are variables that hold such an answer."""
    for node in every(test):
        match node:
            case ast.Subscript(slice=ast.Constant(value=str(key))):
                found = bool(_FLAG.search(key))
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(key)), *_]):
                found = bool(_FLAG.search(key))
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(key)), *_]):
                found = bool(_FLAG.search(key))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=key) | ast.Name(id=str(key))):
                found = bool(_FLAG.search(key))
            case ast.Attribute(value=ast.Name(id="p" | "param"), attr=key):
                found = bool(_FLAG.search(key))
            case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[over]):
                member = isinstance(over, ast.Attribute) and isinstance(left, (ast.Name, ast.Call))
                found = member or (isinstance(left, ast.Constant) and isinstance(over, ast.Name) and "name" in over.id)
            case ast.Name(id=name):
                found = name in flags or bool(re.match(r"(use|is)_(muon|adam)", name))
            case _:
                continue
        if found:
            return True
    return False


def _shape(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="ndim" | "shape"):
            return True
        case ast.Call(func=ast.Attribute(attr="dim" | "size" | "numel")):
            return True
    return False


def _flags(function: ast.FunctionDef) -> set[str]:
    """Variables that hold such a flag."""
    found = set()
    for node in every(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if flagged(value, set()) and not _calls_own(
                value
            ):
                found.add(name)
    return found


def _calls_own(value: ast.expr) -> bool:
    return isinstance(value, (ast.ListComp, ast.DictComp)) or (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id not in ("bool", "getattr")
    )


def _steps_others(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "step" for n in every(function)
    )


def _iterates_products(loop: ast.For | ast.While) -> bool:
    """Whether a loop multiplies a matrix by its own transpose: `A = X @ X.T`, as a Newton-Schulz iteration does."""
    for node in every(loop):
        match node:
            case ast.BinOp(left=ast.Name(id=one), op=ast.MatMult(), right=right):
                inner = right
            case ast.Call(func=ast.Attribute(attr="mm" | "bmm" | "matmul"), args=[ast.Name(id=one), inner]):
                pass
            case _:
                continue
        while isinstance(inner, (ast.Attribute, ast.Call)):
            inner = inner.func if isinstance(inner, ast.Call) else inner.value
        if isinstance(inner, ast.Name) and inner.id == one and not isinstance(node, ast.Name):
            return True
    return False


def _drops_values(function: ast.FunctionDef) -> bool:
    """Whether a function puts a singular value decomposition together again without the values: `U @ V.T`."""
    for node in every(function):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=u), _, ast.Name(id=v)])], value=ast.Call(func=func)):
                if (dotted(func) or "").endswith("svd"):
                    products = (
                        n for n in every(function) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult)
                    )
                    if any(ast.unparse(n).startswith(f"{u} @ {v}") for n in products):
                        return True
    return False


def _inner(methods: Definitions) -> Kind | None:
    """What the optimizers do that a class makes for itself; None where it makes none."""
    names = [
        (dotted(n.func) or "").rpartition(".")[2] for m in methods.values() for n in every(m) if isinstance(n, ast.Call)
    ]
    muon = any(_MUON_CLASS.search(n) and n[:1].isupper() for n in names)
    adam = any(_ADAM_CLASS.match(n) for n in names)
    if muon:
        return "routed" if adam else "muon"
    return "adam" if adam else None


def _elementwise(
    everywhere: Sequence[ast.FunctionDef], methods: Definitions, functions: Definitions, imports: Imports
) -> bool:
    """Whether nothing that a step reaches mixes elements, all of it is seen, and something is done in place."""
    changes = False
    for function in everywhere:
        local = {n.name for n in every(function) if isinstance(n, ast.FunctionDef)}
        for node in every(function):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                return False
            if not isinstance(node, ast.Call):
                continue
            name = dotted(node.func) or ""
            last = node.func.attr if isinstance(node.func, ast.Attribute) else name
            if _MIXES.search(last) or ".linalg." in name:
                return False
            changes = changes or last.endswith("_") or last.startswith("_foreach")
            if callee(node.func, methods, functions) is None and not _harmless(node.func, imports, local):
                return False
    return changes


def _harmless(func: ast.expr, imports: Imports, local: set[str]) -> bool:
    """Whether a call is one of torch, of Python, of a tensor's or a container's method, or of the closure."""
    if isinstance(func, ast.Name):
        if func.id in local or func.id == "closure" or hasattr(builtins, func.id):
            return True
        return any(n.partition(".")[0] in _OWN_MODULES for n in imports.qualified(func))
    if isinstance(func, ast.Attribute):
        first = (dotted(func) or "").partition(".")[0]
        if first == "self":
            return dotted(func) not in (None, f"self.{func.attr}")
        heads = imports.names.get(first)
        return heads is None or any(n.partition(".")[0] in _OWN_MODULES for n in heads)
    return False


@cache
def _group_name(name: str) -> bool:
    return name in ("group", "param_group", "pg", "g") or name.endswith("_group")


def group_keys(functions: Sequence[ast.FunctionDef], params: str | None) -> frozenset[str] | None:
    """The keys of groups that these functions read; None where a group goes where it cannot be seen.

    `params` is what the constructor calls the groups that it is given.
    """
    found: set[str] = set()
    for function in functions:
        groups = set(_groups(function, params))
        for node in every(function):
            match node:
                case ast.Subscript(value=of, slice=index, ctx=ast.Load()) if _is_group(of, groups):
                    if not isinstance(index, ast.Constant):
                        return None
                    found |= {index.value} if isinstance(index.value, str) else set()
                case ast.Call(func=ast.Attribute(value=of, attr="get" | "setdefault" | "pop"), args=[key, *_]):
                    if _is_group(of, groups):
                        if not isinstance(key, ast.Constant):
                            return None
                        found |= {key.value} if isinstance(key.value, str) else set()
                case ast.Compare(left=ast.Constant(value=str(key)), ops=[ast.In() | ast.NotIn()], comparators=[of]):
                    found |= {key} if _is_group(of, groups) else set()
                case ast.Call(func=ast.Attribute(value=of, attr="items" | "values")) if _is_group(of, groups):
                    return None
                case ast.keyword(arg=None, value=of) if _is_group(of, groups):
                    return None
    return frozenset(found) if found else None


def flags_asked(node: ast.ClassDef) -> bool:
    """Whether a method of a class reads a key of groups that says who updates them."""
    return any(FLAGS & (group_keys([m], _first(m)) or frozenset()) for m in methods(node).values())


def _first(function: ast.FunctionDef) -> str | None:
    return next((a.arg for a in function.args.args[1:2]), None)


def steps_groups(node: ast.ClassDef) -> bool:
    """Whether a class is an optimizer whatever its base is called: it hands on two arguments or more to the constructor
    of that base, as groups and defaults, and its own step goes through `self.param_groups`."""
    own = methods(node)
    return {"__init__", "step"} <= set(own) and _hands_on(own["__init__"]) and _walks_groups(own["step"])


def _hands_on(init: ast.FunctionDef) -> bool:
    for n in every(init):
        match n:
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__")):
                return len(n.args) + len(n.keywords) >= 2
    return False


def _walks_groups(step: ast.FunctionDef) -> bool:
    for n in every(step):
        match n:
            case ast.For(iter=ast.Attribute(value=ast.Name(id="self"), attr="param_groups")):
                return True
    return False


def _groups(function: ast.FunctionDef, params: str | None) -> Iterator[str]:
    yield from (a.arg for a in (*function.args.args, *function.args.kwonlyargs) if _group_name(a.arg))
    for node in every(function):
        match node:
            case ast.For(target=target, iter=over) | ast.comprehension(target=target, iter=over):
                walked = {n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for n in every(over)}
                given = function.name == "__init__" and params in walked and "named_parameters" not in walked
                if "param_groups" in walked or (given and isinstance(target, ast.Name)):
                    names = [n.id for n in every(target) if isinstance(n, ast.Name)]
                    yield from (n for n in names if len(names) == 1 or _group_name(n))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript(value=ast.Attribute(attr="param_groups"))):
                yield name


def _is_group(node: ast.expr, groups: set[str]) -> bool:
    match node:
        case ast.Name(id=name):
            return name in groups
        case ast.Subscript(value=ast.Attribute(attr="param_groups")):
            return True
    return False
