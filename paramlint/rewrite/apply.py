"""Fixes of a script: each is done whole or not at all, and all else stays as it is, to the character."""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite import (
    chains,
    checks,
    comments,
    complements,
    containers,
    filters,
    identity,
    replacing,
    signatures,
)
from paramlint.rewrite.edits import Change, Edit, SkipFix, collide
from paramlint.rewrite.edits import apply as edited
from paramlint.rewrite.layout import laid_out
from paramlint.rewrite.script import Script
from paramlint.rewrite.torch_names import import_edits

#: Every kind of fix, and what turns it into edits.
KINDS: Mapping[str, Callable[[Script, Fix], Change]] = {
    "add-else": chains.add_else,
    "complement": complements.complement,
    "deprecated-signature": signatures.deprecated_signature,
    "insert-check": checks.insert_check,
    "only-matrices": filters.only_matrices,
    "only-trainable": filters.only_trainable,
    "ordered-set": containers.ordered_set,
    "remove-comment": comments.remove_comment,
    "replace-text": replacing.replace_text,
    "types-and-identity": identity.types_and_identity,
    "wrap-list": containers.wrap_list,
}
#: Those that add to conditions, and make them longer.
_OF_CONDITIONS = frozenset({"complement", "only-matrices", "only-trainable", "types-and-identity"})
_MARK = "\ufeff"


@dataclass(frozen=True)
class Applied:
    """The new text, the fixes that are in it, and those that are not, each with the reason."""

    text: str
    applied: tuple[Fix, ...]
    skipped: tuple[tuple[Fix, str], ...]


def apply(text: str, fixes: Sequence[Fix]) -> Applied:
    """Rewrites a script as fixes say, as many as go together; the first of two that touch each other comes first.

    What was skipped because it touches another may be found again in the new text, and be applied then. The comments
    of the script are all in the new text but those that a fix is to remove, and the new text parses.
    """
    mark, body = (_MARK, text[1:]) if text.startswith(_MARK) else ("", text)
    try:
        script = Script(body)
    except (cst.ParserSyntaxError, RecursionError, ValueError):  # the last for what no encoding has
        return Applied(text, (), tuple((fix, "the file does not parse") for fix in fixes))
    applied: list[tuple[Fix, Change]] = []
    skipped: list[tuple[Fix, str]] = []
    for fix in fixes:
        if any(fix == earlier for earlier, _ in applied):  # of two findings with one cause
            applied.append((fix, Change(())))
            continue
        try:
            change = _change(script, fix)
            if any(collide(change, earlier) for _, earlier in applied):
                raise SkipFix("it touches another fix")
            applied.append((fix, change))
        except SkipFix as e:
            skipped.append((fix, str(e)))
    result = _text(script, [change for _, change in applied])
    if applied and not _parses(result):
        applied, broken = _one_by_one(script, applied)
        skipped += [(fix, "the result would not parse") for fix in broken]
        result = _text(script, [change for _, change in applied])
    order = {id(fix): i for i, fix in enumerate(fixes)}
    skipped.sort(key=lambda pair: order[id(pair[0])])
    return Applied(mark + result, tuple(fix for fix, _ in applied), tuple(skipped))


def _change(script: Script, fix: Fix) -> Change:
    if fix.kind not in KINDS:
        raise SkipFix(f"there is no fix of the kind {fix.kind!r}")
    start, end = script.offset(fix.start), script.offset(fix.end)
    if start is None or end is None or end < start:
        raise SkipFix("the file has no such place")
    if "old" in fix.data and script.text[start:end] != fix.data["old"]:
        raise SkipFix("something else stands there")
    change = KINDS[fix.kind](script, fix)
    if fix.kind in _OF_CONDITIONS:
        spans = (script.condition(e.start, e.end) for e in change.edits if not e.line)
        change = replace(
            change,
            edits=laid_out(script, change.edits),
            conditions=frozenset(span for span in spans if span is not None),
        )
    if fix.kind != "remove-comment" and _loses_comments(script, change.edits):
        raise SkipFix("a comment would be lost")
    return change


def _loses_comments(script: Script, edits: Iterable[Edit]) -> bool:
    edits = list(edits)
    gone = Counter(
        script.text[a:b] for a, b in script.comments for e in edits if e.start < b and a < e.end and e.start != e.end
    )
    kept = "\n".join(e.text for e in edits)
    return any(kept.count(comment) < count for comment, count in gone.items())


def _text(script: Script, changes: Sequence[Change]) -> str:
    imports = dict.fromkeys(line for change in changes for line in change.imports)
    return edited(script.text, [*import_edits(script, imports), *(e for change in changes for e in change.edits)])


def _one_by_one(script: Script, pairs: Sequence[tuple[Fix, Change]]) -> tuple[list[tuple[Fix, Change]], list[Fix]]:
    kept: list[tuple[Fix, Change]] = []
    broken: list[Fix] = []
    for fix, change in pairs:
        if _parses(_text(script, [*(c for _, c in kept), change])):
            kept.append((fix, change))
        else:
            broken.append(fix)
    return kept, broken


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the script's own: invalid escapes and the like
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True
