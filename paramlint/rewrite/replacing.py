"""One expression or token for another."""

from __future__ import annotations

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite.edits import Change, SkipFix, replaced
from paramlint.rewrite.script import Script
from paramlint.rewrite.sites import place, text_of


def replace_text(script: Script, fix: Fix) -> Change:
    start, end = place(script, fix)
    text = text_of(fix, "text").replace("\r\n", "\n").replace("\n", script.newline)
    old = script.text[start:end]
    if script.find(start, end, cst.CSTNode) is None:
        raise SkipFix("no expression stands exactly there")
    if old == text or (len(text) > len(old) and script.text.startswith(text, start)):
        raise SkipFix("it is there already")
    return Change((replaced((start, end), text),))
