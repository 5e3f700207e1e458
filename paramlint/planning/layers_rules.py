"""Rules for layers: what they say of the names of a model, and rules found for layers that are known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from paramlint.planned import LayerPlace, LayerRule

_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]*)")
#: With more rules than this a table is read more easily.
_MOST = 24
_Instances = dict[str, list[str]]


def beginnings(of: Mapping[str, int]) -> dict[str, int]:
    """The shortest beginnings of names, whole segments, under which all parameters are of one layer; with that layer.

    In the order of their first names. The empty beginning is none.
    """
    layers: dict[str, set[int]] = {}
    for name, layer in of.items():
        for path in _paths(name):
            layers.setdefault(path, set()).add(layer)
    found: dict[str, int] = {}
    for name, layer in of.items():
        found[next(path for path in _paths(name) if len(layers[path]) == 1)] = layer
    return found


def evaluate(rules: Sequence[LayerRule], names: Iterable[str]) -> dict[str, int] | None:
    """The layer of every name, which come in the order of the model; None where no rule matches one of them.

    Layers are what is "first", each match of an "own" pattern in the order in which they begin, and what is "last"; of
    these, the ones that have parameters are numbered from 0. "next" and "previous" stand for the "own" match that
    begins next after a name, or has begun last before it.
    """
    matchers = [(matcher(rule.pattern), rule.place) for rule in rules]
    own: dict[str, int] = {}
    slots: dict[str, float] = {}
    for name in names:
        matched = next(((m[0], place) for regex, place in matchers if (m := regex.match(name))), None)
        if matched is None:
            return None
        path, place = matched
        number = own.setdefault(path, len(own) + 1) if place == "own" else len(own)
        slots[name] = {"first": 0, "own": number, "next": number + 1, "previous": number, "last": inf}[place]
    order = {slot: layer for layer, slot in enumerate(sorted(set(slots.values())))}
    return {name: order[slot] for name, slot in slots.items()}


def matcher(pattern: str) -> re.Pattern[str]:
    """What matches the beginnings of names that a pattern stands for."""
    return re.compile(expression(pattern) + r"(?![^.])")


def expression(pattern: str) -> str:
    """The regular expression of a pattern."""
    return re.escape(pattern).replace(r"\*", r"\d+").replace(r"\-", "-")


def alone(rules: Sequence[LayerRule], of: Mapping[str, int]) -> list[str]:
    """Regular expressions for what would be further members of lists that have one member wherever they are, in or
    around layers of their own.

    Of one member it cannot be seen whether a longer list would be a stage whose members are layers, or a part of one
    layer (one block in each of four stages: the stages are the layers). In the order of the model.
    """
    matchers = [(matcher(rule.pattern), rule.place) for rule in rules]
    numbers: dict[str, set[str]] = {}
    own: set[str] = set()
    for name in of:
        place = next((place for regex, place in matchers if regex.match(name)), None)
        segments = name.split(".")
        for i, number in enumerate(segments):
            if number.isdigit():
                path = _unnumbered(".".join(segments[:i]))
                numbers.setdefault(path, set()).add(number)
                own |= {path} if place == "own" else set()
    single = {path: min(found) for path, found in numbers.items() if path in own and len(found) == 1}
    return [expression(f"{path}." if path else "") + rf"(?!{n}\b)\d+" for path, n in single.items()]


def find(of: Mapping[str, int]) -> tuple[LayerRule, ...]:
    """Rules that give exactly these layers, of names in the order of the model; () where there are none so simple."""
    for counted in (_counted(of), frozenset[tuple[str, str]]()):
        rules = _rules(of, counted)
        if 0 < len(rules) <= _MOST and evaluate(rules, of) == of:
            return rules
    return ()


def _paths(name: str) -> list[str]:
    segments = name.split(".")
    return [".".join(segments[: i + 1]) for i in range(len(segments))]


def _counted(of: Mapping[str, int]) -> frozenset[tuple[str, str]]:
    """The beginnings of segments that count (`layer` of `layer3`), with what is before them: those with three layers
    or more, or with several in one segment. Two of one layer each (`bn1`, `bn2`) are two different things."""
    layers: dict[tuple[str, str], dict[str, set[int]]] = {}
    for name, layer in of.items():
        for path in _paths(name):
            above, _, segment = path.rpartition(".")
            found = _NUMBERED.fullmatch(segment)
            if found and found[1]:
                layers.setdefault((_unnumbered(above), found[1]), {}).setdefault(path, set()).add(layer)
    return frozenset(
        start
        for start, seen in layers.items()
        if len(seen) > 1
        and (len({layer for own in seen.values() for layer in own}) > 2 or any(len(own) > 1 for own in seen.values()))
    )


def _unnumbered(path: str) -> str:
    return re.sub(r"\d+", "*", path)


def _abstract(path: str, counted: frozenset[tuple[str, str]]) -> str:
    """The pattern of a path: `*` for segments that are whole numbers, and for the numbers of those that count."""
    segments = path.split(".")
    for i, segment in enumerate(segments):
        found = _NUMBERED.fullmatch(segment)
        if found and (not found[1] or (_unnumbered(".".join(path.split(".")[:i])), found[1]) in counted):
            segments[i] = found[1] + "*"
    return ".".join(segments)


def _rules(of: Mapping[str, int], counted: frozenset[tuple[str, str]]) -> tuple[LayerRule, ...]:
    patterns = _patterns(of, counted)
    places = _own(of, patterns)
    taken = sorted({of[names[0]] for p in places for names in patterns[p].values()})
    begun = _begun(of, {i for p in places for i in patterns[p]}, patterns)
    for pattern, instances in patterns.items():
        if pattern not in places:
            place = _place(of, [n for names in instances.values() for n in names], taken, begun)
            if place is None:
                return ()
            places[pattern] = place
    return tuple(LayerRule(pattern, places[pattern]) for pattern in patterns)


def _patterns(of: Mapping[str, int], counted: frozenset[tuple[str, str]]) -> dict[str, _Instances]:
    """Patterns that together match every name once, each match within one layer; as short as that allows.

    With the beginnings that each stands for, and the names under these.
    """
    found: dict[str, _Instances] = {}
    pending, depth = list(of), 0
    while pending:
        here: dict[str, _Instances] = {}
        for name in pending:
            path = ".".join(name.split(".")[: depth + 1])
            here.setdefault(_abstract(path, counted), {}).setdefault(path, []).append(name)
        pending, depth = [], depth + 1
        for pattern, instances in here.items():
            if all(len({of[n] for n in names}) == 1 for names in instances.values()):
                found[pattern] = instances
            else:
                pending += [n for names in instances.values() for n in names]
    first = {name: i for i, name in enumerate(of)}
    return dict(sorted(found.items(), key=lambda item: min(first[names[0]] for names in item[1].values())))


def _own(of: Mapping[str, int], patterns: Mapping[str, _Instances]) -> dict[str, LayerPlace]:
    """The patterns whose matches are layers of their own: repeated ones first, those with most matches before others,
    then single ones between the ends."""
    top = max(of.values(), default=0)
    own: dict[str, LayerPlace] = {}
    taken: set[int] = set()
    for pattern in sorted(patterns, key=lambda p: (-("*" in p), -len(patterns[p]))):
        layers = [of[names[0]] for names in patterns[pattern].values()]
        ends = len(layers) == 1 and layers[0] in (0, top)
        if len(set(layers)) == len(layers) and not ends and taken.isdisjoint(layers):
            own[pattern] = "own"
            taken.update(layers)
    return own


def _begun(of: Mapping[str, int], own: set[str], patterns: Mapping[str, _Instances]) -> dict[str, int]:
    """How many layers of their own have begun where a name stands, by name."""
    inside = {n: i for instances in patterns.values() for i, names in instances.items() for n in names}
    seen: set[str] = set()
    found: dict[str, int] = {}
    for name in of:
        if inside[name] in own:
            seen.add(inside[name])
        found[name] = len(seen)
    return found


def _place(
    of: Mapping[str, int], names: Sequence[str], taken: Sequence[int], begun: Mapping[str, int]
) -> LayerPlace | None:
    layers = {of[n] for n in names}
    if layers == {0} and 0 not in taken:
        return "first"
    if layers == {max(of.values())} and not layers & set(taken):
        return "last"
    if all(begun[n] < len(taken) and of[n] == taken[begun[n]] for n in names):
        return "next"
    if all(begun[n] > 0 and of[n] == taken[begun[n] - 1] for n in names):
        return "previous"
    return None
