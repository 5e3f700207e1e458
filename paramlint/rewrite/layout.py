"""Lines that have become too long, over several, as formatters break them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import libcst as cst

from paramlint.rewrite.edits import Edit, replaced
from paramlint.rewrite.edits import apply as edited
from paramlint.rewrite.script import Script

_COMPREHENSIONS = (cst.ListComp, cst.SetComp, cst.GeneratorExp, cst.DictComp)
_DISPLAYS = (cst.List, cst.Set)
_BRACKETED = (*_COMPREHENSIONS, *_DISPLAYS, cst.Call)


def fitted(line: str, width: int) -> str:
    """A new statement, its first comprehension or display over several lines where it is longer than `width`. Steps of
    indentation are written as tabs."""
    return line if len(line) <= width else broken(line, width)


def broken(line: str, width: int) -> str:
    """As `fitted`, of a statement that is too long in any case."""
    script = Script(f"{line}\n")
    found = next(script.inside(script.module, *_COMPREHENSIONS, *_DISPLAYS), None)
    if found is None:
        return line
    start, end = script.outer(found)
    rows = _spread(line[start:end], 0, 4, width, together=isinstance(found, _COMPREHENSIONS))
    return line[:start] + "\n".join(rows) + line[end:]


def laid_out(script: Script, edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The edits, with what they make longer than the script's lines are broken up. What was as long before stays."""
    edits = list(edits)
    for row in sorted({script.line(e.start) for e in edits if not e.line}):
        first, past = script.line_range(row)
        here = [e for e in edits if not e.line and first <= e.start and e.end <= past and "\n" not in e.text]
        old = script.text[first : next((a for a, _ in script.comments if first <= a < past), past)].rstrip()
        new = edited(old, (Edit(e.start - first, e.end - first, e.text) for e in here))
        if _size(new) <= script.width or _size(old) > script.width:
            continue
        for node in _places(script, here, first, past):
            start, end = script.outer(node)
            inside = [e for e in here if start <= e.start and e.end <= end]
            text = edited(script.text[start:end], (Edit(e.start - start, e.end - start, e.text) for e in inside))
            margin = script.margin(start)
            step = _size(script.unit)
            room = script.width - _size(margin)
            rows = _spread(text, 0, step, room) if isinstance(node, _BRACKETED) else _condition(text)
            if len(rows) > 1:
                edits = [e for e in edits if e not in inside]
                text = script.newline.join([rows[0], *(margin + _stepped(r, script.unit) for r in rows[1:])])
                edits.append(replaced((start, end), text))
    return tuple(edits)


def _size(text: str) -> int:
    return len(text.expandtabs(4))


def _stepped(row: str, unit: str) -> str:
    bare = row.lstrip("\t")
    return unit * (len(row) - len(bare)) + bare


def _places(script: Script, edits: Sequence[Edit], first: int, past: int) -> list[cst.BaseExpression]:
    """What of a line can be broken: the condition of an if, or what has the outermost brackets around an edit."""
    found: list[cst.BaseExpression] = []
    for e in edits:
        around = [
            n
            for n in script.expressions()
            if first <= script.outer(n)[0] <= e.start and e.end <= script.outer(n)[1] <= past
        ]
        tests = [n for n in around if isinstance(above := script.parent(n), cst.If) and above.test is n]
        brackets = [n for n in around if isinstance(n, _BRACKETED) and _opening(script, n) < e.start]
        for one in (tests or brackets)[:1]:
            found += [one] if one not in found else []
    return found


def _opening(script: Script, node: cst.BaseExpression) -> int:
    """Where the opening bracket of a call, a display or a comprehension stands."""
    if not isinstance(node, cst.Call):
        return script.outer(node)[0]
    return script.text.index("(", script.outer(node.func)[1])


def _spread(text: str, width: int, step: int, room: int, *, together: bool = True) -> list[str]:
    """An expression over several lines, one of them where it cannot be.

    Args:
        width: of what stands in the first line.
        step: how far what is in brackets is indented.
        room: of the lines after it.
        together: whether all that is in the brackets may stand in one line.
    """
    if _size(text) <= width:
        return [text]
    script = Script(f"{text}\n")
    whole = script.find(0, len(text), *_BRACKETED)
    if whole is None or (whole.lpar and not isinstance(whole, cst.GeneratorExp)):
        return [text]
    opening = _opening(script, whole)
    of = whole.args[0].value if isinstance(whole, cst.Call) and len(whole.args) == 1 else whole
    loops = of if isinstance(of, cst.GeneratorExp) or of is whole else None
    parts = _clauses(script, loops) if isinstance(loops, _COMPREHENSIONS) else _elements(script, whole)
    joined = (" " if isinstance(loops, _COMPREHENSIONS) else ", ").join(parts)
    if together and _size(joined) <= room - step:
        rows = [joined]
    elif isinstance(loops, _COMPREHENSIONS):
        rows = [row for part in parts for row in _test(part, room - step)]
    else:
        comma = "" if isinstance(whole, cst.Call) and len(parts) == 1 else ","
        rows = []
        for part in parts:
            head, inner = _argument(part)
            first, *others = _spread(inner, room - step - len(head) - len(comma), step, room - step)
            rows += [head + first, *others]
            rows[-1] += comma
    return [text[: opening + 1], *(f"\t{row}" for row in rows), text[-1]]


def _elements(script: Script, node: cst.CSTNode) -> list[str]:
    """The arguments of a call, or what is in a display."""
    given = getattr(node, "args", ()) or getattr(node, "elements", ())
    return [script.text[slice(*script.span(one))].rstrip(", ") for one in given]


def _clauses(script: Script, node: cst.BaseExpression) -> list[str]:
    """What a comprehension takes, and each `for` and `if` of it."""
    start, end = script.outer(node)
    loop: cst.CompFor | None = getattr(node, "for_in", None)
    starts = [start + 1]
    while loop is not None:
        starts.append(_keyword(script, script.outer(loop.target)[0], "for"))
        starts += (_keyword(script, script.outer(one.test)[0], "if") for one in loop.ifs)
        loop = loop.inner_for_in
    return [script.text[a:b].strip() for a, b in zip(starts, [*starts[1:], end - 1], strict=True)]


def _argument(part: str) -> tuple[str, str]:
    """What stands before the value of an argument, and the value."""
    name, equals, value = part.partition("=")
    if equals and name.strip().isidentifier() and not value.startswith("="):
        return name + equals, value
    return "", part


def _keyword(script: Script, offset: int, word: str) -> int:
    """Where a keyword stands before an expression."""
    at = script.text.rindex(word, 0, offset)
    before = script.text[:at].rstrip()
    return before.rindex("async") if word == "for" and before.endswith("async") else at


def _test(part: str, width: int) -> list[str]:
    """The condition of a comprehension, broken at its operators where it is longer than a line."""
    if _size(part) <= width or not part.startswith("if "):
        return [part]
    rows = _operands(part.removeprefix("if "))
    return [f"if {rows[0]}", *rows[1:]]


def _condition(text: str) -> list[str]:
    """The condition of an if, in brackets, broken at its operators."""
    rows = _operands(text)
    return ["(", *(f"\t{row}" for row in rows), ")"] if len(rows) > 1 else rows


def _operands(text: str) -> list[str]:
    """The operands of a chain of `and` or of `or`, all but the first behind their operator."""
    script = Script(f"{text}\n")
    chain = script.find(0, len(text), cst.BooleanOperation)
    if chain is None or (chain.lpar and script.span(chain) == (0, len(text))):
        return [text]
    found: list[str] = []
    rest: cst.BaseExpression = chain
    while isinstance(rest, cst.BooleanOperation) and type(rest.operator) is type(chain.operator):
        if rest is not chain and rest.lpar:
            break
        word = "and" if isinstance(rest.operator, cst.And) else "or"
        found.insert(0, f"{word} {script.code(rest.right)}")
        rest = rest.left
    return [script.code(rest), *found]
