"""A check in the script itself: every trainable parameter is in one group, and in no more than one."""

from __future__ import annotations

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite import lines
from paramlint.rewrite.edits import Change, SkipFix
from paramlint.rewrite.names import apart, free
from paramlint.rewrite.script import Script, code, same
from paramlint.rewrite.sites import expression, node, primary, text_of, texts_of

_TWICE, _NEVER = '"a parameter is in two groups"', '"a parameter is in no group"'


def insert_check(script: Script, fix: Fix) -> Change:
    there = node(script, fix, "statement", cst.BaseSmallStatement, cst.BaseCompoundStatement)
    statement = lines.statement_of(script, there)
    model, listed = primary(text_of(fix, "model")), texts_of(fix, "lists")
    groups = texts_of(fix, "groups")
    if bool(listed) == bool(groups):
        raise SkipFix("the fix must say either 'lists' or 'groups'")
    for text in (*listed, *groups):
        expression(text)
    value = _members(listed, groups)
    around = lines.siblings(script, statement)
    for one in around[around.index(statement) + 1 :]:
        if isinstance(one, cst.Assign) and same(code(one.value), value):
            raise SkipFix("it is checked already")
    scope = script.function(statement)
    name = free(script, scope or script.module, "grouped", "grouped_ids")
    p = apart("p", model)
    margin = len(script.margin(script.span(statement)[0]).expandtabs(4))
    rows = [
        f"{name} = {value}",
        f"assert len({name}) == len(set({name})), {_TWICE}",
        f"assert {{id({p}) for {p} in {model}.parameters() if {p}.requires_grad}} <= set({name}), {_NEVER}",
    ]
    if margin + len(rows[2]) > script.width:
        rows[2] = rows[2].removesuffix(_NEVER) + f"(\n\t{_NEVER}\n)"
    return Change((lines.after(script, statement, rows),), names=frozenset({(scope, name)}))


def _members(listed: tuple[str, ...], groups: tuple[str, ...]) -> str:
    """The ids of all parameters in lists, or in groups."""
    p, group = apart("p", *listed, *groups), apart("group", *listed, *groups)
    if len(listed) == 1:
        return f"[id({p}) for {p} in {listed[0]}]"
    if listed:
        return f"[id({p}) for {group} in ({', '.join(listed)}) for {p} in {group}]"
    several = groups[0] if len(groups) == 1 else f"({', '.join(f'*{one}' for one in groups)})"
    return f'[id({p}) for {group} in {several} for {p} in {group}["params"]]'
