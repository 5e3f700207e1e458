"""PML510: a capital that is looked for in lower-case text."""

from __future__ import annotations

from collections.abc import Iterator

from paramlint.checks.scripts.asked import is_name, literal
from paramlint.checks.scripts.context import ScriptContext
from paramlint.finding import Finding, Fix
from paramlint.source.terms import Op, Span, Term


def check(ctx: ScriptContext) -> Iterator[Finding]:
    """PML510."""
    for read in ctx.reads:
        for needle in dict.fromkeys(read.needles):
            lowered = _case(needle.within)
            if lowered is None or not is_name(needle.within) or not ctx.here(needle.span):
                continue
            meant = needle.text.lower() if lowered else needle.text.upper()
            if meant == needle.text:
                continue
            at = literal(ctx, read, needle)
            letter, kind = ("capital", "lower-case") if lowered else ("small letter", "upper-case")
            yield ctx.finding(
                "PML510",
                at or needle.span,
                f"{needle.text!r} has a {letter} and is looked for in {kind} text: it is in no name",
                f"look for {meant!r}",
                fix=_rewritten(ctx, at, needle.text, meant) if at else None,
            )


def _case(within: Term) -> bool | None:
    """Whether a text is all lower case for certain (True), or all upper case (False)."""
    while isinstance(within, Op):
        if within.op in ("method:lower", "method:casefold"):
            return True
        if within.op == "method:upper":
            return False
        if within.op not in ("getitem", "method:split", "method:rsplit", "method:partition", "method:strip"):
            return None
        within = within.args[0]
    return None


def _rewritten(ctx: ScriptContext, at: Span, text: str, meant: str) -> Fix | None:
    """The string as it is written, in the case that is meant."""
    if at.line != at.end_line:
        return None
    old = ctx.file.lines[at.line - 1][at.column - 1 : at.end_column - 1]
    if old[1:-1] != text or old[0] not in "'\"":
        return None
    data = {"text": f"{old[0]}{meant}{old[-1]}", "old": old}
    return Fix("replace-text", (at.line, at.column), (at.end_line, at.end_column), False, f"Look for {meant!r}", data)
