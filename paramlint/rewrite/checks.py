"""A check in the script itself: every trainable parameter is in one group, and in no more than one."""

from __future__ import annotations

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite import lines
from paramlint.rewrite.edits import Change, SkipFix
from paramlint.rewrite.layout import broken, fitted
from paramlint.rewrite.names import apart, free
from paramlint.rewrite.script import Script, code, same
from paramlint.rewrite.sites import expression, node, primary, texts_of

_GROUPS = ".param_groups"
_TWICE, _NEVER = '"a parameter is in two groups"', '"a parameter is in no group"'


def insert_check(script: Script, fix: Fix) -> Change:
    there = node(script, fix, "statement", cst.BaseSmallStatement, cst.BaseCompoundStatement)
    statement = lines.statement_of(script, there)
    models, listed, groups = texts_of(fix, "model"), texts_of(fix, "lists"), texts_of(fix, "groups")
    if not models:
        raise SkipFix("the fix does not say 'model'")
    if bool(listed) == bool(groups):
        raise SkipFix("the fix must say either 'lists' or 'groups'")
    if not lines.ends_line(script, statement):
        raise SkipFix("the statement has no line of its own")
    for text in (*listed, *groups):
        expression(text)
    value = _members(listed, groups)
    around = lines.siblings(script, statement)
    for one in around[around.index(statement) + 1 :]:
        if isinstance(one, cst.Assign) and same(code(one.value), value):
            raise SkipFix("it is checked already")
    scope = script.function(statement)
    name = free(script, scope or script.module, "grouped", "grouped_ids")
    width = script.width - len(script.margin(script.span(statement)[0]).expandtabs(4))
    rows = [
        fitted(f"{name} = {value}", width),
        f"assert len({name}) == len(set({name})), {_TWICE}",
        _covers(_trained(models), name, width),
    ]
    return Change((lines.after(script, statement, rows),), names=frozenset({(scope, name)}))


def _trained(models: tuple[str, ...]) -> str:
    """The ids of all that is trained of models."""
    of = [primary(text) for text in models]
    p, m = apart("p", *of), apart("m", *of)
    if len(of) == 1:
        return f"{{id({p}) for {p} in {of[0]}.parameters() if {p}.requires_grad}}"
    return f"{{id({p}) for {m} in ({', '.join(of)}) for {p} in {m}.parameters() if {p}.requires_grad}}"


def _covers(trained: str, name: str, width: int) -> str:
    row = f"assert {trained} <= set({name}), {_NEVER}"
    if len(row) <= width:
        return row
    row = f"assert {trained} <= set({name}), ("
    if len(row) <= width:
        return f"{row}\n\t{_NEVER}\n)"
    return broken(f"assert {trained}", width) + f" <= set({name}), {_NEVER}"


def _members(listed: tuple[str, ...], groups: tuple[str, ...]) -> str:
    """The ids of all parameters in lists, or in groups."""
    p, group = apart("p", *listed, *groups), apart("group", *listed, *groups)
    if len(listed) == 1:
        return f"[id({p}) for {p} in {listed[0]}]"
    if listed:
        return f"[id({p}) for {group} in ({', '.join(listed)}) for {p} in {group}]"
    if len(groups) == 1:
        return f'[id({p}) for {group} in {groups[0]} for {p} in {group}["params"]]'
    opt = apart("opt", *groups)
    if all(one.endswith(_GROUPS) for one in groups):
        several, given = ", ".join(one.removesuffix(_GROUPS) for one in groups), f"{opt}{_GROUPS}"
    else:
        several, given = ", ".join(groups), opt
    return f'[id({p}) for {opt} in ({several}) for {group} in {given} for {p} in {group}["params"]]'
