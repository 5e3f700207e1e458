"""The head of a model, where a script, or the file that has the model's class, shows which it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.source.interpreter.project import File, Project
from paramlint.source.reaching import methods

#: What models call the map to their outputs.
_HEADS = ("lm_head", "head", "classifier", "unembed", "output_layer", "embed_out")
#: Methods that give the module itself back.
_MOVED = ("to", "cuda", "cpu", "bfloat16", "half", "float", "double", "train", "eval", "requires_grad_")
#: How many functions that make models call one another.
_DEEP = 3


def shown(file: File, model: str) -> tuple[str, ...]:
    """The names of the heads' weights, relative to the model, () where nothing shows them.

    Either what the model's class returns in its forward comes straight from linear layers of it: the class that the
    model is made from, in this file or in another of its project, or else the one class of models in this file. Or the
    file speaks of `model.lm_head` or the like by itself.
    """
    known = _classes_of(file, model)
    if not known and not _made_by_another(file.tree, model):
        known = _only(file.tree)
    return (_of_class(known[0]) if len(known) == 1 else ()) or _spoken_of(file.tree, model)


def _only(tree: ast.Module) -> list[ast.ClassDef]:
    """The classes of models in a file that no other one there is made of."""
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and _is_model(n)]
    used = {
        n.func.id
        for c in classes
        for n in ast.walk(c)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id != c.name
    }
    return [c for c in classes if c.name not in used]


def _is_model(node: ast.ClassDef) -> bool:
    return {"__init__", "forward"} <= set(methods(node))


def _of_class(node: ast.ClassDef) -> tuple[str, ...]:
    own = methods(node)
    made = dict(_attributes(own["__init__"]))
    if any(kind == "Parameter" for kind in made.values()):
        return ()  # tables and tokens would stay in Muon
    given = [_called(value, own["forward"]) for value in _returned(own["forward"])]
    if not given or not all(name is not None and made.get(name) == "Linear" for name in given):
        return ()
    return tuple(dict.fromkeys(f"{name}.weight" for name in given))


def _classes_of(file: File, model: str) -> list[ast.ClassDef]:
    """The classes that what has a model's name is made from, or declared to be; none where one of them is not known."""
    found: dict[ast.ClassDef, None] = {}
    project = Project()
    for n in ast.walk(file.tree):
        match n:
            case ast.Assign(targets=[target], value=value) if ast.unparse(target) == model:
                kind = _made(file, project, value)
                if kind is not None:
                    found[kind] = None
                elif _makes(_maker(value)) and model not in _expressions(value):
                    return []
            case ast.arg(arg=name, annotation=ast.expr() as said) if name == model:
                own = _defined(file, project, said)
                if own is not None and isinstance(own[1], ast.ClassDef) and _is_model(own[1]):
                    found[own[1]] = None
    return list(found)


def _made(file: File, project: Project, value: ast.expr, depth: int = 0) -> ast.ClassDef | None:
    """The class of what an expression makes: by a call of it, moved or compiled, or of a function that returns one."""
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Call() as inner, attr=attr)) if attr in _MOVED:
            return _made(file, project, inner, depth)
        case ast.Call(func=ast.Attribute(attr="compile"), args=[ast.Call() as inner, *_]):
            return _made(file, project, inner, depth)
        case ast.Call(func=ast.Attribute(value=ast.Name() as func, attr=attr)) if attr.startswith("from_"):
            kind = _defined(file, project, func)
            return kind[1] if kind is not None and isinstance(kind[1], ast.ClassDef) and _is_model(kind[1]) else None
        case ast.Call(func=func):
            found = _defined(file, project, func)
            if found is None or depth > _DEEP:
                return None
            place, node = found
            if isinstance(node, ast.ClassDef):
                return node if _is_model(node) else None
            returned = {_made(place, project, _bound(node, r), depth + 1) for r in _returned(node)}
            return returned.pop() if len(returned) == 1 else None
    return None


def _bound(function: ast.FunctionDef, value: ast.expr) -> ast.expr:
    """What a function last gave a name that it returns."""
    given = [
        n.value
        for n in ast.walk(function)
        if isinstance(n, ast.Assign) and isinstance(value, ast.Name) and ast.unparse(n.targets[0]) == value.id
    ]
    return given[0] if len(given) == 1 else value


def _defined(file: File, project: Project, name: ast.expr) -> tuple[File, ast.ClassDef | ast.FunctionDef] | None:
    """The class or function of the project that a name stands for, and the file that defines it."""
    if isinstance(name, ast.Name):
        node = file.definitions.get(name.id)
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            return file, node
    for qualified in file.imports.qualified(name):
        module, _, last = qualified.rpartition(".")
        other = project.module(module, file.place) if module.strip(".") else None
        node = other.definitions.get(last) if other is not None else None
        if other is not None and isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            return other, node
    return None


def _made_by_another(tree: ast.Module, model: str) -> bool:
    """Whether the model is made by a class of another file."""
    own = {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
    for n in ast.walk(tree):
        match n:
            case ast.Assign(targets=[target], value=value) if ast.unparse(target) == model:
                if (kind := _maker(value)) not in own and _makes(kind):
                    return True
    return False


def _maker(value: ast.expr) -> str:
    """What is called, without what it is an attribute of."""
    match value:
        case ast.Call(func=ast.Name(id=kind) | ast.Attribute(attr=kind)):
            return kind
    return ""


def _expressions(value: ast.expr) -> set[str]:
    return {ast.unparse(part) for part in ast.walk(value) if isinstance(part, ast.expr)}


def _makes(kind: str) -> bool:
    """Whether something of this name makes models of a class."""
    return kind[:1].isupper() or kind.startswith("from_")


def _attributes(init: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """What `self` gets in a constructor, and the class of it."""
    for n in ast.walk(init):
        match n:
            case ast.Assign(
                targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)],
                value=ast.Call(func=ast.Name(id=kind) | ast.Attribute(attr=kind)),
            ):
                yield name, kind


def _returned(forward: ast.FunctionDef) -> Iterator[ast.expr]:
    """What a forward gives: of a tuple, its first part."""
    for n in ast.walk(forward):
        if isinstance(n, ast.Return) and n.value is not None:
            yield n.value.elts[0] if isinstance(n.value, ast.Tuple) and n.value.elts else n.value


def _called(value: ast.expr, forward: ast.FunctionDef, depth: int = 0) -> str | None:
    """The attribute of `self` whose call a value is."""
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)):
            return name
        case ast.Name(id=name) if depth < 3:
            assigned = [
                n.value
                for n in ast.walk(forward)
                if isinstance(n, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in n.targets)
            ]
            return _called(assigned[-1], forward, depth + 1) if assigned else None
    return None


def _spoken_of(tree: ast.Module, model: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for n in ast.walk(tree):
        if isinstance(n, ast.Attribute) and n.attr in _HEADS:
            text = ast.unparse(n)
            if text.startswith(f"{model}."):
                found[f"{text.removeprefix(f'{model}.')}.weight"] = None
    return tuple(found)
