"""PML607: in-place operations that are given their factor first, an overload that PyTorch has deprecated."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from paramlint.checks.optimizer_classes.context import Source
from paramlint.checks.optimizer_classes.scalars import Numbers
from paramlint.finding import Finding, Fix
from paramlint.source.statements import every

#: Number of tensors that each takes, the keywords of the numbers that came before them, and whether the number of
#: arguments alone tells the old form. From `tools/autograd/deprecated.yaml` of PyTorch.
_FORMS: dict[str, tuple[int, tuple[str, ...], bool]] = {
    "add_": (1, ("alpha",), False),
    "sub_": (1, ("alpha",), False),
    "addcmul_": (2, ("value",), True),
    "addcdiv_": (2, ("value",), True),
    "addcmul": (2, ("value",), True),
    "addcdiv": (2, ("value",), True),
    **dict.fromkeys(("addmm_", "addbmm_", "baddbmm_", "addmv_", "addr_"), (2, ("beta", "alpha"), True)),
}
_CALL = re.compile(rf"\.\s*(?:{'|'.join(_FORMS)})\s*\(")


def check(source: Source) -> Iterator[Finding]:
    """Anywhere in a file that imports torch.

    `add_` and `sub_` only where the first argument is a number for certain; the others have no other form with so many
    arguments.
    """
    if not source.imports.from_packages({"torch"}) or not _CALL.search(source.text):
        return
    numbers = Numbers(source.tree)
    for node in every(source.tree):
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr=name), args=given) if name in _FORMS:
                tensors, keywords, certain = _FORMS[name]
            case _:
                continue
        if (isinstance(of, ast.Name) and source.imports.qualified(of)) or any(
            isinstance(a, ast.Starred) for a in given
        ):
            continue  # a function of a module
        scalars = len(given) - tensors
        if not 1 <= scalars <= len(keywords) or any(k.arg != "out" for k in node.keywords):
            continue
        if not certain and not numbers.is_number(given[0], node):
            continue
        yield _finding(source, node, name, keywords[:scalars])


def _finding(source: Source, node: ast.Call, name: str, keywords: Sequence[str]) -> Finding:
    tensors = node.args[len(keywords) :]
    new = [_short(source, a) for a in tensors]
    new += [f"{k}={_short(source, a)}" for k, a in zip(keywords, node.args, strict=False)]
    fix = Fix(
        "deprecated-signature",
        source.start(node),
        source.end(node),
        True,
        f"Pass {' and '.join(keywords)} by keyword",
        {"keyword": keywords[-1]},
    )
    text = f"{name}({', '.join(new)})"
    return source.finding(
        "PML607",
        node,
        f"{name}() is given its {' and '.join(keywords)} first, a signature that PyTorch has deprecated",
        f"write .{text}",
        fix=fix,
    )


def _short(source: Source, node: ast.expr) -> str:
    text = " ".join(source.segment(node).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
