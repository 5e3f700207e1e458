"""The condition of one list becomes the complement of another's."""

from __future__ import annotations

from collections.abc import Mapping

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite.conditions import complement as opposite
from paramlint.rewrite.conditions import operand, room
from paramlint.rewrite.edits import Change, SkipFix, replaced
from paramlint.rewrite.script import Script, code, same
from paramlint.rewrite.sites import expression, node, text_of


def complement(script: Script, fix: Fix) -> Change:
    there = node(script, fix, "condition", cst.BaseExpression)
    given = expression(text_of(fix, "condition"))
    said = fix.data.get("names", {})
    names = {k: v for k, v in said.items() if isinstance(v, str)} if isinstance(said, Mapping) else {}
    if names != said:
        raise SkipFix("what the fix says of 'names' is no mapping of names")
    renamed = given.visit(_Renamed(names))
    text, binds = opposite(renamed if isinstance(renamed, cst.BaseExpression) else given, code)
    start, end = script.span(there)
    if same(text, script.code(there)) or (len(text) > end - start and script.text.startswith(text, start)):
        raise SkipFix("it is the complement already")
    return Change((replaced((start, end), operand(text, binds, room(script, there))),))


class _Renamed(cst.CSTTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        return updated_node.with_changes(value=self._names.get(updated_node.value, updated_node.value))

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)
