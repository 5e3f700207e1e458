"""By which name a script has `torch.nn`, and the import that it lacks."""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from paramlint.rewrite.edits import Edit
from paramlint.rewrite.import_place import opening, packages, place
from paramlint.rewrite.names import assigned, free
from paramlint.rewrite.script import Script, code


def nn(script: Script, at: cst.CSTNode) -> tuple[str, tuple[str, ...]]:
    """The name of `torch.nn` where a node stands, and the import statements that this needs besides."""
    taken = assigned(script.module)
    found: dict[str, str] = {}
    for statement in script.inside(script.module, cst.Import, cst.ImportFrom):
        if _reaches(script, statement, at):
            for name, origin in _imported(statement):
                found.setdefault(origin, name)
    for origin, tail in (("torch.nn", ""), ("torch", ".nn")):
        known = found.get(origin)
        if known is not None and known.partition(".")[0] not in taken:
            return known + tail, ()
    name = free(script, script.module, "nn", "torch_nn")
    return name, ("from torch import nn" if name == "nn" else f"from torch import nn as {name}",)


def import_edits(script: Script, lines: Iterable[str]) -> list[Edit]:
    """Import statements, where they belong at the top of a script."""
    body, edits = script.module.body, []
    for line in lines:
        index = place(body, line)
        text = line + script.newline
        if index == 0:
            offset = script.line_range(script.line(script.span(body[0])[0]))[0] if body else len(script.text)
            apart = 2 if body and isinstance(body[0], (cst.FunctionDef, cst.ClassDef)) else 1
            edits.append(Edit(offset, offset, text + script.newline * apart, line=True))
            continue
        before = body[index - 1]
        row = script.line(script.span(before)[1])
        offset = script.line_range(row)[1]
        if not packages(before) or (index == opening(body) and "__future__" in packages(before)):
            text = script.newline + text
        if not script.text[:offset].endswith(("\n", "\r")):
            text = script.newline + text
        edits.append(Edit(offset, offset, text, line=True))
    return edits


def _imported(statement: cst.CSTNode) -> list[tuple[str, str]]:
    """Each name that an import makes usable, and what it stands for."""
    if not isinstance(statement, (cst.Import, cst.ImportFrom)) or isinstance(statement.names, cst.ImportStar):
        return []
    pairs = []
    module = ""
    if isinstance(statement, cst.ImportFrom):
        if statement.relative or statement.module is None:
            return []
        module = f"{code(statement.module)}."
    for alias in statement.names:
        name = code(alias.name)
        said = code(alias.asname.name) if alias.asname else name
        pairs.append((said, module + name))
        if not module and not alias.asname and name.partition(".")[0] == "torch":
            pairs.append(("torch", "torch"))
    return pairs


def _reaches(script: Script, statement: cst.CSTNode, at: cst.CSTNode) -> bool:
    """Whether an import is done by the time that a node is reached, wherever the script runs to it."""
    for above in script.ancestors(statement):
        if isinstance(above, cst.If) and code(above.test).rpartition(".")[2] == "TYPE_CHECKING":
            return False
    function, here = script.function(statement), script.function(at)
    if isinstance(script.around(statement, cst.FunctionDef, cst.ClassDef), cst.ClassDef):
        return False
    if function is None:
        return here is not None or script.span(statement) < script.span(at)
    around = {id(a) for a in script.ancestors(at)}
    return id(function) in around and script.span(statement) < script.span(at) and _straight(script, statement, around)


def _straight(script: Script, statement: cst.CSTNode, around: set[int]) -> bool:
    """Whether an import in a function stands in a block that also holds the node, a `with` or `try` apart."""
    blocks = [a for a in script.ancestors(statement) if isinstance(a, cst.IndentedBlock)]
    return bool(blocks) and id(blocks[0]) in around
