"""The table of `paramlint params`: what each parameter is for, where it goes, why, and totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paramlint.parameter import Inventory
from paramlint.report import traced
from paramlint.report.grid import Column, plain, table
from paramlint.report.rows import Row, Total, by_destination, by_role, rows
from paramlint.report.visible import visible
from paramlint.report.wording import DESTINATIONS, counted, percent, short
from paramlint.run import Run

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {"Muon": "magenta", "AdamW": "", "frozen": "dim"}
_ENDS = {"to Muon": "magenta", "frozen": "dim", "total": "bold"}


def text(run: Run, *, flat: bool = False) -> str:
    """The table as plain aligned text, as wide as it needs to be."""
    found = rows(run.inventory, flat=flat)
    if not found:
        return f"{heading(run)}\n"
    return f"{heading(run)}\n\n{plain(_columns(found))}\n{plain(_totals(run.inventory))}{footer(run)}"


def footer(run: Run) -> str:
    """What was traced, below an empty line; '' without a trace."""
    said = traced.footer(run.inventory)
    return "".join(f"{visible(one)}\n" for one in ("", *said)) if said else ""


def terminal(run: Run, width: int, *, flat: bool = False) -> RenderableType:
    """The table for a terminal of `width` columns; `why` is shortened first."""
    from rich.console import Group
    from rich.text import Text

    found = rows(run.inventory, flat=flat)
    if not found:
        return Text(heading(run), style="bold")
    styles = [style for row in found for style in (_STYLES[row.goes_to], *("dim" for _ in row.aliases))]
    sums = _totals(run.inventory)
    return Group(
        Text(heading(run), style="bold"),
        Text(),
        table(_columns(found), width, styles),
        Text(),
        table(sums, width, [_ENDS.get(label, "") for label in sums[0].cells]),
        *((Text(footer(run).rstrip("\n")),) if footer(run) else ()),
    )


def heading(run: Run) -> str:
    """`GPT (examples/gpt.py:build): 52 parameters, 16,155,648 elements, all float32; policy default`."""
    inventory = run.inventory
    count = counted(len(inventory.parameters), "parameter")
    elements = counted(sum(p.numel for p in inventory.parameters), "element")
    name = inventory.model.rpartition(".")[2]
    dtypes = {p.dtype for p in inventory.parameters}
    alike = f", all {dtypes.pop()}" if len(dtypes) == 1 else ""
    return visible(f"{name} ({run.target}): {count}, {elements}{alike}; policy {run.policy}")


def concise(run: Run, *, flat: bool = False) -> str:
    """One line a row, without totals: `h.{0..3}.mlp.c_fc.weight: hidden-matrix, Muon`."""
    return "".join(
        f"{visible(row.pattern)}: {row.role}{' (guess)' * row.guess}, {row.goes_to}\n"
        for row in rows(run.inventory, flat=flat)
    )


def _columns(found: Sequence[Row]) -> list[Column]:
    """A tied tensor's other names stand below it, each in a line of its own."""
    blanks = [("",) * len(row.aliases) for row in found]

    def spread(cells: list[str]) -> tuple[str, ...]:
        return tuple(c for cell, blank in zip(cells, blanks, strict=True) for c in (cell, *blank))

    names = tuple(c for row in found for c in (row.pattern, *(f"  = {alias}" for alias in row.aliases)))
    return [
        Column("name", names),
        Column("count", spread([f"×{row.count}" if row.count > 1 else "" for row in found]), right=True, tight=True),
        Column("shape", spread([row.shape for row in found]), right=True, goes=4),
        Column("ndim", spread(["?" if row.ndim is None else str(row.ndim) for row in found]), right=True, goes=2),
        Column("dtype", spread([row.dtype for row in found]), goes=1),
        Column("numel", spread(["?" if row.ndim is None else short(row.numel) for row in found]), right=True, goes=5),
        Column("role", spread([row.role + "?" * row.guess for row in found])),
        Column("goes to", spread([row.goes_to for row in found])),
        Column("why", spread([("guess: " if row.guess else "") + row.why for row in found]), least=28, goes=3),
    ]


def _totals(inventory: Inventory) -> list[Column]:
    """By role, then by destination, then all of it: tensors, exact elements, share."""
    parameters = inventory.parameters
    everything = sum(p.numel for p in parameters)
    ends = [*by_destination(parameters), Total("total", len(parameters), everything)]
    entries = [*by_role(parameters), None, *ends]
    return [
        Column("role", tuple(_label(t) for t in entries)),
        Column("parameters", tuple(f"{t.count:,}" if t else "" for t in entries), right=True),
        Column("elements", tuple(f"{t.numel:,}" if t else "" for t in entries), right=True),
        Column("share", tuple(percent(t.numel, everything) if t else "" for t in entries), right=True, tight=True),
    ]


def _label(total: Total | None) -> str:
    if total is None:
        return ""
    return f"to {total.label}" if total.label in DESTINATIONS.values() else total.label
