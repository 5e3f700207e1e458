"""An optimizer's construction in a user's script becomes one over the right groups; all else stays as it is."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from paramlint.codegen import call_layout, carried, find_optimizer, insertion, source_file, transplant
from paramlint.codegen.emit.two_optimizers import ADAMW_OPTIONS
from paramlint.codegen.find_optimizer import Construction
from paramlint.codegen.part_of_model import refuse_part
from paramlint.codegen.source_file import diff, read_source, replace_file
from paramlint.errors import ParamlintError
from paramlint.knowledge import Knowledge, load
from paramlint.planned import Plan
from paramlint.profile import Profile

__all__ = ["Generated", "Rewritten", "diff", "read_source", "replace_file", "rewrite"]

_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


@dataclass(frozen=True)
class Generated:
    """The text of a generated module, and what it was made of. `known` says which classes are optimizers."""

    module: str
    profile: Profile
    plan: Plan
    known: Knowledge = field(default_factory=load)


@dataclass(frozen=True)
class Rewritten:
    """The new text of a script, the line in the old one that was changed, and what its owner should look at."""

    text: str
    line: int
    notes: tuple[str, ...]


def rewrite(source: str, path: str, line: int | None, generated: Generated) -> Rewritten:
    """Replaces the construction of an optimizer over a whole model by one over groups, and puts in what makes them.

    The class of an elementwise profile stays, and gets `param_groups(model, ...)`; any other construction becomes
    `build_optimizer(model, ...)`, in a `Together` where that gives several optimizers.

    Args:
        source: without a byte order mark, with its own line ends.
        path: for messages.
        line: one that the construction covers; needed where there are several.

    Raises:
        ParamlintError: the script does not parse, it has no such construction or several, or one over a part of the
            planned model alone; or an option cannot be carried over.
    """
    tree = find_optimizer.parse(source, path)
    found = find_optimizer.find(tree, source, path, line, generated.known)
    refuse_part(found, tree, generated.plan, path)
    try:
        script = cst.parse_module(source)
    except cst.ParserSyntaxError as e:
        raise ParamlintError(f"not Python: {e.message}", where=f"{path}:{e.raw_line}") from None
    call = _node(script, source, found)
    module = transplant.Module(generated.module)
    profile = generated.profile
    stays = profile.family == "elementwise" and found.optimizer in (*profile.imports, *profile.classes)
    entry = "param_groups" if stays else "build_optimizer"
    function = module.function(entry, profile.name)
    several = function.returns.startswith("list[") and not stays
    together = several and module.defines("Together")
    given = carried.options(found, call, f"{path}:{found.line}")
    moved = carried.carry(
        found,
        given,
        function.defaults,
        profile,
        generated.known,
        f"{path}:{found.line}",
        keeps_class=stays,
        adamw_options=function.more == ADAMW_OPTIONS,
    )
    entries = [entry, *(["Together"] if together else [])]
    index = next(i for i, s in enumerate(script.body) if _holds(s, call))
    first = next(i for i, s in enumerate(tree.body) if found.line <= (s.end_lineno or s.lineno))
    suffix = "muon" if profile.family == "muon" else profile.name.replace("-", "_")
    planted = transplant.transplant(module, transplant.Script(source, tree, first), entries, suffix)

    room = _Room(source, found, script.default_indent)
    given_at = next(i for i in range(len(call.args)) if i not in {o.index for o in given})
    lost: list[str] = []
    if stays:
        new = _with_groups(call, found, given_at, moved.all, planted.names[entry], room)
    else:
        new, lost = _built(call, found, given_at, moved.settings, planted.names[entry])
        if together:
            new = call_layout.wrapped(new, planted.names["Together"], room.unit)
        new = room.aligned(new, call)
        new = room.fitted(new, call)
    changed = cst.ensure_type(script.deep_replace(call, new), cst.Module)
    result = insertion.insert(changed, index, planted, _title(generated))
    notes = [*moved.notes, *_notes(found, lost, several, generated, tree, path)]
    notes += _unused(found, result.code)
    return Rewritten(result.code, found.line, tuple(notes))


class _Room:
    """Whether a call fits into its line; lines are broken where one would become too long."""

    def __init__(self, source: str, found: Construction, unit: str) -> None:
        self._rows = [row.rstrip("\r\n") for row in source_file.lines(source)]
        self.unit = unit
        self._limit = 88 if all(len(row) <= 88 for row in self._rows) else 120
        call, row = found.call, self._rows[found.line - 1]
        tail = self._rows[(call.end_lineno or found.line) - 1].encode()[call.end_col_offset or 0 :].decode()
        self._column = len(row.encode()[: call.col_offset].decode())
        self._around = self._column + len(tail.partition("#")[0].rstrip())
        statement = self._rows[found.statement[0] - 1]
        self._block = len(_indent(statement))
        self._margin = _indent(row).removeprefix(_indent(statement))

    def fitted(self, new: cst.Call, old: cst.Call) -> cst.Call:
        """In one line where the old one was, and it fits; else one argument to a line."""
        if "\n" in _code(new) or "\n" in _code(old) or self._around + len(_code(new)) <= self._limit:
            return new
        inner, step = new.args[0].value, self._margin + self.unit
        if len(new.args) == 1 and isinstance(inner, cst.Call):
            if self._block + len(step) + len(_code(new.args[0])) >= self._limit:
                inner = call_layout.exploded(inner, self.unit, step)
            new = new.with_changes(args=[new.args[0].with_changes(value=inner)])
        return call_layout.exploded(new, self.unit, self._margin)

    def aligned(self, new: cst.Call, old: cst.Call) -> cst.Call:
        """Arguments that stood under the first one do so again."""
        inner = new.args[0].value
        outer = f"{_code(new.func)}(" if len(new.args) == 1 and isinstance(inner, cst.Call) else ""
        call = inner if outer and isinstance(inner, cst.Call) else new
        before = len(_code(old.func)) + 1
        shift = len(outer) + len(_code(call.func)) + 1 - before
        call = call_layout.aligned(call, self._column - self._block + before, shift)
        return new.with_changes(args=[new.args[0].with_changes(value=call)]) if outer else call

    def inside(
        self, new: cst.Call, old: cst.BaseExpression, gap: cst.BaseParenthesizableWhitespace, line: int
    ) -> cst.Call:
        """The same for an argument of a call of several lines, where it begins one. `gap` is what stands before it."""
        length = len(self._rows[line - 1]) + len(_code(new)) - len(_code(old))
        if length <= self._limit or not isinstance(gap, cst.ParenthesizedWhitespace):
            return new
        return call_layout.exploded(new, self.unit, gap.last_line.value)


def _with_groups(
    call: cst.Call, found: Construction, i: int, settings: Sequence[tuple[str, str]], name: str, room: _Room
) -> cst.Call:
    """The same call with groups for its parameters."""
    groups = cst.Call(cst.Name(name), [_model(found), *(call_layout.argument(v, n) for n, v in settings)])
    args = list(call.args)
    comma = args[i - 1].comma if i else None
    gap = comma.whitespace_after if isinstance(comma, cst.Comma) else call.whitespace_before_args
    old = args[i].value
    parameters = find_optimizer.parameters(found.call)
    groups = room.inside(groups, old, gap, parameters.lineno if parameters else found.line)
    args[i] = args[i].with_changes(value=groups)
    return room.fitted(call.with_changes(args=args), call)


def _built(
    call: cst.Call, found: Construction, i: int, settings: Mapping[int, Sequence[tuple[str, str]]], name: str
) -> tuple[cst.Call, list[str]]:
    """A call of `build_optimizer`, and the comments that went with arguments."""
    new: dict[int, list[cst.Arg]] = {n: [] for n in range(len(call.args))}
    new[i] = [_model(found)]
    for n, pairs in settings.items():
        made = [call_layout.argument(value, setting) for setting, value in pairs]
        if n >= len(call.args):
            last = max(k for k, args in new.items() if args)
            new[last] += made
            continue
        old = call.args[n]
        kept = old.keyword is not None and len(pairs) == 1
        new[n] = [old.with_changes(keyword=cst.Name(pairs[0][0]))] if kept else made
    if any(arg.keyword is not None for args in list(new.values())[:i] for arg in args):  # `params=` came later
        new[i] = [arg.with_changes(keyword=cst.Name("model"), equal=_EQUAL) for arg in new[i]]
    return call_layout.replaced(call, name, new)


def _model(found: Construction) -> cst.Arg:
    return call_layout.argument(found.model or "")


def _node(script: cst.Module, source: str, found: Construction) -> cst.Call:
    """The call in the tree that keeps comments. `ast` counts columns in bytes of UTF-8."""
    row = source_file.lines(source)[found.line - 1]
    column = len(row.encode()[: found.call.col_offset].decode())
    finder = _At(found.line, column)
    MetadataWrapper(script, unsafe_skip_copy=True).visit(finder)
    return next(c for c in finder.calls if isinstance(c.func, cst.Name | cst.Attribute))


class _At(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, line: int, column: int) -> None:
        super().__init__()
        self._start, self.calls = (line, column), []  # type: tuple[int, int], list[cst.Call]

    def visit_Call(self, node: cst.Call) -> None:
        start = self.get_metadata(PositionProvider, node).start
        if (start.line, start.column) == self._start:
            self.calls.append(node)


def _holds(statement: cst.CSTNode, call: cst.Call) -> bool:
    stack = [statement]
    while stack:
        node = stack.pop()
        if node is call:
            return True
        stack.extend(node.children)
    return False


def _code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


def _indent(row: str) -> str:
    return row[: len(row) - len(row.lstrip())]


def _title(generated: Generated) -> str:
    said = ast.get_docstring(ast.parse(generated.module)) or "Param groups."
    return f"{said.partition(chr(10))[0].rstrip('.')}. Written by paramlint."


def _notes(
    found: Construction, lost: Sequence[str], several: bool, generated: Generated, tree: ast.Module, path: str
) -> list[str]:
    notes = [f"gone with an argument: {comment}" for comment in lost]
    if found.through:
        notes.append(f"{found.through} is no longer given to the optimizer")
    if several:
        notes.append("these are several optimizers in one, with the groups and state of all: `.optimizers` has them")
    if len({str(kind.options.get("lr")) for kind in generated.plan.kinds}) > 1 or generated.plan.layers:
        for n in _one_lr(tree):
            notes.append(f"{path}:{n} sets lr of every group: scale each group's own instead, they differ now")
        for n, name in _cycles(tree):
            momentum = ", and cycle_momentum=False" if several else ""
            notes.append(f"{path}:{n}: give {name} an lr for each group, in a list{momentum}: they differ now")
    return notes


def _unused(found: Construction, text: str) -> list[str]:
    """The import by which the old class was named, where that was its only use."""
    loaded = [n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)]
    name = next(n.id for n in ast.walk(found.call.func) if isinstance(n, ast.Name))
    return [] if name in loaded else [f"the import of {name} is no longer used"]


def _one_lr(tree: ast.Module) -> list[int]:
    """Lines that say `group["lr"] = x`, with no look at the group in x."""
    lines = set()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Subscript(value=group, slice=ast.Constant(value="lr"))], value=value):
                names = {n.id for n in ast.walk(group) if isinstance(n, ast.Name)}
                if not names & {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}:
                    lines.add(node.lineno)
    return sorted(lines)


def _cycles(tree: ast.Module) -> list[tuple[int, str]]:
    """Lines that make schedulers which take lr from their own arguments, with their names."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=("OneCycleLR" | "CyclicLR") as name)):
                found.append((node.lineno, name))
            case ast.Call(func=ast.Attribute(attr=("OneCycleLR" | "CyclicLR") as name)):
                found.append((node.lineno, name))
    return sorted(found)
