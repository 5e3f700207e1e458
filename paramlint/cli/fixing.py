"""Mending a source: its fixes are made, and it is read again, until nothing is left to mend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from paramlint.finding import Finding
from paramlint.record import dataclass
from paramlint.run import Edit, FileRun, Spot
from paramlint.source.reading import lines

#: How often a file is read again. Fixes that undo each other end here.
ROUNDS = 10

#: How a text is looked at, and what is found in it.
Look = Callable[[str], FileRun]


@dataclass(frozen=True)
class Mended:
    """`text` is what the source should be, `run` what is left to say of it. `left` are fixes that were not made though
    they should have been, as lines for people."""

    text: str
    run: FileRun
    left: tuple[str, ...] = ()


def mended(text: str, look: Look, run: FileRun, *, unsafe: bool) -> Mended:
    """Makes the fixes of `run`, which is what was found in `text`; those that are not safe only with `unsafe`."""
    fixed: list[Finding] = []
    left: tuple[str, ...] = ()
    for _ in range(ROUNDS):
        wanted = [f for f in run.findings if f.fix is not None and (f.fix.safe or unsafe)]
        if not wanted:
            break
        from paramlint.rewrite import apply

        done = apply(text, [f.fix for f in wanted if f.fix is not None])
        made = {id(fix) for fix in done.applied}
        left = tuple(f"{_place(f)} not fixed: {why}" for fix, why in done.skipped for f in wanted if f.fix is fix)
        if done.text == text:
            break
        fixed += [f for f in wanted if id(f.fix) in made]
        text = done.text
        run = look(text)
    return Mended(text, replace(run, fixed=tuple(fixed)), left)


def with_edits(text: str, run: FileRun) -> FileRun:
    """The run with what each fix alone would change, for reports that show it."""
    if not any(f.fix for f in run.findings):
        return run
    from paramlint.rewrite import apply

    spots: list[Spot] = []
    for f, spot in zip(run.findings, run.spots, strict=True):
        new = apply(text, [f.fix]).text if f.fix is not None else text
        spots.append(replace(spot, edit=_edit(text, new)) if new != text else spot)
    return replace(run, spots=tuple(spots))


def _edit(old: str, new: str) -> Edit:
    """The change as one piece of whole lines."""
    before, after = lines(old), lines(new)
    first, shorter = 0, min(len(before), len(after))
    while first < shorter and before[first] == after[first]:
        first += 1
    last = 0
    while last < shorter - first and before[-1 - last] == after[-1 - last]:
        last += 1
    end = len(before) - last
    place = (end + 1, 1) if not before or before[-1].endswith(("\n", "\r")) or last else (end, len(before[-1]) + 1)
    return Edit((first + 1, 1), place, "".join(after[first : len(after) - last]))


def _place(f: Finding) -> str:
    at = f.location
    return f"{at.path}:{at.line}:{at.column}: {f.code}" if at else f.code
