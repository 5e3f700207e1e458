"""Parameters of a known model that no group has: they are added to the one list that the script writes out."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from paramlint.checks.scripts.changed import Case
from paramlint.checks.scripts.sites import fix_at
from paramlint.finding import Fix
from paramlint.parameter import Inventory
from paramlint.source.terms import Attribute, Item, Root, Term

#: More than this, modules and single parameters together, are not written out.
_MOST = 4


def added(case: Case, names: Iterable[str]) -> Fix | None:
    """Puts parameters into the list of others that Muon does not get, where there is one such list, and none of them
    belongs into Muon."""
    inventory = case.ctx.inventory
    if inventory is None or any((p := inventory.find(n)) is None or p.destination == "muon" for n in names):
        return None
    lists = {id(display): (display, model) for display, model in _displays(case)}
    told = _told(inventory, tuple(names))
    if len(lists) != 1 or told is None:
        return None
    ((display, model),) = lists.values()
    more = [f"*{model}.{path}.parameters()" if whole else f"{model}.{path}" for path, whole in told]
    last = display.elts[-1]
    text = case.ctx.file.text_of(last)
    if last.lineno != last.end_lineno:
        return None
    title = f"Add {', '.join(more)} to the list"
    return fix_at(case.ctx.file, "replace-text", last, title, {"old": text, "text": ", ".join([text, *more])})


def _displays(case: Case) -> Iterator[tuple[ast.List, str]]:
    """The lists in which parameters of the model are written out one by one, for groups that Muon does not get, and
    what the model is called there."""
    for c in case.way.constructions:
        for g in c.groups:
            if case.ctx.half(c, g) != "adam" or g.unread:
                continue
            for item in g.items:
                path = _path(item, case.root)
                for node in case.source.at(item.span) if path else ():
                    above, text = case.source.parents.get(node), ast.unparse(node)
                    if isinstance(above, ast.List) and text.endswith(f".{path}"):
                        yield above, text.removesuffix(f".{path}")


def _path(item: Item, root: Root) -> str:
    """The name of a parameter that is put somewhere by itself."""
    parts: list[str] = []
    term: Term = item.value
    while isinstance(term, Attribute) and not item.binders:
        parts.insert(0, term.name)
        term = term.of
    return ".".join(parts) if term == root else ""


def _told(inventory: Inventory, names: tuple[str, ...]) -> list[tuple[str, bool]] | None:
    """Paths of modules all of whose parameters these are, and of other parameters; None where they are too many."""
    found: dict[tuple[str, bool], None] = {}
    for name in names:
        whole = next((m for m in _above(name) if all(n in names for n in _inside(inventory, m))), "")
        found[(whole, True) if whole else (name, False)] = None
    if len(found) > _MOST or any(part.isdigit() for path, _ in found for part in path.split(".")):
        return None
    return list(found)


def _above(name: str) -> Iterator[str]:
    """The modules that a parameter is in, the outermost first."""
    parts = name.split(".")[:-1]
    return (".".join(parts[:i]) for i in range(1, len(parts) + 1))


def _inside(inventory: Inventory, module: str) -> Iterator[str]:
    return (p.name for p in inventory.parameters if any(s.name.startswith(f"{module}.") for s in p.sites))
