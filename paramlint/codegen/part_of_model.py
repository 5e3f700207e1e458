"""Whether a script gives its optimizer only a part of the model that a plan is for."""

from __future__ import annotations

import ast

from paramlint.codegen.find_optimizer import Construction
from paramlint.errors import ParamlintError
from paramlint.planned import Plan

#: Attributes that hold whole models wherever they stand. As parts (`model.model`) they are not told apart.
_WHOLE = frozenset({"model", "module", "net", "network", "_orig_mod"})


def refuse_part(found: Construction, tree: ast.Module, plan: Plan, path: str) -> None:
    """
    Raises:
        ParamlintError: what the optimizer is given belongs to a module inside the planned model: `model.head`, or
            `self.model.head`, or `self.head` in the model's own class.
    """
    segments = _segments(ast.parse(found.model or "", mode="eval").body)
    if segments is None or segments[-1] in _WHOLE:
        return
    inside = {name.rpartition(".")[0] for name in plan.labels}
    inside = {".".join(parts[: i + 1]) for parts in (p.split(".") for p in inside) for i in range(len(parts))}
    model = plan.model.rpartition(".")[2]
    base, *attributes = segments
    own = base == "self" and _class_around(tree, found) == model
    starts = (0,) if own else (1,) if base == "self" else (0, 1)
    if any(".".join(attributes[start:]) in inside - {""} for start in starts):
        optimizer = found.optimizer.rpartition(".")[2]
        raise ParamlintError(
            f"{optimizer} is given the parameters of {found.model}, and the plan is for all of {model}",
            where=f"{path}:{found.line}",
            hint="name what builds that part as the target; if it is the whole model, give it a name of its own first",
        )


def _segments(node: ast.expr) -> list[str] | None:
    """`["model", "blocks", "0"]` of `model.blocks[0]`; None for what is no attribute of a variable's."""
    match node:
        case ast.Attribute(value=ast.Name(id=base), attr=attr):
            return [base, attr]
        case ast.Attribute(value=value, attr=attr):
            above = _segments(value)
            return None if above is None else [*above, attr]
        case ast.Subscript(value=value, slice=ast.Constant(value=int() | str() as key)):
            above = _segments(value)
            return None if above is None else [*above, str(key)]
    return None


def _class_around(tree: ast.Module, found: Construction) -> str:
    """The name of the innermost class that the construction is in, "" where it is in none."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.lineno <= found.line <= (node.end_lineno or node.lineno)
    ]
    return max(around, key=lambda node: node.lineno).name if around else ""
