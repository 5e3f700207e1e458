"""Conditions as text: joined with others, negated, in no more brackets than they need."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from paramlint.rewrite.edits import Edit, inserted
from paramlint.rewrite.script import Script

#: How tightly an expression binds: a conditional expression, `or`, `and`, `not`, a comparison, anything else.
LOOSE, OR, AND, NOT, COMPARISON, TIGHT = range(6)

_OPPOSITES: dict[type[cst.BaseCompOp], str] = {
    cst.LessThan: ">=",
    cst.LessThanEqual: ">",
    cst.GreaterThan: "<=",
    cst.GreaterThanEqual: "<",
    cst.Equal: "!=",
    cst.NotEqual: "==",
    cst.In: "not in",
    cst.NotIn: "in",
    cst.Is: "is not",
    cst.IsNot: "is",
}
_LOOSE = (cst.Lambda, cst.IfExp, cst.NamedExpr, cst.Yield, cst.Tuple, cst.StarredElement)
Code = Callable[[cst.CSTNode], str]


def bound(node: cst.CSTNode) -> int:
    """How tightly an expression binds, with the brackets that it has."""
    if getattr(node, "lpar", ()):
        return TIGHT
    if isinstance(node, _LOOSE):
        return LOOSE
    if isinstance(node, cst.BooleanOperation):
        return OR if isinstance(node.operator, cst.Or) else AND
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
        return NOT
    return COMPARISON if isinstance(node, cst.Comparison) else TIGHT


def operand(text: str, binds: int, least: int) -> str:
    """An expression where only one that binds as tightly as `least` may stand without brackets."""
    return text if binds >= least else f"({text})"


def room(script: Script, node: cst.CSTNode) -> int:
    """How tightly an expression must bind to stand where this one does, inside of its brackets."""
    if getattr(node, "lpar", ()):
        return LOOSE
    match script.parent(node):
        case cst.BooleanOperation(operator=cst.And()):
            return AND
        case cst.BooleanOperation():
            return OR
        case cst.UnaryOperation(operator=cst.Not()):
            return NOT
        case cst.UnaryOperation() | cst.BinaryOperation() | cst.Comparison() | cst.ComparisonTarget():
            return TIGHT
        case cst.Attribute() | cst.Subscript() | cst.Call() | cst.Await():
            return TIGHT
        case cst.CompIf() | cst.IfExp() | cst.CompFor():
            return OR
    return LOOSE


def parts(node: cst.BaseExpression, operator: type[cst.BaseBooleanOp]) -> list[cst.BaseExpression]:
    """The operands of a chain of `and` or of `or`, [node] where it is none; brackets around the whole do not count."""
    found: list[cst.BaseExpression] = []
    rest = node
    while isinstance(rest, cst.BooleanOperation) and isinstance(rest.operator, operator):
        if rest is not node and rest.lpar:
            break
        found.insert(0, rest.right)
        rest = rest.left
    return [rest, *found]


def whole(script: Script, node: cst.BaseExpression) -> cst.BaseExpression:
    """The chain of `and` or of `or` that a condition is an operand of, or the condition itself."""
    above = script.parent(node)
    while isinstance(above, cst.BooleanOperation):
        node, above = above, script.parent(above)
        if node.lpar:
            break
    return node


def is_trainable_test(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Attribute) and node.attr.value == "requires_grad"


def negation(node: cst.BaseExpression, code: Code) -> tuple[str, int]:
    """What is true where a condition is not, and how tightly that binds."""
    for operator, word, binds in ((cst.And, " or ", OR), (cst.Or, " and ", AND)):
        inner = parts(node, operator)
        if len(inner) > 1:
            return word.join(operand(*negation(part, code), binds + 1) for part in inner), binds
    match node:
        case cst.UnaryOperation(operator=cst.Not(), expression=inside):
            return _bare(inside, code)
        case cst.Comparison(left=left, comparisons=[target]) if type(target.operator) in _OPPOSITES:
            word = _OPPOSITES[type(target.operator)]
            return f"{code(left)} {word} {code(target.comparator)}", COMPARISON
        case cst.Name(value="True" | "False" as value):
            return str(value == "False"), TIGHT
    text, binds = _bare(node, code)
    return f"not {operand(text, binds, TIGHT)}", NOT


def complement(node: cst.BaseExpression, code: Code) -> tuple[str, int]:
    """What sends a parameter to the other side. Tests of `requires_grad` leave out, they do not decide: those stay."""
    inner = parts(node, cst.And)
    kept = [code(part) for part in inner if is_trainable_test(part)]
    rest = [part for part in inner if not is_trainable_test(part)]
    if not kept or not rest:
        return negation(node, code)
    negated = [negation(part, code) for part in rest]
    if len(negated) == 1:
        text, binds = negated[0]
    else:
        text, binds = " or ".join(operand(*one, AND) for one in negated), OR
    return " and ".join([*kept, operand(text, binds, AND)]), AND


def conjoined(script: Script, node: cst.BaseExpression, test: str) -> list[Edit]:
    """Adds `and test` at the end of a condition."""
    return _joined(script, node, test, cst.And, "and", AND)


def disjoined(script: Script, node: cst.BaseExpression, test: str) -> list[Edit]:
    """Adds `or test` at the end of a condition, inside of what must be trainable."""
    inner = parts(node, cst.And)
    rest = [part for part in inner if not is_trainable_test(part)]
    if len(inner) == 1 or len(rest) == len(inner) or not rest:
        return _joined(script, node, test, cst.Or, "or", OR)
    if len(rest) == 1:
        return _joined(script, rest[0], test, cst.Or, "or", OR)
    first, last = inner.index(rest[0]), inner.index(rest[-1])
    if last - first + 1 != len(rest):  # a test of requires_grad in the middle goes with the others
        kept = next(script.code(part) for part in inner if is_trainable_test(part))
        start, end = script.span(node)
        return [Edit(start, end, f"{kept} and ({script.text[start:end]} or {test})")]
    return [
        inserted(script.outer(rest[0])[0], "("),
        inserted(script.outer(rest[-1])[1], f" or {test})"),
    ]


def _joined(
    script: Script, node: cst.BaseExpression, test: str, operator: type[cst.BaseBooleanOp], word: str, level: int
) -> list[Edit]:
    start, end = script.span(node)
    binds = bound(node.with_changes(lpar=[], rpar=[]))
    bracketed = bool(getattr(node, "lpar", ()))
    more = f"{_gap(script, node, operator)}{word} {test}"
    if binds < level:  # what is there goes into brackets; its own are around the whole
        if bracketed and _outside(script, node) <= level:
            return [inserted(script.outer(node)[1], f" {word} {test}")]
        return [inserted(start, "("), inserted(end, f") {word} {test}")]
    if not bracketed and room(script, node) > level:
        return [inserted(start, "("), inserted(end, f"{more})")]
    return [inserted(end, more)]


def _outside(script: Script, node: cst.BaseExpression) -> int:
    """As `room`, outside of its brackets."""
    match script.parent(node):
        case cst.If() | cst.CompIf() | cst.While() | cst.Assign() | cst.Return():
            return OR
        case cst.BooleanOperation(operator=cst.And()):
            return AND
    return TIGHT


def _gap(script: Script, node: cst.BaseExpression, operator: type[cst.BaseBooleanOp]) -> str:
    """A space, or the line break that stands before the last operand of a chain."""
    inner = parts(node, operator)
    if len(inner) < 2:
        return " "
    before, last = script.outer(inner[-2])[1], script.outer(inner[-1])
    between = script.text[before : last[0]]
    lead = between[: len(between) - len(between.lstrip())]
    end = script.span(node)[1]
    following = script.text[end : script.line_range(script.line(end))[1]]
    if ("\n" not in lead and "\r" not in lead) or "#" in following or "\\" in lead:
        return " "
    return lead


def _bare(node: cst.BaseExpression, code: Code) -> tuple[str, int]:
    """A condition without the brackets around it."""
    if not getattr(node, "lpar", ()):
        return code(node), bound(node)
    text = code(node)
    for _ in node.lpar:
        text = text[1:-1].strip()
    if "\n" in text or "\r" in text:
        return code(node), TIGHT
    return text, bound(node.with_changes(lpar=[], rpar=[]))
