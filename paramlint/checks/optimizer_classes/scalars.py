"""Which expressions are Python numbers for certain."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.source.imports import dotted
from paramlint.source.statements import every

#: What options of optimizers are called. A function's argument of such a name is a number, and so is a group's value.
_OPTIONS = frozenset(
    "lr learning_rate wd weight_decay momentum dampening eps alpha beta beta1 beta2 beta3 step_size rho gamma".split()
)
_GROUPS = frozenset({"group", "param_group", "g", "pg", "defaults"})
_CALLS = frozenset({"float", "int", "len", "abs", "max", "min", "round", "pow"})


class Numbers:
    """Answers for one file. A name is a number where every assignment of it in its function gives it one."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions: dict[int, ast.FunctionDef] = {}
        for function in every(tree):  # from the outside in: the innermost stays
            if isinstance(function, ast.FunctionDef):
                self._functions.update((id(n), function) for n in every(function))
        self._known: dict[tuple[int, str], bool] = {}

    def is_number(self, node: ast.expr, at: ast.AST) -> bool:
        """Whether `node`, which stands where `at` does, is a number and no tensor."""
        match node:
            case ast.Constant(value=value):
                return isinstance(value, (int, float)) and not isinstance(value, bool)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self.is_number(operand, at)
            case ast.BinOp(op=op, left=left, right=right) if not isinstance(op, ast.MatMult):
                return self.is_number(left, at) and self.is_number(right, at)
            case ast.IfExp(body=body, orelse=orelse):
                return self.is_number(body, at) and self.is_number(orelse, at)
            case ast.Subscript(value=of, slice=ast.Constant(value=str(key))):
                return isinstance(of, ast.Name) and of.id in _GROUPS and not key.startswith("params")
            case ast.Subscript(value=ast.Subscript() as of, slice=ast.Constant(value=int())):
                return self.is_number(of, at)  # group["betas"][0]
            case ast.Call(func=func, args=given):
                return self._call(func, given, at)
            case ast.Name(id=name):
                function = self._functions.get(id(at))
                return function is not None and self._name(name, function)
        return False

    def _call(self, func: ast.expr, given: list[ast.expr], at: ast.AST) -> bool:
        if isinstance(func, ast.Attribute) and func.attr == "item":
            return True
        name = dotted(func) or ""
        if name.startswith("math."):
            return True
        return name in ("float", "int", "len") or (name in _CALLS and all(self.is_number(a, at) for a in given))

    def _name(self, name: str, function: ast.FunctionDef) -> bool:
        key = (id(function), name)
        if key not in self._known:
            self._known[key] = False  # of what is defined by itself
            values = list(self._values(name, function))
            numbers = [v is not None and self.is_number(v, function.body[0]) for v in values]
            self._known[key] = (bool(values) and all(numbers)) or (not values and self._argument(name, function))
        return self._known[key]

    def _argument(self, name: str, function: ast.FunctionDef) -> bool:
        a = function.args
        for one in (*a.posonlyargs, *a.args, *a.kwonlyargs):
            if one.arg == name:
                said = "" if one.annotation is None else ast.unparse(one.annotation)
                return said in ("float", "int") or (not said and name in _OPTIONS)
        return False

    def _values(self, name: str, function: ast.FunctionDef) -> Iterator[ast.expr | None]:
        """What a name is given in a function; None for what is not seen."""
        for node in every(function):
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        if isinstance(target, ast.Name):
                            if target.id == name:
                                yield value
                        elif any(isinstance(n, ast.Name) and n.id == name for n in every(target)):
                            yield _unpacked(target, value, name)
                case ast.AnnAssign(target=ast.Name(id=bound), value=value) if bound == name:
                    yield value
                case ast.AugAssign(target=ast.Name(id=bound), value=value) if bound == name:
                    yield value
                case ast.NamedExpr(target=ast.Name(id=bound), value=value) if bound == name:
                    yield value
                case ast.For(target=target) | ast.comprehension(target=target):
                    if any(isinstance(n, ast.Name) and n.id == name for n in every(target)):
                        yield None


def _unpacked(target: ast.expr, value: ast.expr, name: str) -> ast.expr | None:
    """`beta1, beta2 = group["betas"]`, and `a, b = 1, 2`; names stand for themselves."""
    if not isinstance(target, (ast.Tuple, ast.List)):
        return None
    if isinstance(value, ast.Subscript):
        return value
    if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
        for one, given in zip(target.elts, value.elts, strict=True):
            if isinstance(one, ast.Name) and one.id == name:
                return given
    return None
