"""The layer of every parameter in a generated module, and the factor on lr of each layer."""

from __future__ import annotations

import re
from itertools import groupby

from paramlint.codegen.text import INDENT, WIDTH, Section, comment, docstring, enclosed, literal, regex
from paramlint.errors import ParamlintError
from paramlint.planned import LayerPlace, LayerRule, Layers, Plan
from paramlint.planning.layers import factor
from paramlint.planning.layers_rules import alone, beginnings, expression

#: A function that can be imported by its name, and how it is called.
_IMPORTABLE = re.compile(
    r"(?P<module>(?!__main__:)[A-Za-z_]\w*(?:\.(?!py:)[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)(?P<counts>\(.*\))?"
)
#: Names that generated modules define themselves.
_OWN_NAMES = frozenset(
    "LR_SCALES LAYER_DECAY LAYER_COUNT LAYERS ALONE layers_of lr_scales kinds_of param_groups build_optimizer "
    "plain_name".split()
)
_LAST_FOUND = "max(layers.values(), default=0)"
_ELSEWHERE: dict[LayerPlace, str] = {
    "first": "0",
    "next": "len(blocks) + 1",
    "previous": "len(blocks)",
    "last": 'float("inf")',
}


def section(plan: Plan, explicit: bool = False) -> Section:
    """`layers_of(model)`: the layer of every parameter by its name as yielded; and the factor on lr of each layer.

    By rules that fit another depth, where the plan has them; by the user's own function, where it can be imported; else
    by a table of the beginnings of names. Always by the table with `explicit`. The factors are those of `LR_SCALES`, or
    where one factor makes them all (`planning.layers.factor`) those that `lr_scales(layers)` gives for `LAYER_DECAY`.

    Raises:
        ParamlintError: the plan has no layers.
    """
    if plan.layers is None:
        raise ParamlintError("a plan without layers has no code for them")
    given = _function(plan.layers, explicit)
    if given:
        return _by_function(plan, plan.layers, given)
    if plan.layers.rules and not explicit:
        return _by_rules(plan, plan.layers)
    return _by_table(plan, plan.layers)


def any_depth(plan: Plan, explicit: bool = False) -> bool:
    """Whether the code is for models of another depth too: by rules, with one factor from each layer to the next."""
    layers = plan.layers
    if layers is None or explicit or _function(layers, explicit) or not layers.rules:
        return False
    return factor(plan.scales) is not None


def about(plan: Plan, explicit: bool = False) -> str:
    """Where the layers come from, and which other depths the code is for."""
    if plan.layers is None:
        return ""
    said = "for this depth alone: another is an error"
    if any_depth(plan, explicit):
        fixed = alone(plan.layers.rules, plan.layers.of)
        said = "for other depths too" + (", but lists of one member have to stay so" if fixed else "")
    return "; ".join(part for part in (plan.layers.source, said) if part)


def _function(layers: Layers, explicit: bool) -> re.Match[str] | None:
    return None if explicit else _IMPORTABLE.fullmatch(layers.source)


def _scales(plan: Plan, last: str) -> tuple[str, list[str]]:
    """The constant that has the factors on lr, or makes them, and the function that makes them, if there is one.

    Args:
        last: the expression for the number of the last layer.
    """
    decay = factor(plan.scales)
    if decay is None:
        said = comment("What lr is multiplied by in each layer, from the first to the last.")
        table = enclosed("LR_SCALES: list[float] = [", map(literal, plan.scales), "]", broken=True)
        return f"{said}\n{table}", []
    said = comment("What lr is multiplied by from each layer to the one before it; the last has all of it.")
    lines = [f"last = {last}", "return [LAYER_DECAY ** (last - layer) for layer in range(last + 1)]"]
    doc = docstring("What lr is multiplied by in each layer, from the first to the last.", indent=len(INDENT))
    return f"{said}\nLAYER_DECAY = {literal(decay)}", [
        "def lr_scales(layers: dict[str, int]) -> list[float]:",
        *(f"{INDENT}{line}" for line in (doc, *lines)),
    ]


def _by_rules(plan: Plan, layers: Layers) -> Section:
    rules, open_ended = layers.rules, factor(plan.scales) is not None
    used = {rule.place for rule in rules}
    said = {
        "first": '"first" is the first layer',
        "own": '"own" a layer for each match',
        "next": '"next" that of the block after it',
        "previous": '"previous" that of the block before it',
        "last": '"last" the last layer',
    }
    places = ", ".join(text for place, text in said.items() if place in used)
    tables = [
        comment(f"Which layer a parameter is in, by the beginning of its name: {places}."),
        enclosed("LAYERS: list[tuple[str, str]] = [", _regexes(rules), "]", broken=True),
    ]
    fixed = list(map(regex, alone(rules, layers.of)))
    if fixed:
        told = (
            "Further members of lists that had one when this was written, so that nothing showed whether each is a "
            "layer, or all are parts of one: write it for a model that has two."
        )
        tables += ["", comment(told), enclosed("ALONE: list[str] = [", fixed, "]", broken=True)]
    elsewhere = {place: code for place, code in _ELSEWHERE.items() if place in used}
    lines = ["blocks: dict[str, int] = {}"] if used & {"own", "next", "previous"} else []
    lines += ["slots: dict[str, float] = {}", "for name, _ in model.named_parameters():"]
    if fixed:
        lines += [
            "    if any(re.match(pattern, plain_name(name)) for pattern in ALONE):",
            '        raise ValueError(f"{name}: in a list that had one member: see ALONE")',
        ]
    lines += [
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
    lines += ["layers = sorted(set(slots.values()))"]
    if not open_ended:
        lines += [
            "if len(layers) != len(LR_SCALES):",
            '    counts = f"the model has {len(layers)}, LR_SCALES is for {len(LR_SCALES)}"',
            '    raise ValueError(f"another number of layers: {counts}")',
        ]
    lines += ["return {name: layers.index(slot) for name, slot in slots.items()}"]
    errors = ["a parameter that no pattern matches"]
    errors += ["a list in ALONE that has become longer"] if fixed else []
    errors += ["a model with another number of layers than `LR_SCALES`"] if not open_ended else []
    return _assembled(
        _scales(plan, _LAST_FOUND),
        "\n".join(tables),
        f"The layer of every parameter, by name{', whatever the depth of the model' if open_ended else ''}.",
        f"Raises ValueError for {', and for '.join(errors)}.",
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
            one = expression(rule.pattern)
            more = f"{pattern}|{one}" if pattern else one
            if len(_pair(more, place)) + len(INDENT) > WIDTH and pattern:
                found.append(_pair(pattern, place))
                more = one
            pattern = more
        found.append(_pair(pattern, place))
    return found


def _pair(pattern: str, place: LayerPlace) -> str:
    return f'({regex(pattern)}, "{place}")'


def _by_table(plan: Plan, layers: Layers) -> Section:
    held: list[list[str]] = [[] for _ in range(layers.count)]
    for path, layer in beginnings(layers.of).items():
        held[layer].append(path)
    rows = [
        enclosed("(", map(literal, paths), ",)" if len(paths) == 1 else ")", indent=len(INDENT) + 1) for paths in held
    ]
    table = enclosed("LAYERS: list[tuple[str, ...]] = [", rows, "]", broken=True)
    lines = [
        "layers = {path: layer for layer, paths in enumerate(LAYERS) for path in paths}",
        "missing = dict.fromkeys(layers)",
        "found: dict[str, int] = {}",
        "for name, _ in model.named_parameters():",
        "    path = plain_name(name)",
        "    while path and path not in layers:",
        '        path = path.rpartition(".")[0]',
        "    if not path:",
        '        raise ValueError(f"{name}: no layer is known for it")',
        "    missing.pop(path, None)",
        "    found[name] = layers[path]",
        "if missing:",
        '    raise ValueError(f"{next(iter(missing))}: the model has no parameter there")',
        f"if len(found) != {len(layers.of)}:",
        f'    raise ValueError(f"{{len(found)}} parameters, and layers are known of {len(layers.of)}")',
        "return found",
    ]
    return _assembled(
        _scales(plan, _last(layers)),
        f"{comment('What each layer holds, from the first to the last: modules and parameters.')}\n{table}",
        "The layer of every parameter, by name.",
        "Raises ValueError for a parameter that is in none, where one has no parameter, and for "
        "another number of parameters.",
        lines,
        ("from torch import nn",),
    )


def _by_function(plan: Plan, layers: Layers, given: re.Match[str]) -> Section:
    module, name = given["module"], given["name"]
    alias = f"own_{name}" if name in _OWN_NAMES else name
    imported = f"from {module} import {name}" + (f" as {alias}" if alias != name else "")
    fixed = factor(plan.scales) is None
    many = "len(LR_SCALES)" if fixed else "LAYER_COUNT"
    table = "" if fixed else f"{comment(f'How many layers {name} knows.')}\nLAYER_COUNT = {layers.count}"
    seen = len(set(layers.of.values()))
    lines = [
        "layers: dict[str, int] = {}",
        "for name, _ in model.named_parameters():",
        f"    layer = {alias}(plain_name(name){f', {many}' if given['counts'] else ''})",
        f"    if not 0 <= layer < {many}:",
        f'        raise ValueError(f"{{name}}: layer {{layer}}, of {{{many}}}")',
        "    layers[name] = layer",
        f"if len(set(layers.values())) != {seen}:",
        '    found = f"{len(set(layers.values()))} layers have parameters"',
        f'    raise ValueError(f"{{found}}, and {seen} had when this was written")',
        "return layers",
    ]
    return _assembled(
        _scales(plan, "LAYER_COUNT - 1"),
        table,
        f"The layer of every parameter, by name, as `{name}` says.",
        "Raises ValueError for a layer that has no lr scale, and for another number of layers with parameters.",
        lines,
        (imported, "from torch import nn"),
    )


def _last(layers: Layers) -> str:
    """The last layer, which may have no parameters."""
    return _LAST_FOUND if layers.count == 1 + max(layers.of.values(), default=0) else str(layers.count - 1)


def _assembled(
    scales: tuple[str, list[str]], table: str, summary: str, raises: str, lines: list[str], imports: tuple[str, ...]
) -> Section:
    constant, function = scales
    body = [
        "def layers_of(model: nn.Module) -> dict[str, int]:",
        *(f"{INDENT}{line}" if line else "" for line in docstring(summary, raises, indent=4).split("\n")),
        *(f"{INDENT}{line}" for line in lines),
        *(["", "", *function] if function else []),
    ]
    constants = f"{constant}\n\n{table}" if table else constant
    return Section(f"{constants}\n\n\n{chr(10).join(body)}", imports)
