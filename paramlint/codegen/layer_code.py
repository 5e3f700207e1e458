"""The layer of every parameter in a generated module, and the factor on lr of each layer."""

from __future__ import annotations

import re
from itertools import groupby

from paramlint.codegen.text import INDENT, WIDTH, Section, comment, docstring, enclosed, literal
from paramlint.errors import ParamlintError
from paramlint.planned import LayerPlace, LayerRule, Layers, Plan
from paramlint.planning.layers_rules import beginnings

#: A function that can be imported by its name, and how it is called.
_IMPORTABLE = re.compile(
    r"(?P<module>(?!__main__:)[A-Za-z_]\w*(?:\.(?!py:)[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)(?P<counts>\(.*\))?"
)
#: Names that generated modules define themselves.
_OWN_NAMES = frozenset(
    {"LR_SCALES", "LAYERS", "layers_of", "kinds_of", "param_groups", "build_optimizer", "plain_name"}
)
_ELSEWHERE: dict[LayerPlace, str] = {
    "first": "0",
    "next": "len(blocks) + 1",
    "previous": "len(blocks)",
    "last": 'float("inf")',
}


def section(plan: Plan, explicit: bool = False) -> Section:
    """`LR_SCALES`, by layer, and `layers_of(model)`: the layer of every parameter by its name as yielded.

    By rules that fit another depth, where the plan has them; by the user's own function, where it can be imported; else
    by a table of the beginnings of names. Always by the table with `explicit`.

    Raises:
        ParamlintError: the plan has no layers.
    """
    if plan.layers is None:
        raise ParamlintError("a plan without layers has no code for them")
    scales = "\n".join(
        (
            comment("What lr is multiplied by in each layer, from the first to the last."),
            enclosed("LR_SCALES: tuple[float, ...] = (", map(literal, plan.scales), ")", broken=True),
        )
    )
    given = None if explicit else _IMPORTABLE.fullmatch(plan.layers.source)
    if given:
        return _by_function(scales, given)
    if plan.layers.rules and not explicit:
        return _by_rules(scales, plan.layers.rules)
    return _by_table(scales, plan.layers)


def _by_rules(scales: str, rules: tuple[LayerRule, ...]) -> Section:
    used = {rule.place for rule in rules}
    said = {
        "first": '"first" is the first layer',
        "own": '"own" a layer for each match',
        "next": '"next" that of the block after it',
        "previous": '"previous" that of the block before it',
        "last": '"last" the last layer',
    }
    about = ", ".join(text for place, text in said.items() if place in used)
    about = f"Which layer a parameter is in, by the beginning of its name: {about}."
    table = enclosed("LAYERS: tuple[tuple[str, str], ...] = (", _regexes(rules), ")", broken=True)
    elsewhere = {place: code for place, code in _ELSEWHERE.items() if place in used}
    lines = ["blocks: dict[str, int] = {}"] if used & {"own", "next", "previous"} else []
    lines += [
        "slots: dict[str, float] = {}",
        "for name, _ in model.named_parameters():",
        "    for pattern, place in LAYERS:",
        r'        if match := re.match(rf"(?:{pattern})(?![^.])", plain_name(name)):',
        "            break",
        "    else:",
        '        raise ValueError(f"{name}: no layer is known for it")',
    ]
    if "own" in used:
        own = "slots[name] = blocks.setdefault(match[0], len(blocks) + 1)"
        lines += ['    if place == "own":', f"        {own}"] if elsewhere else [f"    {own}"]
    if elsewhere:
        inside = INDENT * (2 if "own" in used else 1)
        lines += ["    else:"] if "own" in used else []
        lines += [f"{inside}{line}" for line in _chosen(elsewhere, len(inside) + len(INDENT)).split("\n")]
    lines += [
        "layers = sorted(set(slots.values()))",
        "if len(layers) != len(LR_SCALES):",
        '    counts = f"the model has {len(layers)}, LR_SCALES is for {len(LR_SCALES)}"',
        '    raise ValueError(f"another number of layers: {counts}")',
        "return {name: layers.index(slot) for name, slot in slots.items()}",
    ]
    return _assembled(
        scales,
        f"{comment(about)}\n{table}",
        "The layer of every parameter, by name, whatever the depth of the model.",
        "Raises ValueError for a parameter that no pattern matches, and for a model with "
        "another number of layers than `LR_SCALES`.",
        lines,
        ("import re", "from torch import nn"),
    )


def _chosen(elsewhere: dict[LayerPlace, str], indent: int) -> str:
    if len(elsewhere) == 1:
        return f"slots[name] = {next(iter(elsewhere.values()))}"
    if set(elsewhere) == {"first", "last"}:
        return 'slots[name] = 0 if place == "first" else float("inf")'
    items = [f"{literal(place)}: {code}" for place, code in elsewhere.items()]
    return enclosed("elsewhere = {", items, "}", indent=indent, broken=True) + "\nslots[name] = elsewhere[place]"


def _regexes(rules: tuple[LayerRule, ...]) -> list[str]:
    """Pairs of a regular expression and a place: what comes together and has one place in one, as far as it fits."""
    found: list[str] = []
    for place, together in groupby(rules, key=lambda rule: rule.place):
        pattern = ""
        for rule in together:
            one = re.escape(rule.pattern).replace(r"\*", r"\d+").replace(r"\-", "-")
            more = f"{pattern}|{one}" if pattern else one
            if len(_pair(more, place)) + len(INDENT) > WIDTH and pattern:
                found.append(_pair(pattern, place))
                more = one
            pattern = more
        found.append(_pair(pattern, place))
    return found


def _pair(pattern: str, place: LayerPlace) -> str:
    return f'({"r" if chr(92) in pattern else ""}"{pattern}", "{place}")'


def _by_table(scales: str, layers: Layers) -> Section:
    held: list[list[str]] = [[] for _ in range(layers.count)]
    for path, layer in beginnings(layers.of).items():
        held[layer].append(path)
    rows = [
        enclosed("(", map(literal, paths), ",)" if len(paths) == 1 else ")", indent=len(INDENT) + 1) for paths in held
    ]
    table = enclosed("LAYERS: tuple[tuple[str, ...], ...] = (", rows, ")", broken=True)
    lines = [
        "layers = {path: layer for layer, paths in enumerate(LAYERS) for path in paths}",
        "found: dict[str, int] = {}",
        "for name, _ in model.named_parameters():",
        "    path = plain_name(name)",
        "    while path and path not in layers:",
        '        path = path.rpartition(".")[0]',
        "    if not path:",
        '        raise ValueError(f"{name}: no layer is known for it")',
        "    found[name] = layers[path]",
        "return found",
    ]
    return _assembled(
        scales,
        f"{comment('What each layer holds, from the first to the last: modules and parameters.')}\n{table}",
        "The layer of every parameter, by name.",
        "Raises ValueError for a parameter that is in none.",
        lines,
        ("from torch import nn",),
    )


def _by_function(scales: str, given: re.Match[str]) -> Section:
    module, name = given["module"], given["name"]
    alias = f"own_{name}" if name in _OWN_NAMES else name
    imported = f"from {module} import {name}" + (f" as {alias}" if alias != name else "")
    count = ", len(LR_SCALES)" if given["counts"] else ""
    lines = [
        "layers: dict[str, int] = {}",
        "for name, _ in model.named_parameters():",
        f"    layer = {alias}(plain_name(name){count})",
        "    if not 0 <= layer < len(LR_SCALES):",
        '        raise ValueError(f"{name}: layer {layer}, of {len(LR_SCALES)}")',
        "    layers[name] = layer",
        "return layers",
    ]
    return _assembled(
        scales,
        "",
        f"The layer of every parameter, by name, as `{name}` says.",
        "Raises ValueError for a layer that has no lr scale.",
        lines,
        (imported, "from torch import nn"),
    )


def _assembled(
    scales: str, table: str, summary: str, raises: str, lines: list[str], imports: tuple[str, ...]
) -> Section:
    body = "\n".join(
        (
            "def layers_of(model: nn.Module) -> dict[str, int]:",
            *(f"{INDENT}{line}" if line else "" for line in docstring(summary, raises, indent=4).split("\n")),
            *(f"{INDENT}{line}" for line in lines),
        )
    )
    constants = f"{scales}\n\n{table}" if table else scales
    return Section(f"{constants}\n\n\n{body}", imports)
