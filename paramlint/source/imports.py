"""What the names in a file stand for, as far as its import statements tell."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping

from paramlint.record import dataclass
from paramlint.source.statements import statements


@dataclass(frozen=True)
class Imports:
    """The import statements of a file, wherever in it they are: in functions too, and both ways of a `try`.

    `names` has the qualified names that each imported name may stand for, `stars` the modules that `*` was taken from.
    Names of relative imports begin with their dots (".muon.Muon").
    """

    names: Mapping[str, frozenset[str]]
    stars: tuple[str, ...] = ()

    def qualified(self, node: ast.expr) -> tuple[str, ...]:
        """The qualified names that an expression such as `optim.AdamW` may stand for, sorted.

        Empty where it is no dotted name, or where its first part was not imported, by name or by a star.
        """
        name = dotted(node)
        if name is None:
            return ()
        first, dot, rest = name.partition(".")
        heads = self.names.get(first) or {f"{module}.{first}" for module in self.stars}
        return tuple(sorted(f"{head}{dot}{rest}" for head in heads))

    def from_packages(self, packages: Collection[str]) -> bool:
        """Whether anything is imported from one of these top-level packages."""
        every = (*self.stars, *(name for heads in self.names.values() for name in heads))
        return any(name.partition(".")[0] in packages for name in every)


def read(tree: ast.AST) -> Imports:
    """The imports of a file."""
    names, stars = imported(tree)
    return Imports({name: frozenset(heads) for name, heads in names.items()}, tuple(stars))


def imported(tree: ast.AST) -> tuple[dict[str, set[str]], list[str]]:
    """The qualified names that each imported name stands for, wherever it is imported; and what `*` was taken from."""
    names: dict[str, set[str]] = {}
    stars = []
    for node in statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                names.setdefault(bound, set()).add(alias.name if alias.asname else bound)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                if alias.name == "*":
                    stars.append(module)
                else:
                    joint = "" if module.endswith(".") else "."
                    names.setdefault(alias.asname or alias.name, set()).add(f"{module}{joint}{alias.name}")
    return names, stars


def dotted(node: ast.expr) -> str | None:
    """The text of a name or of attributes of one ("torch.optim.AdamW"), None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else None
    return None
