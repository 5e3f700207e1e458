"""Iterators that become lists, and sets that become something with an order."""

from __future__ import annotations

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite import lines
from paramlint.rewrite.edits import Change, SkipFix, inserted, replaced
from paramlint.rewrite.script import Script, code
from paramlint.rewrite.sites import node, text_of

_KEEPS = ("list", "tuple", "sorted", "dict")
#: What a set can do and a dict cannot, or does otherwise.
_OF_SETS = (
    *("add", "difference", "difference_update", "discard", "intersection", "intersection_update", "isdisjoint"),
    *("issubset", "issuperset", "pop", "remove", "symmetric_difference", "symmetric_difference_update", "union"),
    "update",
)
_SETS = (cst.Call, cst.Set, cst.SetComp)
_ORDER = (cst.In, cst.NotIn, cst.Is, cst.IsNot)


def wrap_list(script: Script, fix: Fix) -> Change:
    if "parameter" in fix.data:
        return _argument(script, fix)
    there = node(script, fix, "expression", cst.BaseExpression)
    if _kept(script, there) or isinstance(there, (cst.List, cst.ListComp)):
        raise SkipFix("it is a list already")
    if isinstance(script.parent(there), (cst.AssignTarget, cst.NamedExpr)) and not _is_value(script, there):
        raise SkipFix("it is assigned to, not read")
    start, end = script.span(there)
    if isinstance(there, cst.GeneratorExp) and there.lpar:
        return Change((inserted(script.outer(there)[0], "list"),))
    bare = isinstance(there, (cst.Tuple, cst.Yield)) and not there.lpar
    opening, closing = ("list((", "))") if bare else ("list(", ")")
    return Change((inserted(start, opening), inserted(end, closing)))


def ordered_set(script: Script, fix: Fix) -> Change:
    there: cst.BaseExpression = node(script, fix, "set", *_SETS)
    if isinstance(there, cst.Call) and code(there.func) in _KEEPS and len(there.args) == 1:
        inner = there.args[0].value
        there = inner if isinstance(inner, _SETS) else there
    _refuse_set_only(script, there)
    start, end = script.span(there)
    if isinstance(there, cst.Call):
        if code(there.func) == "dict.fromkeys":
            raise SkipFix("it has an order already")
        if code(there.func) not in ("set", "frozenset"):
            raise SkipFix("it is no set")
        if len(there.args) != 1 or there.args[0].star:
            raise SkipFix("nothing is put in here")
        return Change((replaced(script.span(there.func), "dict.fromkeys"),))
    opening, closing = (start, start + 1), (end - 1, end)
    if isinstance(there, cst.Set):
        only = there.elements[0] if len(there.elements) == 1 else None
        if isinstance(only, cst.StarredElement) and only.comma is cst.MaybeSentinel.DEFAULT:
            star = script.text.index("*", start)
            past = script.outer(only.value)[0]
            return Change((replaced(opening, "dict.fromkeys("), replaced((star, past), ""), replaced(closing, ")")))
        return Change((replaced(opening, "dict.fromkeys(["), replaced(closing, "])")))
    return Change((replaced(opening, "dict.fromkeys("), replaced(closing, ")")))


def _argument(script: Script, fix: Fix) -> Change:
    name = text_of(fix, "parameter")
    there = node(
        script, fix, "function or statement", cst.FunctionDef, cst.BaseSmallStatement, cst.BaseCompoundStatement
    )
    if not isinstance(there, cst.FunctionDef):
        return _before(script, there, name)
    function = there
    given = function.params
    if any(isinstance(p, cst.Param) and p.name.value == name for p in (given.star_arg, given.star_kwarg)):
        raise SkipFix(f"`{name}` can be walked twice")
    found = [p for p in (*given.posonly_params, *given.params, *given.kwonly_params) if p.name.value == name]
    if not found:
        raise SkipFix(f"the function has no parameter `{name}`")
    if lines.docstring_only(function.body):
        raise SkipFix("the function does nothing")
    statement = f"{name} = list({name})"
    default = found[0].default
    if isinstance(default, cst.Name) and default.value == "None":
        statement = f"{name} = None if {name} is None else list({name})"
    for one in script.inside(function.body, cst.Assign):
        if script.function(one) is function and code(one).rstrip("; ") == statement:
            raise SkipFix("it is a list already")
    return Change((lines.first_in(script, function.body, [statement]),))


def _before(script: Script, there: cst.CSTNode, name: str) -> Change:
    """A statement of its own before the one that walks it."""
    statement, made = lines.statement_of(script, there), f"{name} = list({name})"
    around = lines.siblings(script, statement)
    at = around.index(statement)
    if at and code(around[at - 1]).rstrip("; ") == made:
        raise SkipFix("it is a list already")
    return Change((lines.before(script, statement, [made]),))


def _kept(script: Script, there: cst.CSTNode) -> bool:
    """Whether what stands there is put into a list, or is what makes one."""
    if isinstance(there, cst.Call) and code(there.func) in _KEEPS:
        return True
    argument = script.parent(there)
    if isinstance(argument, cst.Call) and argument.func is there and code(there) in _KEEPS:
        return True
    call = script.parent(argument) if isinstance(argument, cst.Arg) else None
    return isinstance(call, cst.Call) and code(call.func) in _KEEPS and len(call.args) == 1


def _is_value(script: Script, there: cst.CSTNode) -> bool:
    return getattr(script.parent(there), "value", None) is there


def _refuse_set_only(script: Script, there: cst.BaseExpression) -> None:
    """
    Raises:
        SkipFix: what is there is used as only a set can be.
    """
    _refuse_use(script, there)
    statement = script.parent(there)
    if isinstance(statement, cst.AnnAssign) and "set" in code(statement.annotation.annotation).lower():
        raise SkipFix("it is declared as a set")
    target: cst.CSTNode | None = None
    if isinstance(statement, cst.Assign) and len(statement.targets) == 1:
        target = statement.targets[0].target
    elif isinstance(statement, (cst.AnnAssign, cst.NamedExpr)):
        target = statement.target
    if not isinstance(target, (cst.Name, cst.Attribute)):
        return
    name = code(target)
    scope = script.function(there) or script.module
    for use in script.inside(scope, cst.Name, cst.Attribute):
        if use is not target and type(use) is type(target) and code(use.with_changes(lpar=[], rpar=[])) == name:
            _refuse_use(script, use)


def _refuse_use(script: Script, use: cst.CSTNode) -> None:
    match script.parent(use):
        case cst.BinaryOperation() | cst.AugAssign():
            raise SkipFix("set arithmetic is done with it")
        case cst.Attribute(value=value, attr=attr) if value is use and attr.value in _OF_SETS:
            raise SkipFix(f"`.{attr.value}` is called on it")
        case cst.Comparison(comparisons=comparisons) if not isinstance(comparisons[0].operator, _ORDER):
            raise SkipFix("it is compared as a set")
        case cst.ComparisonTarget(operator=operator) if not isinstance(operator, _ORDER):
            raise SkipFix("it is compared as a set")
