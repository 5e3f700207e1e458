"""Calls with other arguments, in the layout that they have: lines, comments and trailing commas stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst

_Space = cst.BaseParenthesizableWhitespace
_NO_SPACE = cst.SimpleWhitespace("")


def argument(value: str, name: str = "") -> cst.Arg:
    """`name=value`, or `value`; in brackets where it has lines that only those of the call held together."""
    try:
        node = cst.parse_expression(value)
    except cst.ParserSyntaxError:
        node = cst.parse_expression(f"({value})")
    if not name:
        return cst.Arg(node)
    return cst.Arg(node, keyword=cst.Name(name), equal=cst.AssignEqual(_NO_SPACE, _NO_SPACE))


def replaced(call: cst.Call, func: str, new: Mapping[int, Sequence[cst.Arg]]) -> tuple[cst.Call, list[str]]:
    """The call of `func`, with `new[i]` in the place of argument i, and the comments that were lost with one.

    A comment at the end of the line of an argument that goes is lost; those on lines of their own stay.
    """
    gaps: list[_Space] = [call.whitespace_before_args]  # before each argument that is kept, and after the last
    kept: list[cst.Arg] = []
    lost: list[str] = []
    comma = False
    for i, old in enumerate(call.args):
        comma = isinstance(old.comma, cst.Comma)
        after = old.comma.whitespace_after if isinstance(old.comma, cst.Comma) else old.whitespace_after_arg
        if not new[i]:
            gaps[-1], comment = _merged(gaps[-1], after, i + 1 == len(call.args))
            lost += [comment] if comment else []
            continue
        between = cst.SimpleWhitespace(" ") if _simple(gaps[-1]) else _bare(gaps[-1])
        for one in new[i]:
            kept.append(one)
            gaps.append(between)
        gaps[-1] = after
    args = [
        one.with_changes(comma=cst.Comma(whitespace_after=gap), whitespace_after_arg=_NO_SPACE)
        for one, gap in zip(kept[:-1], gaps[1:-1], strict=True)
    ]
    if comma and not _simple(gaps[-1]):
        args.append(kept[-1].with_changes(comma=cst.Comma(whitespace_after=gaps[-1]), whitespace_after_arg=_NO_SPACE))
    else:
        args.append(kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=gaps[-1]))
    return call.with_changes(func=cst.Name(func), args=args, whitespace_before_args=gaps[0]), lost


def wrapped(call: cst.Call, name: str, unit: str) -> cst.Call:
    """The call as the argument of another, a step further in where it has lines of its own."""
    outer = cst.Call(cst.Name(name), [cst.Arg(call)], lpar=call.lpar, rpar=call.rpar)
    inner = call.with_changes(lpar=[], rpar=[])
    last = inner.args[-1]
    closing = last.comma.whitespace_after if isinstance(last.comma, cst.Comma) else last.whitespace_after_arg
    if not isinstance(closing, cst.ParenthesizedWhitespace):
        return outer.with_changes(args=[cst.Arg(inner)])
    margin = closing.last_line.value
    inner = cst.ensure_type(inner.visit(_Inwards(unit)), cst.Call)
    return outer.with_changes(
        whitespace_before_args=_broken(margin + unit),
        args=[cst.Arg(inner, whitespace_after_arg=_broken(margin))],
    )


def aligned(call: cst.Call, column: int, shift: int) -> cst.Call:
    """Lines that begin at `column`, counted from the statement's, right behind the bracket, stay right behind it."""
    if not _simple(call.whitespace_before_args):
        return call
    args = []
    for arg in call.args:
        gap = arg.comma.whitespace_after if isinstance(arg.comma, cst.Comma) else _NO_SPACE
        if isinstance(gap, cst.ParenthesizedWhitespace) and len(gap.last_line.value) == column:
            start = cst.SimpleWhitespace(" " * (column + shift))
            lines = [e.with_changes(whitespace=start) if e.comment else e for e in gap.empty_lines]
            gap = gap.with_changes(empty_lines=lines, last_line=start)
            arg = arg.with_changes(comma=cst.Comma(whitespace_after=gap))
        args.append(arg)
    return call.with_changes(args=args)


def exploded(call: cst.Call, unit: str, margin: str = "") -> cst.Call:
    """One argument to a line, indented by one step more than `margin`, which counts from the statement's column."""
    gaps = [_broken(margin + unit)] * (len(call.args) - 1) + [_broken(margin)]
    args = [
        a.with_changes(comma=cst.Comma(whitespace_after=gap), whitespace_after_arg=_NO_SPACE)
        for a, gap in zip(call.args, gaps, strict=True)
    ]
    return call.with_changes(args=args, whitespace_before_args=_broken(margin + unit))


class _Inwards(cst.CSTTransformer):
    """Moves the continuation lines of an expression to the right."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def leave_ParenthesizedWhitespace(
        self, original_node: cst.ParenthesizedWhitespace, updated_node: cst.ParenthesizedWhitespace
    ) -> cst.ParenthesizedWhitespace:
        lines = [
            e.with_changes(whitespace=cst.SimpleWhitespace(e.whitespace.value + self._unit)) if e.comment else e
            for e in updated_node.empty_lines
        ]
        last = cst.SimpleWhitespace(updated_node.last_line.value + self._unit)
        return updated_node.with_changes(empty_lines=lines, last_line=last)


def _broken(indent: str) -> cst.ParenthesizedWhitespace:
    return cst.ParenthesizedWhitespace(
        first_line=cst.TrailingWhitespace(whitespace=_NO_SPACE), indent=True, last_line=cst.SimpleWhitespace(indent)
    )


def _simple(space: _Space) -> bool:
    return isinstance(space, cst.SimpleWhitespace)


def _bare(space: _Space) -> _Space:
    """The same layout without comments."""
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return space
    line = cst.TrailingWhitespace(whitespace=_NO_SPACE, newline=space.first_line.newline)
    return space.with_changes(first_line=line, empty_lines=[])


def _merged(before: _Space, after: _Space, last: bool) -> tuple[_Space, str]:
    """What stands between the neighbours of an argument that goes, and the comment that goes with it."""
    if not isinstance(before, cst.ParenthesizedWhitespace):
        return after if last or not _simple(after) else before, ""
    if not isinstance(after, cst.ParenthesizedWhitespace):
        said = before.first_line.comment is not None or any(e.comment for e in before.empty_lines)
        return after if last and not said else before, ""
    comment = after.first_line.comment
    lines = [*before.empty_lines, *after.empty_lines]
    return after.with_changes(first_line=before.first_line, empty_lines=lines), comment.value if comment else ""
