"""Which of the script's expressions are models: `self.model`, `raw_model`, the module itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from paramlint.source.script import Construction, SymbolicGroup
from paramlint.source.terms import Attribute, Op, Opaque, Root, Term, Var, mapped, mapped_item, walk

#: What a variable of a model is called: by the end of its name.
_MODELS = ("model", "net", "network", "module", "transformer_model", "policy", "backbone", "encoder", "decoder", "unet")


Change = Callable[[Term], Term | None]


def change(constructions: Iterable[Construction], names: Mapping[Term, str], in_module: bool) -> Change:
    """What replaces models by `Root`s and settings by `Opaque`s of their own text, for `mapped` of
    `paramlint.source.terms`.

    `names` has the variables that values were first given to; `in_module` says that `self` is a model.
    """
    found: dict[Term, str] = {}
    for term in _roots(tuple(constructions), in_module):
        name = _name(term, names)
        again = sum(taken.partition(" #")[0] == name for taken in found.values())
        found[term] = f"{name} #{again + 1}" if again else name
    return _change(found)


def rooted(constructions: Iterable[Construction], by: Change) -> tuple[Construction, ...]:
    """The constructions with models as `Root`s."""
    return tuple(_mapped(c, by) for c in constructions)


def _roots(given: tuple[Construction, ...], in_module: bool) -> Iterable[Term]:
    """The terms that stand for models: what is asked for all its parameters, or the longest expression that all the
    parts which are asked have in common."""
    chains: dict[Term, None] = {}
    for c in given:
        for g in c.groups:
            for item in g.items:
                for part in (item.value, *(b.of for b in item.binders)):
                    for chain in _chains(part):
                        chains[chain] = None
    bases: dict[Term, list[tuple[str, ...]]] = {}
    for chain in chains:
        base, path = _split(chain)
        bases.setdefault(base, []).append(path)
    return dict.fromkeys(
        _joined(base, p) for base, paths in bases.items() for p in sorted(_models(base, paths, in_module))
    )


def _chains(part: Term) -> Iterable[Term]:
    """The outermost chains of attributes in a term that start at something that is no variable."""
    stack = [part]
    while stack:
        term = stack.pop()
        base, _ = _split(term)
        if isinstance(base, Opaque):
            yield term
            continue
        if isinstance(term, Var):
            stack.append(term.binder.of)
        elif isinstance(term, Attribute):
            stack.append(term.of)
        elif isinstance(term, Op):
            stack.extend(term.args if term.op == "if" else term.args[:1])


def _split(term: Term) -> tuple[Term, tuple[str, ...]]:
    path: list[str] = []
    while True:
        if isinstance(term, Attribute):
            path.insert(0, term.name)
            term = term.of
        elif isinstance(term, Op) and term.op == "getitem":
            path.insert(0, "[]")
            term = term.args[0]
        else:
            return term, tuple(path)


def _joined(base: Term, path: tuple[str, ...]) -> Term:
    for name in path:
        base = Attribute(base, name)
    return base


def _models(base: Term, paths: list[tuple[str, ...]], in_module: bool) -> set[tuple[str, ...]]:
    text = base.text if isinstance(base, Opaque) else ""
    own = text == "self"
    if (own and in_module) or (not own and () in paths):
        return {()}
    if not own and text.lower().endswith(_MODELS):
        return {()}
    ends: set[tuple[str, ...]] = set()
    for path in paths:
        named = next((i for i, part in enumerate(path) if part.lower().endswith(_MODELS)), None)
        if named is not None:
            ends.add(path[: named + 1])
    if ends:
        shared = {e for e in ends if not any(e[: len(o)] == o and e != o for o in ends)}
        return shared if all(any(p[: len(e)] == e for e in shared) for p in paths) else {_common(paths)}
    return {_common(paths)}


def _common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    first = paths[0]
    size = 0
    while all(len(p) > size for p in paths) and len({p[size] for p in paths}) == 1 and first[size] != "[]":
        size += 1
    # One part alone says nothing of where the model ends; a list of attributes does.
    return first[:size] if len(paths) > 1 or size == 0 else first[: size - 1] if len(first) > 1 else first[:0]


def _change(roots: Mapping[Term, str]) -> Change:
    def change(term: Term) -> Term | None:
        if term in roots:
            return Root(roots[term])
        if isinstance(term, Attribute):
            base, _ = _split(term)
            inside = any(part in roots for part in walk(term))
            if not inside and isinstance(base, Opaque) and not base.args:
                return Opaque(_dotted(term))
        return None

    return change


def _name(term: Term, names: Mapping[Term, str]) -> str:
    if isinstance(term, Opaque):
        return names.get(term, term.text)
    return _dotted(term)


def _dotted(term: Term) -> str:
    if isinstance(term, Attribute):
        return f"{_dotted(term.of)}.{term.name}"
    if isinstance(term, Op) and term.op == "getitem":
        return f"{_dotted(term.args[0])}[...]"
    return term.text if isinstance(term, Opaque) else "?"


def _mapped(c: Construction, change: Change) -> Construction:
    return replace(
        c,
        groups=tuple(_group(g, change) for g in c.groups),
        options={k: mapped(v, change) for k, v in c.options.items()},
        when=mapped(c.when, change),
    )


def _group(g: SymbolicGroup, change: Change) -> SymbolicGroup:
    return replace(
        g,
        items=tuple(mapped_item(i, change) for i in g.items),
        options={k: mapped(v, change) for k, v in g.options.items()},
        key=None if g.key is None else mapped(g.key, change),
        when=mapped(g.when, change),
    )
