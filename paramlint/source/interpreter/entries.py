"""Where to begin: the functions of a file that make optimizers or groups, and the file itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import field, replace

from paramlint.knowledge import Knowledge
from paramlint.record import dataclass
from paramlint.source.interpreter import collect, functions, instances, roots
from paramlint.source.interpreter.optimizers import holds
from paramlint.source.interpreter.project import File, Project, concerns
from paramlint.source.interpreter.reader import Frame, Reader, TooMuch
from paramlint.source.interpreter.values import Bag, Function, Made, Place, Row, Scope, Table, Value
from paramlint.source.script import Branch, Build, Collected, Construction, Needle, Walks
from paramlint.source.terms import Const, Opaque, Term, Var, mapped, mapped_item

#: How many ways to call a function are followed.
_CALLERS = 4


@dataclass
class Read:
    """What one entry of a file gave. `stopped` says that it was too much to be read to its end."""

    build: Build
    inlined: set[ast.AST] = field(default_factory=set)
    needles: list[Needle] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    walks: list[Walks] = field(default_factory=list)
    lists: list[Collected] = field(default_factory=list)
    node: ast.AST | None = None
    stopped: bool = False


def read(file: File, project: Project, known: Knowledge) -> list[Read]:
    """Every way in which a file makes optimizers, or groups for them.

    A function that another one calls is read with that one, and by itself only where the caller makes nothing of it.
    """
    project.add(file)
    found = [_entry(file, project, known, node, owner) for node, owner in _entries(file)]
    kept = _outermost([r for r in found if r is not None])
    return [better for one in kept for better in _called(file, project, known, one)]


def _called(file: File, project: Project, known: Knowledge, one: Read) -> list[Read]:
    """An entry as its callers in other files have it, where it says nothing by itself of what it is given."""
    name = getattr(one.node, "name", "")
    unread = sum(_unread(c) for c in one.build.constructions)
    if not unread or not name or name.startswith("__") or one.stopped:
        return [one]
    better: list[Read] = []
    for other in project.callers(file, name):
        for node, owner in _entries(other):
            if not isinstance(node, ast.Module) and not _calls(node, name):
                continue
            read = _entry(other, project, known, node, owner, seen_from=file)
            if read is None or one.node not in read.inlined:
                continue
            here = tuple(c for c in read.build.constructions if c.span.path == file.path)
            if here and sum(_unread(c) for c in here) < unread:
                better.append(replace(read, build=replace(one.build, constructions=here), node=one.node))
        if len(better) >= _CALLERS:
            break
    return better or [one]


def _calls(node: ast.AST, name: str) -> bool:
    return any(
        isinstance(n, ast.Call) and name in (getattr(n.func, "id", ""), getattr(n.func, "attr", ""))
        for n in ast.walk(node)
    )


def _entries(file: File) -> Iterator[tuple[ast.AST, ast.ClassDef | None]]:
    """The module, if it does anything by itself, and the functions and methods that may concern us."""
    yield file.tree, None
    stack: list[tuple[ast.AST, ast.ClassDef | None]] = [(n, None) for n in file.tree.body]
    while stack:
        node, owner = stack.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if concerns(node):
                yield node, owner
                # What stands inside a function is read by itself where nothing in there calls it.
                stack += [(n, None) for n in _inside(node)]
        elif isinstance(node, ast.ClassDef):
            stack += [(n, node) for n in node.body]
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            stack += [(n, owner) for n in ast.iter_child_nodes(node)]


def _inside(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """The functions and classes that are defined in a function, those of its branches among them."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node
        elif isinstance(node, ast.stmt):
            stack += [n for n in ast.iter_child_nodes(node) if isinstance(n, (ast.stmt, ast.ExceptHandler))]
        elif isinstance(node, ast.ExceptHandler):
            stack += node.body


def _entry(
    file: File,
    project: Project,
    known: Knowledge,
    node: ast.AST,
    owner: ast.ClassDef | None,
    seen_from: File | None = None,
) -> Read | None:
    """One entry of a file; places are told as calls in `seen_from` where they lie in others."""
    if node is file.tree and not any(concerns(n) for n in _loose(file.tree)):
        return None
    r = Reader(project, file, known)
    r.first = seen_from or file
    module = project.scope(file)
    result: Value | None = None
    stopped = False
    try:
        if node is file.tree:
            with r.inside(file, Scope(file, {}, module), Frame(None)):
                r.run(file.tree.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own = next((n for d in node.decorator_list if (n := ast.unparse(d)) == "staticmethod"), None)
            function = Function(node, module, None if own or owner is None else Opaque("self"), owner)
            with r.inside(file, module, Frame(None)):
                result = functions.apply(r, function, [], {}, node)
    except (TooMuch, RecursionError):
        stopped = True
    made = list(r.made)
    if result is not None and not made and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        made = _given_back(r, result, node)
    given = [collect.construction(m) for m in made if m.place.span is not None]
    # What only hands on what it is given says nothing: a class of optimizers, a function over groups.
    given = [c for c in given if any(g.items for g in c.groups) or (c.made is not None and not _of_optimizer(owner))]
    if not given and not r.walks and not r.needles:
        return None
    by = roots.change(given, r.names, _module(owner))
    constructions = roots.rooted(given, by)
    done: dict[Term, Term] = {}
    name = getattr(node, "name", "")
    first = file.tree.body[0] if file.tree.body else file.tree
    span = file.span(first if node is file.tree else node)
    build = Build(constructions, span, f"{owner.name}.{name}" if owner else name, tuple(r.checks))
    lists = [] if result is not None and not r.made else collect.collected(r.bags, Place())
    return Read(
        build,
        r.inlined,
        [replace(n, within=mapped(n.within, by, done), when=mapped(n.when, by, done)) for n in r.needles],
        [replace(b, test=mapped(b.test, by, done), when=mapped(b.when, by, done)) for b in r.branches],
        r.walks,
        [
            replace(
                c,
                items=tuple(mapped_item(i, by, done) for i in c.items),
                given=tuple(mapped(g, by, done) for g in c.given),
            )
            for c in lists
        ],
        node,
        stopped,
    )


def _loose(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module that do something when it is run."""
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            yield node


def _of_optimizer(owner: ast.ClassDef | None) -> bool:
    if owner is None or _module(owner):
        return False
    methods = {n.name for n in owner.body if isinstance(n, ast.FunctionDef)}
    return "step" in methods or any(ast.unparse(b).endswith("Optimizer") for b in owner.bases)


def _module(owner: ast.ClassDef | None) -> bool:
    return owner is not None and instances.is_module(owner)


def _given_back(r: Reader, result: Value, node: ast.AST) -> list[Made]:
    """Groups that a function returns, for whoever calls it. A set of parameters is there to be asked, and groups of
    names are yet to be filled."""
    values = result.values if isinstance(result, Row) else (result,)
    given = [v for v in values if holds(v) and not _asked(v) and not _of_names(v)]
    if not given:
        return []
    groups = given[0] if len(given) == 1 else Row(tuple(given))
    return [Made(None, groups, {}, replace(r.place, span=r.span(node), binders=()))]


def _asked(value: Value) -> bool:
    return isinstance(value, Bag) and value.kind in ("set", "frozenset")


def _of_names(value: Value) -> bool:
    """Whether groups have the names of parameters, wherever one can see what they have."""
    if isinstance(value, Table):
        held = value.find(Const("params"))
        return bool(held) and _of_names(held[-1].value)
    entries = [e.value for e in value.entries] if isinstance(value, Bag) else []
    if isinstance(value, Row):
        entries = list(value.values)
    return bool(entries) and all((isinstance(v, Var) and v.what == "name") or _of_names(v) for v in entries)


def _outermost(found: list[Read]) -> list[Read]:
    """Without the entries all of whose optimizers another one makes too, and reads as well."""
    kept = []
    for one in found:
        spans = {c.span for c in one.build.constructions if c.made is not None or c.groups}
        covered = False
        for other in found:
            if other is one or one.node not in other.inlined:
                continue
            theirs = {c.span: c for c in other.build.constructions}
            if one.build.constructions and one.build.constructions[0].made is None:
                covered = bool(other.build.constructions) and not any(
                    _unread(c) for c in other.build.constructions if c.groups
                )
            else:
                covered = spans <= set(theirs) and not any(
                    _unread(theirs[s]) > _unread(c) for c in one.build.constructions for s in [c.span] if s in theirs
                )
            if covered:
                break
        if not covered:
            kept.append(one)
    return kept


def _unread(c: Construction) -> int:
    return len(c.unread) + sum(len(g.unread) for g in c.groups)
