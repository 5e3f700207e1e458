"""A test by name that keeps parameters out of Muon becomes one by module type and tensor identity."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite import lines, torch_names
from paramlint.rewrite.conditions import conjoined, disjoined, is_trainable_test, parts, whole
from paramlint.rewrite.edits import Change, Edit, SkipFix, inserted, replaced
from paramlint.rewrite.filters import filtered
from paramlint.rewrite.layout import fitted
from paramlint.rewrite.names import apart, binds, free, names_in
from paramlint.rewrite.names_tested import excluded, included
from paramlint.rewrite.script import Script, code, same
from paramlint.rewrite.sites import COMPREHENSIONS, also, expression, node, primary, text_of, texts_of

#: Roles of parameters that an `nn.Embedding` owns.
_OF_EMBEDDINGS = {"embedding", "tied-embedding", "position-table", "relative-bias"}
#: Pieces of names that mean an embedding, wherever they stand in a name; a patch embedding is a convolution.
_EMBEDDING, _CONVOLUTION = ("emb", "wte", "wpe", "vocab"), "patch"


@dataclass(frozen=True)
class _Kept:
    """The parameters that are to stay out of Muon: the sets that they are in together."""

    parts: tuple[str, ...]
    imports: tuple[str, ...]

    @property
    def first(self) -> str:
        return self.parts[0]

    def lines(self, name: str, width: int) -> list[str]:
        rows = [f"{name} = {self.first}", *(f"{name} |= {text}" for text in self.parts[1:])]
        return [fitted(row, width) for row in rows]


def types_and_identity(script: Script, fix: Fix) -> Change:
    there = node(script, fix, "condition", cst.BaseExpression)
    others = also(script, fix)
    p = text_of(fix, "parameter", "p")
    model = text_of(fix, "model")
    sends = fix.data.get("sends", "muon")
    if sends not in ("muon", "adam"):
        raise SkipFix("what the fix says of 'sends' is neither 'muon' nor 'adam'")
    anchor = _anchor(script, [there, *(other for other, _ in others)], names_in(model))
    kept = _kept(script, fix, model, anchor)
    tests = [_Test(script, there, p, sends == "muon")]
    tests += [_Test(script, other, own, sends != "muon") for other, own in others]
    name, new, grown = _set(script, anchor, kept, tests)
    goes = _replaceable(fix)
    edits = [*grown, *(edit for test in tests for edit in test.edits(name, goes))]
    if not edits and not new:
        raise SkipFix("it is tested by identity already")
    if not new:
        return Change(tuple(edits))
    scope = script.function(anchor)
    edits.insert(0, lines.before(script, anchor, new))
    return Change(tuple(edits), kept.imports, frozenset({(scope, name)}))


# the set


def _kept(script: Script, fix: Fix, model: str, anchor: cst.CSTNode) -> _Kept:
    roles = texts_of(fix, "roles")
    of_model = primary(model)
    p, m = apart("p", model), apart("m", model)
    types, imports = "", ()  # type: str, tuple[str, ...]
    if not roles or set(roles) & _OF_EMBEDDINGS:
        nn, imports = torch_names.nn(script, anchor)
        classes = [f"{nn}.{one}" for one in texts_of(fix, "classes") or ("Embedding",)]
        shown = classes[0] if len(classes) == 1 else f"({', '.join(classes)})"
        types = (
            f"{{id({p}) for {m} in {of_model}.modules() if isinstance({m}, {shown}) "
            f"for {p} in {m}.parameters(recurse=False)}}"
        )
    ids = [f"id({_reached(of_model, one)})" for one in texts_of(fix, "attributes")]
    ends = texts_of(fix, "endings")
    n = apart("n", model)
    ended = f"{n}.endswith({_texts(ends)})" if ends else ""
    parts = (
        types,
        f"{{id({p}) for {n}, {p} in {of_model}.named_parameters() if {ended}}}" if ended else "",
        f"{{{', '.join(ids)}}}" if ids else "",
    )
    if not any(parts):
        raise SkipFix("the fix names nothing to keep out of Muon")
    return _Kept(tuple(part for part in parts if part), imports)


def _texts(given: Sequence[str]) -> str:
    """A string as it is written, or a tuple of several."""
    quoted = [json.dumps(text) for text in given]
    return quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})"


def _reached(model: str, name: str) -> str:
    """A parameter by its path in the model, "lm_head.weight" or "net[-1].weight"; by `get_parameter` where parts are no
    words."""
    if all(part.partition("[")[0].isidentifier() for part in name.split(".")):
        text = f"{model}.{name}"
    else:
        text = f'{model}.get_parameter("{name}")'
    expression(text)
    return text


def _set(
    script: Script, anchor: lines.Statement, kept: _Kept, tests: Sequence[_Test]
) -> tuple[str, list[str], list[Edit]]:
    """The name of the set, the lines that make what is not there of it yet, and what a display of it gets besides."""
    around = lines.siblings(script, anchor)
    earlier = around[: around.index(anchor)]
    width = script.width - len(script.margin(script.span(anchor)[0]).expandtabs(4))
    for one in earlier:
        if not isinstance(one, cst.Assign) or not isinstance(one.targets[0].target, cst.Name):
            continue
        name = one.targets[0].target.value
        given = [one.value, *(s.value for s in earlier if _adds_to(s, name))]
        if not same(code(one.value), kept.first) and not (_of_ids(one.value) and all(t.asks(name) for t in tests)):
            continue
        there = [code(own) for own in given]
        there += [code(e.value) for own in given if isinstance(own, cst.Set) for e in own.elements]
        new = [text for part in kept.parts if (text := _missing(part, there))]
        if new and not _only_here(script, name, tests):
            continue
        grown = _grown(script, [g for g in given if isinstance(g, cst.Set) and _of_ids(g)], new)
        return name, [fitted(f"{name} |= {text}", width) for text in new], grown
    name = free(script, script.function(anchor) or script.module, "not_muon", "not_muon_ids")
    return name, kept.lines(name, width), []


def _missing(part: str, there: Sequence[str]) -> str:
    """What a set has not, of one that is added to it; "" where it has it all."""
    node = cst.parse_expression(part)
    if not isinstance(node, cst.Set):
        return "" if any(same(part, own) for own in there) else part
    left = [text for e in node.elements if not any(same(text := code(e.value), own) for own in there)]
    return f"{{{', '.join(left)}}}" if left else ""


def _grown(script: Script, displays: Sequence[cst.Set], new: list[str]) -> list[Edit]:
    """What a display in one line gets besides, where it has room for it; that is no longer among what is new."""
    for display in displays:
        first, last = (script.line(at) for at in script.span(display))
        for text in [t for t in new if isinstance(cst.parse_expression(t), cst.Set)]:
            added = f", {text[1:-1]}"
            if first == last and len(script.row(last).expandtabs(4)) + len(added) <= script.width:
                new.remove(text)
                return [inserted(script.outer(display.elements[-1].value)[1], added)]
    return []


def _adds_to(statement: lines.Statement, name: str) -> TypeGuard[cst.AugAssign]:
    return (
        isinstance(statement, cst.AugAssign)
        and isinstance(statement.operator, cst.BitOrAssign)
        and code(statement.target) == name
    )


def _of_ids(value: cst.BaseExpression) -> bool:
    """Whether an expression is a set of what `id` gives."""
    given = [value.elt] if isinstance(value, cst.SetComp) else []
    given += [e.value for e in value.elements] if isinstance(value, cst.Set) else []
    return bool(given) and all(isinstance(g, cst.Call) and code(g.func) == "id" for g in given)


def _only_here(script: Script, name: str, tests: Sequence[_Test]) -> bool:
    """Whether nothing asks for what is in a set but these conditions."""
    own = [script.outer(whole(script, test.node)) for test in tests]
    scope = script.function(tests[0].node) or script.module
    for use in script.inside(scope, cst.Name):
        above = script.parent(use)
        if use.value != name or isinstance(above, (cst.AssignTarget, cst.AugAssign)):
            continue
        start, end = script.span(use)
        if not any(a <= start and end <= b for a, b in own):
            return False
    return True


# the place


def _anchor(script: Script, conditions: Sequence[cst.CSTNode], needs: set[str]) -> lines.Statement:
    """The statement that the set is made before: outside of the loops around the conditions, and before all of them.

    Raises:
        SkipFix: the model is not bound there.
    """
    chains = [_outwards(script, one, needs) for one in conditions]
    blocks = [{id(lines.block_of(script, s)) for s in chain} for chain in chains]
    shared = set.intersection(*blocks)
    candidates = [s for chain in chains for s in chain if id(lines.block_of(script, s)) in shared]
    if not candidates:
        raise SkipFix("the conditions have no place in common")
    outer_loops = [_outermost(script, chain) for chain in chains]
    if len(conditions) == 1:
        found = outer_loops[0]
    else:
        innermost = max(candidates, key=lambda s: len(list(script.ancestors(s))))
        block = lines.block_of(script, innermost)
        while any(_inside_loop(script, block, loop) for loop in outer_loops):
            innermost = lines.statement_of(script, script.parent(innermost) or block)
            block = lines.block_of(script, innermost)
        there = [s for s in candidates if lines.block_of(script, s) is block]
        found = min(there, key=script.span, default=innermost)
    start = script.span(found)[0]
    for name in needs:
        if not _is_bound(script, found, name, start):
            raise SkipFix(f"`{name}` is not known before this")
    return found


def _outwards(script: Script, condition: cst.CSTNode, needs: set[str]) -> list[lines.Statement]:
    """The statements around a condition, innermost first, as far as what the set needs is there."""
    for above in script.ancestors(condition):
        if isinstance(above, lines.Statement):
            break
        if isinstance(above, COMPREHENSIONS) and needs & _comprehended(script, above):
            raise SkipFix("the model is a variable of the comprehension")
        if isinstance(above, cst.Lambda) and needs & {q.name.value for q in above.params.params}:
            raise SkipFix("the model is a parameter of the lambda")
    found = [lines.statement_of(script, condition)]
    for above in script.ancestors(found[0]):
        if isinstance(above, (cst.FunctionDef, cst.ClassDef)):
            break
        if isinstance(above, (cst.For, cst.While)) and any(binds(script, above, name) for name in needs):
            break
        if isinstance(above, lines.Statement):
            whole = lines.statement_of(script, above)
            found += [whole] if whole is not found[-1] else []
    return found


def _outermost(script: Script, chain: Sequence[lines.Statement]) -> lines.Statement:
    loops = [s for s in chain if isinstance(s, (cst.For, cst.While))]
    return loops[-1] if loops else chain[0]


def _inside_loop(script: Script, block: cst.CSTNode, loop: lines.Statement) -> bool:
    return isinstance(loop, (cst.For, cst.While)) and (loop is block or loop in list(script.ancestors(block)))


def _comprehended(script: Script, comprehension: cst.CSTNode) -> set[str]:
    return {n for c in script.inside(comprehension, cst.CompFor) for n in names_in(code(c.target))}


def _is_bound(script: Script, at: lines.Statement, name: str, start: int) -> bool:
    around = [a for a in script.ancestors(at) if isinstance(a, (cst.FunctionDef, cst.Module))]
    for i, scope in enumerate(around):
        found = binds(script, scope, name)
        if found:
            return found[0] < start or (i > 0 and isinstance(scope, cst.Module))
    return any(isinstance(s.names, cst.ImportStar) for s in script.inside(script.module, cst.ImportFrom))


# the conditions


def _replaceable(fix: Fix) -> tuple[frozenset[str], tuple[str, ...], bool]:
    """The pieces of names that the set stands for: those the fix says, else what means an embedding or is in a name."""
    if "needles" in fix.data:
        return frozenset(texts_of(fix, "needles")), (), False
    roles = texts_of(fix, "roles")
    return frozenset(), texts_of(fix, "attributes"), not roles or bool(set(roles) & _OF_EMBEDDINGS)


def _stands_for(goes: tuple[frozenset[str], tuple[str, ...], bool], needle: str) -> bool:
    said, names, embeddings = goes
    plain = needle.lower()
    if embeddings and any(word in plain for word in _EMBEDDING) and _CONVOLUTION not in plain:
        return True
    return needle in said or any(plain in name.lower() for name in names)


@dataclass(frozen=True)
class _Test:
    """A condition over parameters `p`; `takes` where it holds for those that Muon gets, else for the others."""

    script: Script
    node: cst.BaseExpression
    p: str
    takes: bool

    def edits(self, name: str, goes: tuple[frozenset[str], tuple[str, ...], bool]) -> list[Edit]:
        """() where the condition says it already."""
        test = self._test(name)
        if self.asks(name):
            return []
        if isinstance(self.node, COMPREHENSIONS):
            return filtered(self.script, self.node, self.p, test)
        negated = self._negated()
        if negated is not None:
            return _Test(self.script, negated, self.p, not self.takes).edits(name, goes)
        inner = self._parts()
        needles = excluded if self.takes else included
        old = []
        for part in inner:
            found = needles(self.script, part)
            if found and all(_stands_for(goes, needle) for needle in found) and not self._commented(part):
                old.append(part)
        if not old:
            add = conjoined if self.takes else disjoined
            return add(self.script, self.node, test)
        first = replaced(self.script.outer(old[0]), test)
        return [first, *(edit for part in old[1:] for edit in self._without(part))]

    def asks(self, name: str) -> bool:
        """Whether the condition asks for what is in a set already."""
        compared = self.script.inside(whole(self.script, self.node), cst.Comparison)
        return any(same(code(c), self._test(name)) for c in compared)

    def _test(self, name: str) -> str:
        return f"id({self.p}) {'not in' if self.takes else 'in'} {name}"

    def _negated(self) -> cst.BaseExpression | None:
        """What is negated, where the condition is `not (... and ...)` or the like, of more than a test of the name."""
        if not isinstance(self.node, cst.UnaryOperation) or not isinstance(self.node.operator, cst.Not):
            return None
        inner = self.node.expression
        if excluded(self.script, self.node):
            return None
        operator = cst.Or if self.takes else cst.And
        return inner if len(parts(inner, operator)) > 1 else None

    def _parts(self) -> list[cst.BaseExpression]:
        if self.takes:
            return parts(self.node, cst.And)
        rest = [part for part in parts(self.node, cst.And) if not is_trainable_test(part)]
        return parts(rest[0] if len(rest) == 1 else self.node, cst.Or)

    def _commented(self, part: cst.BaseExpression) -> bool:
        return self.script.has_comment(*self.script.outer(part))

    def _without(self, part: cst.BaseExpression) -> list[Edit]:
        """Takes an operand that is not the first out of its chain, and leaves comments where they are."""
        chain = self.script.parent(part)
        if not isinstance(chain, cst.BooleanOperation) or chain.right is not part:
            raise SkipFix("the condition is none of a known form")
        end = self.script.outer(part)[1]
        before = self.script.outer(chain.left)[1]
        if not self.script.has_comment(before, end):
            return [Edit(before, end, "")]
        text = self.script.text
        start, past = self.script.span(chain.operator)
        if self.script.has_comment(past, end):
            return [Edit(len(text[:start].rstrip(" \t")), past, ""), Edit(self.script.outer(part)[0], end, "")]
        line = self.script.line_range(self.script.line(start))[0]
        behind = end + len(text[end:]) - len(text[end:].lstrip(" \t"))
        if text[behind : behind + 1] == "#":
            return [Edit(start, behind, "")]
        if text[line:start].strip():
            return [Edit(len(text[:start].rstrip(" \t")), end, "")]
        before_line = line - (2 if text[line - 2 : line] == "\r\n" else 1)
        return [Edit(before_line, end, "")]
