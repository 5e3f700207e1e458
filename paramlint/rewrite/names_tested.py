"""Which conditions are tests of a parameter's name, and by which pieces of it."""

from __future__ import annotations

import ast

import libcst as cst

from paramlint.rewrite.conditions import parts
from paramlint.rewrite.script import Script, code


def excluded(script: Script, node: cst.BaseExpression) -> tuple[str, ...]:
    """The pieces of names that a condition keeps out, and nothing else; () where it is about more than that."""
    match node:
        case cst.Comparison(left=left, comparisons=[cst.ComparisonTarget(operator=cst.NotIn(), comparator=right)]):
            return _membership(script, left, right)
        case cst.Comparison(left=left, comparisons=[cst.ComparisonTarget(operator=cst.NotEqual(), comparator=right)]):
            return _equality(left, right)
        case cst.UnaryOperation(operator=cst.Not(), expression=inner):
            return included(script, inner)
        case cst.Call(func=cst.Name(value="all"), args=[cst.Arg(value=cst.GeneratorExp() as each)]):
            return _each(script, each, cst.NotIn)
    return ()


def included(script: Script, node: cst.BaseExpression) -> tuple[str, ...]:
    """The pieces of names that a condition takes, and nothing else; () where it is about more than that."""
    inner = parts(node, cst.Or)
    if len(inner) > 1:
        found = [included(script, part) for part in inner]
        return tuple(n for needles in found for n in needles) if all(found) else ()
    match node:
        case cst.Comparison(left=left, comparisons=[cst.ComparisonTarget(operator=cst.In(), comparator=right)]):
            return _membership(script, left, right)
        case cst.Comparison(left=left, comparisons=[cst.ComparisonTarget(operator=cst.Equal(), comparator=right)]):
            return _equality(left, right)
        case cst.Call(func=cst.Attribute(value=of, attr=cst.Name(value="startswith" | "endswith")), args=[arg]):
            return _strings(script, arg.value) if _is_name(of) else ()
        case cst.Call(func=cst.Name(value="any"), args=[cst.Arg(value=cst.GeneratorExp() as each)]):
            return _each(script, each, cst.In)
    return ()


def _membership(script: Script, left: cst.BaseExpression, right: cst.BaseExpression) -> tuple[str, ...]:
    if isinstance(left, cst.BaseString):
        return _strings(script, left) if _is_name(right) else ()
    return _strings(script, right) if _is_name(left) and not isinstance(right, cst.BaseString) else ()


def _equality(left: cst.BaseExpression, right: cst.BaseExpression) -> tuple[str, ...]:
    for one, other in ((left, right), (right, left)):
        value = _string(other)
        if _is_name(one) and value:
            return (value,)
    return ()


def _each(script: Script, each: cst.GeneratorExp, operator: type[cst.BaseCompOp]) -> tuple[str, ...]:
    """Of `any(k in n for k in needles)`."""
    loop = each.for_in
    match each.elt:
        case cst.Comparison(left=cst.Name(value=k), comparisons=[target]) if isinstance(target.operator, operator):
            plain = code(loop.target) == k and not loop.ifs and loop.inner_for_in is None
            return _strings(script, loop.iter) if plain and _is_name(target.comparator) else ()
        case cst.Call(func=cst.Attribute(value=of, attr=cst.Name(value="startswith" | "endswith")), args=[arg]):
            plain = code(loop.target) == code(arg.value) and not loop.ifs and loop.inner_for_in is None
            return _strings(script, loop.iter) if plain and operator is cst.In and _is_name(of) else ()
    return ()


def _is_name(node: cst.BaseExpression) -> bool:
    """Whether it can be a parameter's name: a variable, or that in lower case."""
    match node:
        case cst.Call(func=cst.Attribute(value=of, attr=cst.Name(value="lower" | "casefold")), args=[]):
            return isinstance(of, cst.Name)
    return isinstance(node, cst.Name)


def _strings(script: Script, node: cst.BaseExpression) -> tuple[str, ...]:
    """A text, or the texts of a display, or of a list that is bound once, to such a display."""
    if isinstance(node, cst.Name):
        values = [a.value for a in script.inside(script.module, cst.Assign) if _is_target(a, node.value)]
        if len(values) != 1 or isinstance(values[0], cst.Name) or _grows(script, node.value):
            return ()
        return _strings(script, values[0])
    if isinstance(node, (cst.Tuple, cst.List, cst.Set)):
        found = [_string(e.value) for e in node.elements if isinstance(e, cst.Element)]
        return tuple(n for n in found if n) if all(found) and len(found) == len(node.elements) else ()
    value = _string(node)
    return (value,) if value else ()


def _is_target(statement: cst.Assign, name: str) -> bool:
    return any(isinstance(t.target, cst.Name) and t.target.value == name for t in statement.targets)


def _grows(script: Script, name: str) -> bool:
    """Whether a list is changed after it was bound."""
    added = any(code(a.target) == name for a in script.inside(script.module, cst.AugAssign))
    methods = ("append", "extend", "insert", "remove", "pop", "clear", "add", "discard", "update")
    reached = script.inside(script.module, cst.Attribute)
    return added or any(a.attr.value in methods and code(a.value) == name for a in reached)


def _string(node: cst.BaseExpression) -> str:
    if not isinstance(node, (cst.SimpleString, cst.ConcatenatedString)):
        return ""
    try:
        value = ast.literal_eval(code(node))
    except (ValueError, SyntaxError):
        return ""
    return value if isinstance(value, str) else ""
