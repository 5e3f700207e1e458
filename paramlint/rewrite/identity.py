"""A test by name that keeps parameters out of Muon becomes one by module type and tensor identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from paramlint.finding import Fix
from paramlint.rewrite import lines, torch_names
from paramlint.rewrite.conditions import conjoined, disjoined, is_trainable_test, parts, whole
from paramlint.rewrite.edits import Change, Edit, SkipFix, replaced
from paramlint.rewrite.filters import filtered
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
    """The parameters that are to stay out of Muon: the values of the set, and of what is added to it."""

    of_types: str
    of_names: str
    imports: tuple[str, ...]

    def lines(self, name: str, width: int) -> list[str]:
        first = self.of_types or self.of_names
        more = [f"{name} |= {self.of_names}"] if self.of_types and self.of_names else []
        return [_fitted(f"{name} = {first}", width), *(_fitted(row, width) for row in more)]


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
    name, new = _set(script, anchor, kept)
    tests = [_Test(script, there, p, sends == "muon")]
    tests += [_Test(script, other, own, sends != "muon") for other, own in others]
    goes = _replaceable(fix)
    edits = [edit for test in tests for edit in test.edits(name, goes)]
    if not edits and not new:
        raise SkipFix("it is tested by identity already")
    if not new:
        return Change(tuple(edits))
    scope = script.function(anchor)
    edits.insert(0, lines.before(script, anchor, new))
    return Change(tuple(edits), kept.imports, frozenset({(scope, name)}))


# the set


def _kept(script: Script, fix: Fix, model: str, anchor: cst.CSTNode) -> _Kept:
    roles, names = texts_of(fix, "roles"), texts_of(fix, "attributes")
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
    if not types and not names:
        raise SkipFix("the fix names nothing to keep out of Muon")
    ids = [f"id({_reached(of_model, one)})" for one in names]
    return _Kept(types, f"{{{', '.join(ids)}}}" if ids else "", imports)


def _reached(model: str, name: str) -> str:
    """A parameter by its name in the model: `model.lm_head.weight`, by `get_parameter` where parts are no words."""
    if all(part.isidentifier() for part in name.split(".")):
        text = f"{model}.{name}"
    else:
        text = f'{model}.get_parameter("{name}")'
    expression(text)
    return text


def _set(script: Script, anchor: lines.Statement, kept: _Kept) -> tuple[str, list[str]]:
    """The name of the set, and the lines that make what is not there of it yet."""
    around = lines.siblings(script, anchor)
    earlier = around[: around.index(anchor)]
    first = kept.of_types or kept.of_names
    width = script.width - len(script.margin(script.span(anchor)[0]).expandtabs(4))
    for i, one in enumerate(earlier):
        if not isinstance(one, cst.Assign) or not same(code(one.value), first):
            continue
        name = code(one.targets[0].target)
        more = kept.of_names if kept.of_types else ""
        added = any(
            isinstance(s, cst.AugAssign) and code(s.target) == name and same(code(s.value), more) for s in earlier[i:]
        )
        return name, [] if added or not more else [_fitted(f"{name} |= {more}", width)]
    name = free(script, script.function(anchor) or script.module, "not_muon", "not_muon_ids")
    return name, kept.lines(name, width)


def _fitted(line: str, width: int) -> str:
    """A comprehension or display in braces over several lines where one is too long."""
    if len(line) <= width:
        return line
    head, _, inner = line.partition("{")
    inner = inner.removesuffix("}")
    if " for " not in inner:
        rows = [f"{one}," for one in inner.split(", ")]
    else:
        marked = inner.replace(" for ", "\n for ").replace(" if ", "\n if ")
        rows = [row.strip() for row in marked.split("\n")]
    return "\n".join([f"{head}{{", *(f"\t{row}" for row in rows), "}"])


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
        test = f"id({self.p}) {'not in' if self.takes else 'in'} {name}"
        if any(same(code(c), test) for c in self.script.inside(whole(self.script, self.node), cst.Comparison)):
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
