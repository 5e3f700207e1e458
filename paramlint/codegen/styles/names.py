"""`kinds_of` by the names of all parameters, held against a fingerprint of the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from paramlint.codegen.text import Section, enclosed, literal
from paramlint.folding import fold
from paramlint.parameter import Inventory, Parameter
from paramlint.planned import Plan

#: The heading of parameters that are not trained.
_FROZEN = "frozen"
#: What a set of numbers in a pattern looks like: where a name has it, none are folded.
_SET = re.compile(r"\{[\d.,]+\}")

_EXPANDED = '''\
def expanded(pattern: str) -> list[str]:
    """The names of a pattern: `h.0.w`, `h.2.w` and `h.3.w` of `h.{0,2..3}.w`."""
    found = re.search(r"\\{([\\d.,]+)\\}", pattern)
    if found is None:
        return [pattern]
    numbers: list[int] = []
    for run in found[1].split(","):
        first, _, last = run.partition("..")
        numbers += range(int(first), int(last or first) + 1)
    start, end = pattern[: found.start()], pattern[found.end() :]
    return [name for i in numbers for name in expanded(f"{start}{i}{end}")]


'''
_BODY = '''\
# Of the model that this was written for: see `fingerprint`.
FINGERPRINT = {fingerprint}

{parameters}


{expanded}def fingerprint(model: nn.Module) -> str:
    """Of names, shapes, `requires_grad` and ties, in order."""
    names: dict[int, list[str]] = {{}}
    for name, p in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), []).append(plain_name(name))
    lines: list[str] = []
    for p in model.parameters():
        name, *aliases = names[id(p)]
        lines.append(f"{{name}} {{tuple(p.shape)}} {{p.requires_grad}} {{tuple(aliases)}}")
    return sha256("\\n".join(lines).encode()).hexdigest()[:12]


def kinds_of(model: nn.Module) -> dict[str, str]:
    """The kind of every trainable parameter, by name.

    Raises:
        ValueError: the model is not the one that this file was written for.
    """
    planned: dict[str, tuple[str, str]] = {{}}
    for kind, patterns in PARAMETERS.items():
        for told in {told}:
            name, _, shape = told.rpartition(" (")
            planned[name] = kind, f"({{shape}}"
    missing = dict.fromkeys(planned)
    kinds: dict[str, str] = {{}}
    for name, p in model.named_parameters():
        plain = plain_name(name)
        if plain not in planned:
            raise ValueError(f"{{name}} was not there when this file was written")
        kind, shape = planned[plain]
        if str(tuple(p.shape)) != shape:
            raise ValueError(f"{{name}} has shape {{tuple(p.shape)}}, not {{shape}}")
        if p.requires_grad == (kind == "frozen"):
            now = "trained" if p.requires_grad else "frozen"
            raise ValueError(f"{{name}} is {{now}} now, and was not")
        if p.requires_grad:
            kinds[name] = kind
        missing.pop(plain, None)
    if missing:
        raise ValueError(f"{{next(iter(missing))}} is no parameter of the model")
    if fingerprint(model) != FINGERPRINT:
        raise ValueError("the parameters are tied otherwise, or in another order")
    return kinds
'''


def section(plan: Plan, inventory: Inventory) -> Section:
    """`kinds_of`, the folded names and shapes of each kind, and the fingerprint."""
    folded = not any(_SET.search(p.name) for p in inventory.parameters)
    headings = {p.name: plan.labels[p.name] if p.trainable else _FROZEN for p in inventory.parameters}
    order = [*(k.label for k in plan.kinds), *([_FROZEN] if _FROZEN in headings.values() else [])]
    groups = [
        enclosed(
            f"{literal(label)}: [",
            _lines([p for p in inventory.parameters if headings[p.name] == label], folded),
            "]",
            broken=True,
        )
        for label in order
    ]
    body = _BODY.format(
        fingerprint=literal(inventory.fingerprint),
        parameters=enclosed("PARAMETERS: dict[str, list[str]] = {", groups, "}", broken=True),
        expanded=_EXPANDED if folded else "",
        told="(one for pattern in patterns for one in expanded(pattern))" if folded else "patterns",
    )
    imports = ("import re",) if folded else ()
    return Section(body.rstrip("\n"), (*imports, "from hashlib import sha256", "from torch import nn"))


def _lines(parameters: list[Parameter], folded: bool) -> Iterator[str]:
    if not folded:
        yield from (literal(f"{p.name} {p.shape}") for p in parameters)
        return
    for together in fold(parameters, name=lambda p: p.name, key=lambda p: p.shape):
        yield literal(f"{together.pattern} {together.items[0].shape}")
