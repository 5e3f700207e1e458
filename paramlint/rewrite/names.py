"""Which names a script has, and which are free."""

from __future__ import annotations

import builtins
import keyword

import libcst as cst

from paramlint.rewrite.script import Script, children, code

_TARGETS = (cst.AssignTarget, cst.AnnAssign, cst.AugAssign, cst.For, cst.NamedExpr, cst.CompFor)


def free(script: Script, scope: cst.CSTNode, *wanted: str) -> str:
    """The first of these names that nothing in a scope, nor the module itself, uses; else the last with a number."""
    taken = _used(script, scope) | set(dir(builtins)) | set(keyword.kwlist)
    for name in wanted:
        if name not in taken:
            return name
    return next(f"{wanted[-1]}_{i}" for i in range(2, 10_000) if f"{wanted[-1]}_{i}" not in taken)


def apart(wanted: str, *texts: str) -> str:
    """A name for the variable of a comprehension that does not occur in these expressions."""
    words = {w for text in texts for w in names_in(text)}
    return next(n for n in (wanted, *(f"{wanted}_{i}" for i in range(2, 10_000))) if n not in words)


def names_in(text: str) -> set[str]:
    """The names that an expression uses, those of attributes not."""
    try:
        tree = cst.parse_expression(text)
    except cst.ParserSyntaxError:
        return set()
    return {n.value for n in _names(tree)}


def assigned(module: cst.Module) -> set[str]:
    """The names that a script binds anywhere by other means than an import."""
    found: set[str] = set()
    stack: list[cst.CSTNode] = [module]
    while stack:
        node = stack.pop()
        if isinstance(node, (cst.FunctionDef, cst.ClassDef, cst.Param)):
            found.add(node.name.value)
        elif isinstance(node, _TARGETS) and (target := getattr(node, "target", None)) is not None:
            found |= {n.value for n in _stored(target)}
        elif isinstance(node, (cst.AsName)):
            if isinstance(node.name, cst.Name):
                found.add(node.name.value)
            else:
                found |= {n.value for n in _stored(node.name)}
        if not isinstance(node, (cst.Import, cst.ImportFrom)):
            stack.extend(children(node))
    return found


def binds(script: Script, node: cst.CSTNode, name: str) -> list[int]:
    """The offsets at which a node binds a name: imports, targets, parameters; inner functions left out."""
    found: list[int] = []
    stack = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, (cst.FunctionDef, cst.ClassDef)) and one is not node:
            if one.name.value == name:
                found.append(script.span(one)[0])
            continue
        if isinstance(one, cst.Lambda):
            continue
        if isinstance(one, cst.Param) and one.name.value == name:
            found.append(script.span(one)[0])
        elif isinstance(one, cst.ImportAlias):
            bound = code(one.asname.name) if one.asname else code(one.name).partition(".")[0]
            found += [script.span(one)[0]] if bound == name else []
        elif isinstance(one, cst.AsName) and isinstance(one.name, (cst.Name, cst.Tuple, cst.List)):
            found += [script.span(n)[0] for n in _stored(one.name) if n.value == name]
        elif isinstance(one, _TARGETS) and not isinstance(one, cst.CompFor):
            target = getattr(one, "target", None)
            found += [] if target is None else [script.span(n)[0] for n in _stored(target) if n.value == name]
        stack.extend(children(one))
    return sorted(found)


def _stored(target: cst.CSTNode) -> list[cst.Name]:
    """The names that a target binds; what it only reads, as in `a[i]` and `a.b`, left out."""
    if isinstance(target, cst.Name):
        return [target]
    if isinstance(target, (cst.Tuple, cst.List)):
        return [n for e in target.elements for n in _stored(e.value)]
    return []


def _names(tree: cst.CSTNode) -> list[cst.Name]:
    found: list[cst.Name] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, cst.Name):
            found.append(node)
        elif isinstance(node, (cst.Attribute, cst.Arg)):
            stack.append(node.value)
        else:
            stack.extend(children(node))
    return found


def _used(script: Script, scope: cst.CSTNode) -> set[str]:
    """Every name in a scope, and those that the module binds or uses outside of functions and classes."""
    found = {n.value for n in _names(scope)}
    stack: list[cst.CSTNode] = children(script.module)
    while stack:
        node = stack.pop()
        if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
            found.add(node.name.value)
            continue
        if isinstance(node, cst.Name):
            found.add(node.value)
        stack.extend(children(node))
    return found
