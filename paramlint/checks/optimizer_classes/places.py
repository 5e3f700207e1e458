"""Whether the arguments of a call can change places: whether the order in which they are evaluated shows."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from paramlint.checks.optimizer_classes.scalars import Numbers
from paramlint.source.imports import Imports, dotted
from paramlint.source.statements import every

#: Functions of Python, and methods of tensors and mappings or functions of torch, that change nothing and depend on
#: nothing but what they are given.
_BUILTINS = frozenset("abs bool float int len max min pow range round sum tuple".split())
_PURE = frozenset(
    "abs acos add addcdiv addcmul all amax amin any asin atan atan2 bmm ceil clamp clamp_max clamp_min clone conj "
    "contiguous copysign cos cosh cumsum detach diag dim div dot double einsum empty_like eq erf exp expand "
    "expand_as expm1 flatten float floor full_like ge get gt half imag isfinite isnan item keys le lerp log log1p "
    "log2 logical_and lt matmul max maximum mean median min minimum mm mul mv narrow ne neg new_tensor new_zeros "
    "norm numel ones_like outer permute pow prod real reciprocal repeat reshape rsqrt select sigmoid sign sin "
    "size softplus split sqrt square squeeze std sub sum t tanh tensor to trace transpose tril triu true_divide "
    "trunc type type_as unsqueeze values var view view_as where zeros_like".split()
)
#: Of the methods above, those that never give their tensor itself, or a view of it.
_NEW = frozenset(
    "abs add addcdiv addcmul bmm clone cos div exp full_like lerp log matmul maximum mean minimum "
    "mm mul neg ones_like outer pow prod reciprocal rsqrt sigmoid sign sin sqrt square std sub sum tanh "
    "var where zeros_like".split()
)
_MODULES = ("math", "torch", "torch.linalg", "torch.linalg.vector_norm", "numpy")


def exchangeable(one: Sequence[ast.expr], other: Sequence[ast.expr], numbers: Numbers, imports: Imports) -> bool:
    """Whether all of `one` may as well be evaluated after all of `other`.

    So it is where one side is only names and constants, or numbers computed from those, whatever the other does; where
    both are arithmetic of names, attributes, items and functions that are known to change nothing; and where one side
    changes tensors in place besides, and the other calls nothing and does not mention them.
    """
    unusual = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom, ast.Lambda, ast.GeneratorExp)
    if any(isinstance(n, unusual) for a in (*one, *other) for n in every(a)):
        return False
    look = _Look(numbers, imports)
    if all(map(look.fixed, one)) or all(map(look.fixed, other)):
        return True
    first, second = look.changed(one), look.changed(other)
    if first is None or second is None:
        return False
    return look.untouched(one, second) and look.untouched(other, first)


class _Look:
    def __init__(self, numbers: Numbers, imports: Imports) -> None:
        self.numbers, self.imports = numbers, imports

    def fixed(self, node: ast.expr) -> bool:
        """Whether no call can change the value: it is a name, or a number made of numbers that have names."""
        match node:
            case ast.Name() | ast.Constant():
                return True
            case ast.UnaryOp(operand=operand):
                return self._number(operand)
            case ast.BinOp(left=left, right=right):
                return self._number(left) and self._number(right)
        return False

    def _number(self, node: ast.expr) -> bool:
        if isinstance(node, (ast.Name, ast.Constant)):
            return self.numbers.is_number(node, node)
        return self.fixed(node)

    def changed(self, nodes: Sequence[ast.expr]) -> set[str] | None:
        """The names of tensors that are changed in place; None where anything may happen."""
        found: set[str] = set()
        for n in (n for node in nodes for n in every(node) if isinstance(n, ast.Call)):
            if self._function(n.func):
                continue
            if not isinstance(n.func, ast.Attribute):
                return None
            name, of = n.func.attr, n.func.value
            if (dotted(of) or "").partition(".")[0] in (*self.imports.names, "self", "cls"):
                return None  # of an object that may do more than its methods' names say
            if name in _PURE:
                continue
            if not name.endswith("_") or name.removesuffix("_") not in _PURE:
                return None
            if not _fresh(of):
                found |= {m.id for m in every(of) if isinstance(m, ast.Name)}
        return found

    def untouched(self, nodes: Sequence[ast.expr], changed: set[str]) -> bool:
        """Whether nothing in these is a tensor that was changed, under its name or, by a call, another."""
        if not changed:
            return True
        inside = [n for node in nodes for n in every(node)]
        calls = [self._function(n.func) for n in inside if isinstance(n, ast.Call)]
        return set(calls) <= {"math", "builtins"} and not any(
            isinstance(n, ast.Name) and n.id in changed for n in inside
        )

    def _function(self, func: ast.expr) -> str:
        """The module of a function that is known to change nothing, "" for others."""
        if isinstance(func, ast.Name) and func.id in _BUILTINS and func.id not in self.imports.names:
            return "builtins"
        for name in self.imports.qualified(func):
            module, _, last = name.rpartition(".")
            if module in _MODULES and (module == "math" or last in _PURE):
                return module
        return ""


def _fresh(node: ast.expr) -> bool:
    """Whether a tensor was made just now, so that nobody else sees what becomes of it."""
    match node:
        case ast.BinOp() | ast.UnaryOp(op=ast.USub()):
            return True
        case ast.Call(func=ast.Attribute(value=of, attr=attr)):
            return _fresh(of) if attr.endswith("_") else attr in _NEW
    return False
