"""What `paramlint check` says, for people: full and concise, the summary, the split where there are no groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from paramlint.finding import SEVERITIES, Finding
from paramlint.folding import Folded, fold
from paramlint.parameter import Inventory, Parameter
from paramlint.registry import by_code
from paramlint.report.lines import Line, Style, line
from paramlint.report.rows import by_destination, by_role
from paramlint.report.wording import counted, percent, place, shape_of, short
from paramlint.run import FileRun, Files, Run, Spot

#: How many folded patterns a finding lists.
LISTED = 6
#: How many characters of a line of source are shown.
WIDEST = 120


def full(run: Run) -> Iterator[Line]:
    """Every finding with its place, the facts behind it and what to do; an empty line after each."""
    for finding in run.findings:
        yield from _finding(finding, run)
        yield line()


def _finding(f: Finding, run: Run) -> Iterator[Line]:
    patterns = _patterns(f, run.inventory)
    one = len(patterns) == 1
    subject = patterns[0].pattern if one else _subject(f, run)
    count = f" ×{len(patterns[0])}" if one and len(patterns[0]) > 1 else ""
    severity: Style = f.severity
    yield line((subject, "name"), f"{count}: {f.code} ", (f"{f.severity}:", severity), f" {f.message}", hang=4)
    if not one:
        yield from _listed(patterns)
    if f.location:
        label = f" ({f.location.label})" if f.location.label else ""
        yield line(("  --> ", "faint"), f"{place(f.location)}{label}")
    for detail in f.details:
        yield line(("   | ", "faint"), detail, hang=5)
    yield line(("  help: ", "help"), f.help, hang=8)


def full_file(run: FileRun) -> Iterator[Line]:
    """Every finding on a source file: its place, the line with what it is about, the facts, and what to do."""
    for f, spot in zip(run.findings, run.spots, strict=True):
        yield _headed(f)
        yield from _excerpt(f, spot)
        for detail in f.details:
            yield line(("   | ", "faint"), detail, hang=5)
        yield line(("  help: ", "help"), f.help, hang=8)
        yield line()


def _headed(f: Finding) -> Line:
    """`path:line:col: PML201 [*] message`; the star is for what --fix mends."""
    where = f"{place(f.location)}:{f.location.column}" if f.location else "?"
    star = " [*]" if f.fix is not None and f.fix.safe else ""
    return line((where, "name"), ": ", (f.code, f.severity), (star, "help"), f" {f.message}", hang=4)


def _excerpt(f: Finding, spot: Spot) -> Iterator[Line]:
    """The line, and under it which part is meant. A long one is cut: it is there to be recognised."""
    if f.location is None or not spot.excerpt.strip():
        return
    indent = len(spot.excerpt) - len(spot.excerpt.lstrip())
    text = spot.excerpt[indent : indent + WIDEST].rstrip()
    first = f.location.column - 1 - indent
    last = spot.end[1] - 1 - indent if spot.end[0] == f.location.line else len(text)
    yield line(("   | ", "faint"), text.expandtabs(1))
    if 0 <= first < len(text):
        carets = "^" * max(min(last, len(text)) - first, 1)
        yield line(("   | ", "faint"), " " * first, (f"{carets} {f.severity}", f.severity))


def concise_file(run: FileRun) -> Iterator[Line]:
    """`path:line:col: PML201 [*] message`, one line a finding."""
    for f in run.findings:
        yield replace(_headed(f), hang=0)


def _subject(f: Finding, run: Run) -> str:
    """What a finding that is not about one pattern is called by; not what its message begins with anyway."""
    if f.parameters:
        return counted(len(f.parameters), "parameter")
    return run.target if f.group is None or f.message.startswith(f.group) else f.group


def _patterns(f: Finding, inventory: Inventory) -> list[Folded[str]]:
    known = {p.name: p for p in inventory.parameters}
    return fold(f.parameters, key=lambda name: _shape(known.get(name)))


def _shape(p: Parameter | None) -> str:
    return shape_of(p) if p else ""


def _listed(patterns: Sequence[Folded[str]]) -> Iterator[Line]:
    for folded in patterns[:LISTED]:
        yield line(f"    {folded.pattern}", (f"  ×{len(folded)}" if len(folded) > 1 else "", "faint"))
    if more := sum(map(len, patterns[LISTED:])):
        yield line((f"    ... and {more} more", "faint"))


def concise(run: Run) -> Iterator[Line]:
    """`path:line: PML201 message: names`, one line a finding."""
    for f in run.findings:
        where = place(f.location) if f.location else run.target
        patterns = _patterns(f, run.inventory)
        names = [folded.pattern for folded in patterns[:LISTED]]
        if more := sum(map(len, patterns[LISTED:])):
            names.append(f"... and {more} more")
        subject = f": {', '.join(names)}" if names else ""
        yield line((where, "name"), ": ", (f.code, f.severity), f" {f.message}{subject}")


def statistics(runs: Sequence[Run], files: Files | None = None) -> Iterator[Line]:
    """How often each rule spoke, the most frequent first."""
    found: dict[tuple[str, str], int] = {}
    for f in (f for run in _looked(runs, files) for f in run.findings):
        found[f.code, f.severity] = found.get((f.code, f.severity), 0) + 1
    width = max((len(str(n)) for n in found.values()), default=0)
    for (code, severity), count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        style = next(s for s in SEVERITIES if s == severity)
        yield line(f"{count:>{width}}  {code}  ", (f"{severity:<7}", style), f"  {by_code()[code].name}")


def _looked(runs: Sequence[Run], files: Files | None) -> tuple[Run | FileRun, ...]:
    """In the order in which they are reported."""
    return (*(files.runs if files else ()), *runs)


def summary(runs: Sequence[Run], files: Files | None = None) -> Line:
    """`Found 3 errors, 1 warning in 148 parameters (124.4M)`, or that all is well."""
    looked = _looked(runs, files)
    fixed = [f for run in files.runs for f in run.fixed] if files else []
    counts = [
        (severity, sum(run.count(severity) for run in looked) + sum(f.severity == severity for f in fixed))
        for severity in SEVERITIES
    ]
    parameters = [p for run in runs for p in run.inventory.parameters]
    seen = []
    if runs:
        across = f" of {len(runs)} targets" if len(runs) > 1 else ""
        seen.append(f"{counted(len(parameters), 'parameter')} ({short(sum(p.numel for p in parameters))}){across}")
    if files is not None:
        told = sum(bool(run.findings or run.fixed) for run in files.runs)
        some = f"{told} of " if told and told < files.read and not runs else ""
        seen.append(f"{some}{counted(files.read, 'file')}")
    size = " and ".join(seen)
    if not any(n for _, n in counts):
        return line(("All checks passed", "help"), f": {size}{_routed(runs)}", hang=4)
    spans: list[str | tuple[str, Style]] = []
    for severity, n in counts:
        if n:
            spans += [", " if spans else "Found ", (counted(n, severity), severity)]
    return line(*spans, f" in {size}{_mended(files, len(fixed))}", hang=4)


def _mended(files: Files | None, fixed: int) -> str:
    """` (1 fixed, 2 remaining)`, or what could be: ` (1 fixable with --fix, 1 more with --unsafe-fixes)`."""
    left = [f for run in files.runs for f in run.findings] if files else []
    if fixed:
        return f" ({fixed} fixed, {len(left)} remaining)"
    safe = sum(f.fix is not None and f.fix.safe for f in left)
    unsafe = sum(f.fix is not None and not f.fix.safe for f in left)
    if safe:
        return f" ({safe} fixable with --fix{f', {unsafe} more with --unsafe-fixes' if unsafe else ''})"
    return f" ({unsafe} fixable with --fix --unsafe-fixes)" if unsafe else ""


def _routed(runs: Sequence[Run]) -> str:
    """`, 50 (123.5M) to Muon, 98 (1.0M) to AdamW`, where one target's groups were checked; and which optimizer they
    were taken to be for, where that was not said."""
    if len(runs) != 1 or runs[0].proposal is None:
        return ""
    assumed = dict.fromkeys(u.profile for u in runs[0].proposal.optimizers if u.assumed and u.profile)
    read_as = f"; groups read as {' and '.join(assumed)}" if assumed and runs[0].profile is None else ""
    if "muon" not in runs[0].routed.values():
        return f", none to Muon{read_as}"
    said = []
    for total in by_destination(runs[0].inventory.parameters, runs[0].routed):
        to = "frozen" if total.label == "frozen" else f"to {total.label}"
        said.append(f"{total.count} ({short(total.numel)}) {to}")
    return f", {', '.join(said)}{read_as}"


def explain_hint(runs: Sequence[Run], files: Files | None = None) -> Line | None:
    """Which page to read: that of the first finding."""
    first = next((f.code for run in _looked(runs, files) for f in run.findings), None)
    return line((f"`paramlint explain {first}` says more.", "faint")) if first else None


def heading(run: Run) -> Line:
    """The first line of a target among several."""
    model = run.inventory.model.rpartition(".")[2]
    return line((f"{run.target}", "name"), f" ({model}, {counted(len(run.inventory.parameters), 'parameter')})")


def split(run: Run) -> Iterator[Line]:
    """Where there are no groups: how this model should be split, by destination and role."""
    of = f"for {run.profile} (policy {run.policy})" if run.profile else f"by policy {run.policy}"
    parameters = run.inventory.parameters
    if not parameters:
        yield line("no groups to check, and no parameters")
        return
    yield line(f"no groups to check: this is the right split {of}")
    yield line()
    everything = sum(p.numel for p in parameters)
    entries = []

    def name(destination: str) -> str:
        """An optimizer without a Muon half has everything, and is not always AdamW."""
        alone = run.profile is not None and "muon" not in run.routed.values() and destination == "AdamW"
        return run.profile or destination if alone else destination

    for total in by_destination(parameters, run.routed):
        entries.append((total, True))
        inside = [p for p in parameters if by_destination((p,), run.routed)[0].label == total.label]
        entries += [(role, False) for role in by_role(inside)]
    label = max((len(t.label) + (0 if top else 2) for t, top in entries), default=0)
    count = max((len(counted(t.count, "parameter")) for t, _ in entries), default=0)
    numel = max((len(f"{t.numel:,}") for t, _ in entries), default=0)
    for t, top in entries:
        style: Style = "name" if top else ""
        text = name(t.label) if top else f"  {t.label}"
        number, noun = counted(t.count, "parameter").split(" ")
        amount = f"{number} {noun}".rjust(count) if noun == "parameters" else f"{number} {noun} ".rjust(count)
        share = percent(t.numel, everything)
        yield line((f"  {text:<{label}}", style), f"  {amount}  {t.numel:>{numel},}  {share:>6}")
