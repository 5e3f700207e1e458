"""The report of a plan: its groups with their options, the memory of their state, and what Newton-Schulz adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from paramlint.folding import fold
from paramlint.parameter import Plain
from paramlint.report.grid import Column, plain, table
from paramlint.report.lines import Line, line
from paramlint.report.plan_figures import Figures, GroupFigures
from paramlint.report.table import heading as model_heading
from paramlint.report.visible import visible
from paramlint.report.wording import counted, percent, shape_of

if TYPE_CHECKING:
    from rich.console import RenderableType

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def text(found: Figures) -> str:
    """The table as plain aligned text, as wide as it needs to be, and the lines below it."""
    body = f"\n{plain(_columns(found))}\n" if found.groups else "\n"
    return "".join(f"{one}\n" for one in heading(found)) + body + "".join(f"{one}\n" for one in below(found))


def terminal(found: Figures, width: int) -> RenderableType:
    """The table for a terminal of `width` columns; what a group is for is shortened first."""
    from rich.console import Group
    from rich.text import Text

    head, *more = heading(found)
    styles = ["magenta" if g.group.kind.half == "muon" else "" for g in found.groups] + ["", "bold"]
    return Group(
        Text(head, style="bold"),
        *map(Text, more),
        Text(),
        *((table(_columns(found), width, styles), Text()) if found.groups else ()),
        *map(Text, below(found)),
    )


def concise(found: Figures) -> str:
    """One line a group: `muon: 24 parameters, 3,145,728 elements, lr=0.02 weight_decay=0.1, 12.6 MB of state`."""
    return "".join(f"{visible(_said(g))}\n" for g in found.groups)


def members(found: Figures) -> list[Line]:
    """For each group why it is one, and the folded names of its parameters."""
    lines: list[Line] = []
    for g in found.groups:
        style = g.group.kind.half
        lines += [line()] if lines else []
        lines.append(line((g.label, style), f": {g.purpose}", hang=2))
        for entry in fold(g.members, name=lambda p: p.name, key=lambda p: p.shape):
            many = f"  ×{len(entry)}" if len(entry) > 1 else ""
            lines.append(line("  ", (entry.pattern, "name"), (f"{many}  {shape_of(entry.items[0])}", "faint")))
    return lines


def heading(found: Figures) -> list[str]:
    """The model, the optimizer, and the layers where there are."""
    profile, layers, scales = found.profile, found.plan.layers, found.plan.scales
    second = ", and torch.optim.AdamW for the rest" if _two(found) else ""
    lines = [model_heading(found.run), f"optimizer {profile.name}: {profile.title}{second}"]
    if layers is not None:
        source = f", from {layers.source}" if layers.source else ""
        lines.append(
            f"{counted(layers.count, 'layer')}{source}; lr times {_number(min(scales))} to {_number(max(scales))}"
        )
    return [visible(one) for one in lines]


def below(found: Figures) -> list[str]:
    """What holds for all groups: other settings, frozen parameters, memory, arithmetic."""
    lines = []
    if not found.groups:
        lines.append("no parameter is trained: there is nothing to plan")
    if found.shared:
        lines.append(f"of the whole optimizer: {_pairs(found.shared)}")
    if found.frozen:
        elements = counted(sum(p.numel for p in found.frozen), "element")
        lines.append(f"frozen, in no group: {counted(len(found.frozen), 'parameter')}, {elements}")
    if found.groups:
        lines += [_memory(found), _arithmetic(found)]
    return [visible(one) for one in lines]


def size(count: int) -> str:
    """`512 B`, `50.3 kB`, `64.2 GB`: powers of 1000."""
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if abs(value) < 999.95 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def _columns(found: Figures) -> list[Column]:
    """A row for each group, and below an empty one the totals."""
    groups = found.groups
    whole = sum(g.elements for g in groups)
    count = sum(len(g.members) for g in groups)
    return [
        Column("group", (*(g.label for g in groups), "", "total")),
        Column("parameters", (*(f"{len(g.members):,}" for g in groups), "", f"{count:,}"), right=True, tight=True),
        Column("elements", (*(f"{g.elements:,}" for g in groups), "", f"{whole:,}"), right=True),
        Column(
            "share",
            (*(percent(g.elements, whole) for g in groups), "", percent(whole, whole)),
            right=True,
            goes=2,
        ),
        Column("state", (*(_state(g.memory.state) for g in groups), "", _state(found.memory.state)), right=True),
        Column(
            "AdamW's", (*(size(g.memory.adamw) for g in groups), "", size(found.memory.adamw)), right=True, tight=True
        ),
        Column("options", (*(_options(g) for g in groups), "", ""), wrap=True),
        Column("for", (*(g.purpose for g in groups), "", ""), least=24, goes=1),
    ]


def _said(g: GroupFigures) -> str:
    counts = f"{counted(len(g.members), 'parameter')}, {counted(g.elements, 'element')}"
    return f"{g.label}: {', '.join(filter(None, (counts, _options(g), f'{_state(g.memory.state)} of state')))}"


def _options(g: GroupFigures) -> str:
    factors = {"lr_scale": g.group.lr_scale, "turn": g.group.turn}
    return _pairs({**g.options, **{name: value for name, value in factors.items() if value != 1}})


def _pairs(values: Mapping[str, Plain]) -> str:
    return " ".join(f"{name}={_written(value)}" for name, value in values.items())


def _written(value: Plain) -> str:
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))})"
    return repr(value) if isinstance(value, str) else str(value)


def _number(value: float) -> str:
    """Six digits at most: 0.02, 0.0003, 1.41421."""
    return f"{value:.6g}"


def _state(count: int | None) -> str:
    return "?" if count is None else size(count)


def _two(found: Figures) -> bool:
    halves = {g.group.kind.half for g in found.groups}
    return found.profile.call_shape == "two-optimizers" and "adam" in halves


def _memory(found: Figures) -> str:
    memory = found.memory
    if memory.state is None or memory.saved is None:
        return f"optimizer state: not known of {found.profile.name}; {size(memory.adamw)} with AdamW for all"
    if not memory.saved:
        return f"optimizer state: {size(memory.state)}, as much as of AdamW for all"
    share, how = percent(abs(memory.saved), memory.adamw), "less" if memory.saved > 0 else "more"
    return f"optimizer state: {size(memory.state)}, {share} {how} than the {size(memory.adamw)} of AdamW for all"


def _arithmetic(found: Figures) -> str:
    cost = found.arithmetic
    if not cost.newton_schulz:
        muon = any(g.group.kind.half == "muon" for g in found.groups)
        return "Newton-Schulz: not used; what replaces it is not counted" if muon else "Newton-Schulz: none"
    tokens = counted(cost.tokens, "token")
    if not cost.forward_backward:
        return f"Newton-Schulz: {cost.newton_schulz:.2e} operations a step"
    given = f", if {', and '.join(found.assumptions)}" if found.assumptions else ""
    return f"Newton-Schulz: {_percent(cost.share)} on top of forward and backward of {tokens} a step{given}"


def _percent(share: float) -> str:
    """Two digits: `0.57%`, `12%`, `0.0041%`, and all of those before the point."""
    return f"{100 * share:.2g}%" if share < 0.995 else f"{100 * share:.0f}%"
