"""Objects of the project's own modules: whose methods are read where the script calls them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from paramlint.source.interpreter.values import Class, Known, Scope
from paramlint.source.statements import every
from paramlint.source.terms import Attribute, Term

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader


def made(r: Reader, term: Term, of: Class) -> Term:
    """Keeps in mind that a term is an object of a class, where that is a module."""
    if is_module(of.node):
        r.project.instances[term] = of
    return term


def annotated(r: Reader, term: Term, annotation: ast.expr | None, scope: Scope) -> Term:
    """The same of an argument whose annotation names the class, as long as this is read."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str) and annotation.value.isidentifier():
        annotation = ast.Name(annotation.value, ast.Load())
    found = _class(r, annotation, scope) if annotation is not None else None
    if found is not None and is_module(found.node):
        r.instances[term] = found
    return term


def class_of(r: Reader, term: Term) -> Class | None:
    """The class of an object, if it is one of the project's modules."""
    found = r.instances.get(term) or r.project.instances.get(term)
    function = r.frame.function
    if found is not None or function is None or function.owner is None or not isinstance(term, Attribute):
        return found
    if function.self != term.of:
        return None
    for node in every(function.owner):
        if isinstance(node, ast.Assign) and any(_own(t, term.name) for t in node.targets):
            called = _unwrapped(node.value)
            of = _class(r, called, function.scope) if called is not None else None
            if of is not None and is_module(of.node):
                return of
    return None


def is_module(node: ast.ClassDef) -> bool:
    """Whether a class is a module by its bases' names, or since it has a forward; Lightning's are."""
    bases = [ast.unparse(b).rpartition(".")[2] for b in node.bases]
    methods = {n.name for n in node.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return any(b.endswith(("Module", "Model", "PreTrainedModel")) for b in bases) or "forward" in methods


def _own(target: ast.expr, name: str) -> bool:
    """Whether a target is `self.name`."""
    return (
        isinstance(target, ast.Attribute)
        and target.attr == name
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
    )


def _unwrapped(node: ast.expr) -> ast.expr | None:
    """The class that is called in `Net(...)`, `Net(...).to(device)`."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
            node = node.func.value
        else:
            return node.func
    return None


def _class(r: Reader, node: ast.expr, scope: Scope) -> Class | None:
    """The class that an expression names, in the scope where it stands."""
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return None
    before = r.scope
    r.scope = scope
    try:
        held = r.value(node)
    finally:
        r.scope = before
    found = r.project.member(held, r) if isinstance(held, Known) else held
    return found if isinstance(found, Class) else None
