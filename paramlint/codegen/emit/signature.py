"""Settings as the keyword arguments of generated functions: signatures, docstrings, and calls."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from paramlint.codegen.text import INDENT, WIDTH, docstring, enclosed, literal
from paramlint.parameter import Plain
from paramlint.planned import Plan, Ref, Setting
from paramlint.profile import Profile

_OF_ADAMW = ("lr", "betas", "eps", "weight_decay")


def in_groups(plan: Plan) -> tuple[Setting, ...]:
    """The settings that options of groups refer to."""
    names = {o.setting for kind in plan.kinds for o in kind.options.values() if isinstance(o, Ref)}
    return tuple(s for s in plan.settings if s.name in names)


def of_constructor(plan: Plan, profile: Profile) -> dict[str, Setting]:
    """The settings that the constructor takes and no group refers to, by the names that it has for them."""
    found: dict[str, Setting] = {}
    inside = in_groups(plan)
    for setting in plan.settings:
        names = (setting.name, f"adamw_{setting.name}", *((profile.decay_key,) if "decay" in setting.name else ()))
        taken = next((n for n in names if n in profile.defaults), None)
        if taken and setting not in inside:
            found[taken] = setting
    return found


def of_adamw(plan: Plan, profile: Profile) -> dict[str, Setting]:
    """The settings for the constructor of a second optimizer, an AdamW, by its names for them."""
    elsewhere = (*in_groups(plan), *of_constructor(plan, profile).values())
    found = {s.name.removeprefix("adamw_"): s for s in plan.settings if s not in elsewhere}
    return {name: s for name, s in found.items() if name in _OF_ADAMW}


def in_order(plan: Plan, settings: Iterable[Setting]) -> tuple[Setting, ...]:
    """Settings in the order of the plan's."""
    chosen = tuple(settings)
    return tuple(s for s in plan.settings if s in chosen)


def define(
    name: str, settings: Iterable[Setting], returns: str, body: Sequence[str], *, extra: Sequence[str] = ()
) -> str:
    """A function of a model and of settings, and of the further arguments `extra`; `body` is lines from column 0."""
    arguments = [*(f"{s.name}: {_type(s.default)} = {literal(s.default)}" for s in settings), *extra]
    head = enclosed(f"def {name}(", ["model: nn.Module", *(["*", *arguments] if arguments else [])], f") -> {returns}:")
    return f"{head}\n" + textwrap.indent("\n".join(body), INDENT)


def describe(summary: str, *paragraphs: str, settings: Iterable[Setting] = (), extra: Iterable[str] = ()) -> str:
    """The docstring of a function: what it does, and a line for each setting and further argument."""
    lines = [*(f"{s.name}: {s.about}" for s in settings), *extra]
    if lines:
        wrapped = (textwrap.fill(x, WIDTH - 8, subsequent_indent=INDENT, break_on_hyphens=False) for x in lines)
        paragraphs = (*paragraphs, "Args:\n" + textwrap.indent("\n".join(wrapped), INDENT))
    return docstring(summary, *paragraphs, indent=len(INDENT))


def passed(settings: Iterable[Setting]) -> list[str]:
    """The settings as a caller passes them on: `lr=lr`."""
    return [f"{s.name}={s.name}" for s in settings]


def keywords(named: dict[str, Setting]) -> list[str]:
    """Arguments of a constructor that has names of its own for settings: `wd=weight_decay`."""
    return [f"{name}={s.name}" for name, s in named.items()]


def _type(value: Plain) -> str:
    if isinstance(value, tuple):
        return f"tuple[{', '.join(map(_type, value)) or '()'}]"
    return type(value).__name__ if isinstance(value, bool | int | float | str) else "Any"
