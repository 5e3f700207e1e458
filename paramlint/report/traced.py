"""What a run says of its trace: on which inputs the forward ran, what stopped it, and what nothing read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from paramlint.folding import fold
from paramlint.parameter import Inventory, Parameter, Pass
from paramlint.report.wording import counted

_HOW = {"meta": "", "bf16": " in bfloat16", "fake": " on fake tensors", "cpu": " on the CPU"}
_HINT = "--inputs gives what the forward takes"
#: How many folded patterns a line names.
_NAMED = 4


def footer(inventory: Inventory) -> list[str]:
    """One line on what was traced, and one on what was not read, where there is such a thing; none without a trace."""
    failed = failure(inventory)
    if failed is not None:
        return [failed]
    complete = [_given(p) for p in inventory.passes if not p.stopped]
    if not complete:
        return []
    shown = " and ".join(complete if len(complete) < 3 else (complete[0], f"{len(complete) - 1} more passes"))
    missing = _missing(inventory)
    return [f"traced: {shown}", *([missing] if missing else [])]


def failure(inventory: Inventory) -> str | None:
    """Why no pass of the whole model came to its end, and what to do; None where one did, and without a trace."""
    if not inventory.passes or any(not p.stopped and not p.part for p in inventory.passes):
        return None
    tried = next((p for p in inventory.passes if p.inputs), inventory.passes[0])
    unread = sum(p.reach != "read" for p in inventory.parameters)
    everything = len(inventory.parameters)
    if unread == everything:
        on = f"{_given(tried)}: " if tried.inputs else ""
        # what stops a pass is an exception of the forward, or a whole sentence that says what to do
        return f"not traced: {on}{tried.stopped}" + (f"; {_HINT}" if re.match(r"\w+(: |$)", tried.stopped) else "")
    if not unread:
        return f"traced in parts, each run alone: {_given(tried)}: {tried.stopped}; {_HINT}"
    return (
        f"traced in part: {_given(tried)}: {tried.stopped}; "
        f"{unread:,} of {counted(everything, 'parameter')} not reached; {_HINT}"
    )


def passes(inventory: Inventory) -> Iterator[str]:
    """Every pass that was tried: on what, on which rung, and what stopped it."""
    for p in inventory.passes:
        on = f"pass on {_given(p)}{', on meta' if p.how == 'meta' else ''}" if p.inputs else "pass"
        yield f"{on}: {f'stopped by {p.stopped}' if p.stopped else 'complete'}"


def _given(p: Pass) -> str:
    blind = f" (made up, not run: {', '.join(p.answered)})" if p.answered else ""
    return f"{p.inputs or 'no inputs'}{_HOW[p.how]}{blind}"


def _missing(inventory: Inventory) -> str:
    """`12 parameters not reached; 2 read by nothing: lost, dead`."""
    unreached = sum(p.reach == "unreached" for p in inventory.parameters)
    unused = [p for p in inventory.parameters if p.reach == "unused"]
    said = [f"{counted(unreached, 'parameter')} not reached"] if unreached else []
    if unused:
        noun = f"{len(unused):,}" if said else counted(len(unused), "parameter")
        said.append(f"{noun} read by nothing: {_names(unused)}")
    return "; ".join(said)


def _names(parameters: Sequence[Parameter]) -> str:
    folded = fold([p.name for p in parameters])
    named = [f.pattern for f in folded[:_NAMED]]
    more = sum(map(len, folded[_NAMED:]))
    return ", ".join(named) + (f" and {more:,} more" if more else "")
