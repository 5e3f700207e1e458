"""Which rules speak: select, extend-select and ignore, by prefix."""

from __future__ import annotations

from collections.abc import Iterable

from paramlint.errors import ParamlintError
from paramlint.record import dataclass
from paramlint.registry import RULES, check_selectors, matches


@dataclass(frozen=True)
class Selection:
    """One layer of settings: the project's, a target's, or the command line's. `select` None leaves what was there."""

    select: tuple[str, ...] | None = None
    extend: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def check(self, where: str) -> None:
        """Raises ParamlintError if a selector takes in no rule."""
        selectors = (*(self.select or ()), *self.extend, *self.ignore)
        if not all(s.strip() for s in selectors):
            raise ParamlintError("an empty text selects no rule", where=where)
        check_selectors(selectors, where)


def codes(layers: Iterable[Selection]) -> frozenset[str]:
    """The codes left on by layers, weakest first; all rules that are usually on are so before the first.

    Within a layer the longest selector wins, and `ignore` wins over the others at equal length. A layer with `select`
    starts afresh; one without adds to and takes from what the layers before it left.
    """
    on = {r.code for r in RULES if r.on}
    for layer in layers:
        before = on if layer.select is None else set()
        on = {r.code for r in RULES if _speaks(r.code, layer, r.code in before)}
    return frozenset(on)


def _speaks(code: str, layer: Selection, before: bool) -> bool:
    wanted = matches(code, (*(layer.select or ()), *layer.extend))
    unwanted = matches(code, layer.ignore)
    if wanted is None and unwanted is None:
        return before
    return _length(wanted) > _length(unwanted)


def _length(selector: str | None) -> int:
    if selector is None:
        return -1
    return 0 if selector.upper() == "ALL" else len(selector)
