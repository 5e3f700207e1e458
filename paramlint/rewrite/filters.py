"""Comprehensions, loops and calls that take fewer parameters than they did."""

from __future__ import annotations

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite import lines
from paramlint.rewrite.conditions import bound, conjoined, disjoined, operand, parts, whole
from paramlint.rewrite.edits import Change, Edit, SkipFix, inserted, replaced
from paramlint.rewrite.names import apart
from paramlint.rewrite.script import Script, code
from paramlint.rewrite.sites import COMPREHENSIONS, Comprehension, also, bound_by, node, text_of, texts_of

_BINDS_OR = 1


def only_trainable(script: Script, fix: Fix) -> Change:
    there: cst.CSTNode = node(script, fix, "loop or expression", cst.For, cst.BaseExpression)
    if isinstance(there, cst.BaseExpression):
        return _fewer(script, there, fix, ".requires_grad")
    loop = cst.ensure_type(there, cst.For)
    name = text_of(fix, "parameter", "p")
    test = f"{name}.requires_grad"
    if name not in bound_by(loop.target):
        raise SkipFix(f"the loop binds no `{name}`")
    if any(code(i.test) in (f"not {test}", test) for i in script.inside(loop.body, cst.If)):
        raise SkipFix("it looks at requires_grad already")
    return Change((lines.first_in(script, loop.body, [f"if not {test}:\n\tcontinue"]),))


def only_matrices(script: Script, fix: Fix) -> Change:
    there = node(script, fix, "condition or expression", cst.BaseExpression)
    if isinstance(there, COMPREHENSIONS) or _is_parameters(there):
        change = _fewer(script, there, fix, ".ndim >= 2")
        rest = texts_of(fix, "rest")
        return Change((*change.edits, _others(script, there, rest[0], fix))) if rest else change
    name = text_of(fix, "parameter", "p")
    if _tests_ndim(whole(script, there), name):
        raise SkipFix("it looks at the number of dimensions already")
    edits = conjoined(script, there, f"{name}.ndim >= 2")
    for other, own in also(script, fix):
        if other is there or not isinstance(other, cst.BaseExpression):
            raise SkipFix("the other condition is none")
        edits += disjoined(script, other, f"{own}.ndim < 2")
    return Change(tuple(edits))


def filtered(script: Script, there: Comprehension, name: str, test: str) -> list[Edit]:
    """Adds a condition to the part of a comprehension that binds a name."""
    loop: cst.CompFor | None = there.for_in
    while loop is not None and name not in bound_by(loop.target):
        loop = loop.inner_for_in
    if loop is None:
        raise SkipFix(f"the comprehension binds no `{name}`")
    if not loop.ifs:
        return [inserted(script.outer(loop.iter)[1], f" if {test}")]
    first = loop.ifs[0].test
    if any(code(part) == test for one in loop.ifs for part in parts(one.test, cst.And)):
        raise SkipFix("it has that condition already")
    if bound(first) <= _BINDS_OR:
        start, end = script.outer(first)
        return [inserted(start, f"{test} and ("), inserted(end, ")")]
    return [inserted(script.outer(first)[0], f"{test} and ")]


def _fewer(script: Script, there: cst.BaseExpression, fix: Fix, test: str) -> Change:
    name = text_of(fix, "parameter", "p")
    if isinstance(there, COMPREHENSIONS):
        return Change(tuple(filtered(script, there, name, name + test)))
    above = next((a for a in script.ancestors(there) if isinstance(a, COMPREHENSIONS)), None)
    if above is not None and above.for_in.iter is there and name in bound_by(above.for_in.target):
        return Change(tuple(filtered(script, above, name, name + test)))
    source = there
    if isinstance(there, cst.Call) and code(there.func) in ("list", "tuple") and len(there.args) == 1:
        source = there.args[0].value
    if isinstance(source, COMPREHENSIONS):
        return Change(tuple(filtered(script, source, name, name + test)))
    if isinstance(source, (cst.List, cst.Set, cst.Dict, cst.Lambda, cst.BaseString, cst.BaseNumber)):
        raise SkipFix("its parameters are not listed here")
    if isinstance(script.parent(there), (cst.AssignTarget, cst.For)) and not isinstance(there, cst.Call):
        raise SkipFix("it is no expression that lists parameters")
    taken, shown = _comprehension(script, source, name)
    text = f"[{_element(taken)} for {taken} in {shown} if {name}{test}]"
    return Change((replaced(script.span(there), text),))


def _comprehension(script: Script, source: cst.BaseExpression, name: str) -> tuple[str, str]:
    """What the elements of an expression are called, and the expression as one can walk it."""
    shown = operand(script.code(source), bound(source), _BINDS_OR)
    named = isinstance(source, cst.Call) and code(source.func).rpartition(".")[2] == "named_parameters"
    return (f"{apart('n', name)}, {name}" if named else name), shown


def _element(taken: str) -> str:
    return f"({taken})" if "," in taken else taken


def _others(script: Script, there: cst.BaseExpression, rest: str, fix: Fix) -> Edit:
    """A statement that gives the others to another list."""
    name = text_of(fix, "parameter", "p")
    if isinstance(there, COMPREHENSIONS):
        raise SkipFix("what is left out cannot be told")
    source = there.args[0].value if isinstance(there, cst.Call) and there.args else there
    taken, shown = _comprehension(script, source, name)
    line = f"{rest}.extend({_element(taken)} for {taken} in {shown} if {name}.ndim < 2)".replace(script.newline, "\n")
    return lines.after(script, lines.statement_of(script, there), [line])


def _is_parameters(there: cst.BaseExpression) -> bool:
    if not isinstance(there, cst.Call):
        return False
    if code(there.func) in ("list", "tuple") and len(there.args) == 1:
        return isinstance(there.args[0].value, cst.Call | cst.Name | cst.Attribute)
    return code(there.func).rpartition(".")[2] in ("parameters", "named_parameters")


def _tests_ndim(there: cst.BaseExpression, name: str) -> bool:
    """Whether a condition holds for matrices alone already."""
    said = {f"{name}.{ndim} {test}" for ndim in ("ndim", "dim()") for test in (">= 2", "== 2", "> 1")}
    said |= {f"len({name}.{shape}) {test}" for shape in ("shape", "size()") for test in (">= 2", "== 2", "> 1")}
    return any(" ".join(code(part).split()) in said for part in parts(there, cst.And))
