"""Comments that go, with their line where they had one to themselves."""

from __future__ import annotations

from paramlint.finding import Fix
from paramlint.rewrite.edits import Change, SkipFix, replaced
from paramlint.rewrite.script import Script


def remove_comment(script: Script, fix: Fix) -> Change:
    start, end = _place(script, fix)
    comment = next(((a, b) for a, b in script.comments if a <= start and end <= b), None)
    if comment is None or script.text[start : start + 1] != "#":
        raise SkipFix("there is no comment")
    a, b = comment
    keep = fix.data.get("keep", "")
    if not isinstance(keep, str) or "\n" in keep or "\r" in keep:
        raise SkipFix("what is to stay must be one line")
    if keep and (script.text[start:end] == keep or script.text.startswith(keep, start)):
        raise SkipFix("it is there already")
    before, after = script.text[a:start].rstrip(), script.text[end:b].strip()
    left = "  ".join(part for part in (before, keep.strip(), after) if part)
    if left:
        return Change((replaced(comment, left if left.startswith("#") else f"# {left}"),))
    line = script.line(a)
    first, past = script.line_range(line)
    if script.text[first:a].strip():
        return Change((replaced((len(script.text[:a].rstrip(" \t\f")), b), ""),))
    if past == b and first:  # the last line, without an end: that of the line before goes
        first = script.line_range(line - 1)[0] + len(script.row(line - 1))
    return Change((replaced((first, past), ""),))


def _place(script: Script, fix: Fix) -> tuple[int, int]:
    start, end = script.offset(fix.start), script.offset(fix.end)
    if start is None or end is None or start == end:
        raise SkipFix("there is no comment")
    return start, end
