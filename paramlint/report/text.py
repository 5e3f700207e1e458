"""What `paramlint check` says, for people: full and concise, the summary, the split where there are no groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paramlint.finding import SEVERITIES, Finding
from paramlint.folding import Folded, fold
from paramlint.parameter import Inventory, Parameter
from paramlint.registry import by_code
from paramlint.report.lines import Line, Style, line
from paramlint.report.rows import by_destination, by_role
from paramlint.report.wording import counted, percent, place, shape_of, short
from paramlint.run import Run

#: How many folded patterns a finding lists.
LISTED = 6


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


def statistics(runs: Sequence[Run]) -> Iterator[Line]:
    """How often each rule spoke, the most frequent first."""
    found: dict[tuple[str, str], int] = {}
    for f in (f for run in runs for f in run.findings):
        found[f.code, f.severity] = found.get((f.code, f.severity), 0) + 1
    width = max((len(str(n)) for n in found.values()), default=0)
    for (code, severity), count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        style = next(s for s in SEVERITIES if s == severity)
        yield line(f"{count:>{width}}  {code}  ", (f"{severity:<7}", style), f"  {by_code()[code].name}")


def summary(runs: Sequence[Run]) -> Line:
    """`Found 3 errors, 1 warning in 148 parameters (124.4M)`, or that all is well."""
    counts = [(severity, sum(run.count(severity) for run in runs)) for severity in SEVERITIES]
    parameters = [p for run in runs for p in run.inventory.parameters]
    size = f"{counted(len(parameters), 'parameter')} ({short(sum(p.numel for p in parameters))})"
    across = f" of {len(runs)} targets" if len(runs) > 1 else ""
    if not any(n for _, n in counts):
        return line(("All checks passed", "help"), f": {size}{across}{_routed(runs)}", hang=4)
    spans: list[str | tuple[str, Style]] = []
    for severity, n in counts:
        if n:
            spans += [", " if spans else "Found ", (counted(n, severity), severity)]
    return line(*spans, f" in {size}{across}", hang=4)


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


def explain_hint(runs: Sequence[Run]) -> Line | None:
    """Which page to read: that of the first finding."""
    first = next((f.code for run in runs for f in run.findings), None)
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
