"""The head of a model, where a script itself shows which it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.source.interpreter.project import File
from paramlint.source.reaching import methods

#: What models call the map to their outputs.
_HEADS = ("lm_head", "head", "classifier", "unembed", "output_layer", "embed_out")


def shown(file: File, model: str) -> tuple[str, ...]:
    """The names of the heads' weights, relative to the model, () where the file does not show them.

    Either the file has one class of models, and what its forward returns comes straight from linear layers of it; or it
    speaks of `model.lm_head` or the like by itself.
    """
    return _of_class(file.tree, model) or _spoken_of(file.tree, model)


def _of_class(tree: ast.Module, model: str) -> tuple[str, ...]:
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and {"__init__", "forward"} <= set(methods(n))]
    used = {
        n.func.id
        for c in classes
        for n in ast.walk(c)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id != c.name
    }
    outermost = [c for c in classes if c.name not in used]
    if len(outermost) != 1 or _made_by_another(tree, model, outermost[0].name):
        return ()
    own = methods(outermost[0])
    made = dict(_attributes(own["__init__"]))
    if any(kind == "Parameter" for kind in made.values()):
        return ()  # tables and tokens would stay in Muon
    given = [_called(value, own["forward"]) for value in _returned(own["forward"])]
    if not given or not all(name is not None and made.get(name) == "Linear" for name in given):
        return ()
    return tuple(dict.fromkeys(f"{name}.weight" for name in given))


def _made_by_another(tree: ast.Module, model: str, name: str) -> bool:
    """Whether the model is made by a class other than this one."""
    for n in ast.walk(tree):
        match n:
            case ast.Assign(targets=[target], value=ast.Call(func=ast.Name(id=kind) | ast.Attribute(attr=kind))):
                if ast.unparse(target) == model and kind != name and (kind[:1].isupper() or kind.startswith("from_")):
                    return True
    return False


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
