"""Calls in the order of arguments that torch has deprecated."""

from __future__ import annotations

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite.edits import Change, SkipFix, replaced
from paramlint.rewrite.script import Script, code
from paramlint.rewrite.sites import node

#: The scalars that come before the tensors in each deprecated overload of a method, by how many arguments it is given,
#: as https://github.com/pytorch/pytorch/blob/main/tools/autograd/deprecated.yaml lists them. Of a function, `self`
#: stands behind `beta`, else before all.
_ALPHA: dict[int, tuple[str, ...]] = {2: ("alpha",)}
_VALUE: dict[int, tuple[str, ...]] = {3: ("value",)}
_BETA: dict[int, tuple[str, ...]] = {3: ("beta",), 4: ("beta", "alpha")}
_METHODS: dict[str, dict[int, tuple[str, ...]]] = {
    "add": _ALPHA,
    "sub": _ALPHA,
    "addcdiv": _VALUE,
    "addcmul": _VALUE,
    "addbmm": _BETA,
    "addmm": _BETA,
    "addmv": _BETA,
    "addr": _BETA,
    "baddbmm": _BETA,
}


def deprecated_signature(script: Script, fix: Fix) -> Change:
    call = node(script, fix, "call", cst.Call)
    if not isinstance(call.func, cst.Attribute):
        raise SkipFix("it is no method")
    given = [a.value for a in call.args if a.keyword is None]
    if any(a.star for a in call.args):
        raise SkipFix("its arguments cannot be told apart")
    name = call.func.attr.value
    function = isinstance(call.func.value, cst.Name) and call.func.value.value in _torch(script)
    known = _METHODS.get(name if function else name.removesuffix("_"), {})
    scalars = known.get(len(given) - function)
    if scalars is None:
        raise SkipFix("its arguments are in order already")
    expected = fix.data.get("keyword", scalars[-1])
    if expected not in scalars:
        raise SkipFix(f"it takes no `{expected}` here")
    if any(a.keyword and a.keyword.value in scalars for a in call.args):
        raise SkipFix(f"it has `{scalars[0]}` already")
    after_self = function and scalars[0] == "beta"
    # where each scalar stands: `beta` before `self`, the others right behind it, or first
    at = [0, 2][: len(scalars)] if after_self else [i + function for i in range(len(scalars))]
    tensors = [script.code(value) for i, value in enumerate(given) if i not in at]
    named = [f"{word}={_argument(script, given[i])}" for word, i in zip(scalars, at, strict=True)]
    texts = [*tensors, *named]
    pairs = [(script.outer(old), text) for old, text in zip(given, texts, strict=True)]
    return Change(tuple(replaced(span, text) for span, text in pairs if script.text[slice(*span)] != text))


def _argument(script: Script, value: cst.BaseExpression) -> str:
    text = script.code(value)
    return f"({text})" if isinstance(value, cst.NamedExpr) and not value.lpar else text


def _torch(script: Script) -> set[str]:
    """The names by which the script has torch."""
    found = {"torch"}
    for statement in script.inside(script.module, cst.Import):
        found |= {code(a.asname.name) for a in statement.names if a.asname and code(a.name) == "torch"}
    return found
