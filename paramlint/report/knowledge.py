"""What is known of optimizers and policies, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from paramlint.profile import Policy, Profile, Ruling
from paramlint.report.grid import Column
from paramlint.report.lines import Line, Style, line
from paramlint.report.wording import DESTINATIONS, counted

_NDIM = {
    "accept": "orthogonalised as it is",
    "flatten": "flattened to a matrix",
    "batch": "a batch of matrices",
    "error": "refused",
    "adam": "left to its Adam half",
}


_KEYS = {
    "exact": "these and no others",
    "superset": "at least these",
    "any": "any; those it does not know are ignored",
    "none": "it has no groups",
}


def profiles(known: Sequence[Profile]) -> list[Column]:
    return [
        Column("name", tuple(p.name for p in known)),
        Column("also", tuple(", ".join(p.aliases) for p in known)),
        Column("call", tuple(p.call_shape for p in known)),
        Column("facts", tuple(p.evidence for p in known)),
        Column("what it is", tuple(p.title for p in known), wrap=True),
    ]


def profile(p: Profile) -> Iterator[Line]:
    """All facts of a profile that are set, and where they come from."""
    yield line((p.name, "name"), f": {p.title}", hang=2)
    yield line()
    yield from _entries("also", p.aliases)
    yield from _entries("classes", p.classes)
    yield from _entry("package", " ".join(filter(None, (p.distribution, p.versions))))
    yield from _entry("install", p.install)
    yield from _entry("checked with", p.checked_version)
    yield from _entry("python", p.requires_python)
    yield line()
    yield from _entry("call", p.call_shape)
    if p.flag_key:
        sides = f"{_values(p.flag_muon)} for Muon, {_values(p.flag_adam)} for Adam"
        yield from _entry("flag", f"{p.flag_key} = {sides}; without it: {p.unflagged}")
    yield from _entry("by shape", p.shape_rule)
    yield from _entry("group keys", _KEYS[p.keys.strictness])
    yield from _entry("  of Muon", ", ".join(p.keys.muon))
    yield from _entry("  of Adam", ", ".join(p.keys.adam))
    if p.keys.ignored:
        yield from _entry("  ignored", ", ".join(p.keys.ignored))
    yield from _entry("defaults", _pairs({**p.defaults, **p.muon_defaults}))
    yield from _entry("Adam defaults", _pairs(p.adam_defaults))
    for n, action in p.ndim.items():
        yield from _entry(f"{n}-D", _NDIM[action])
    if p.ndim_checked != "never":
        yield from _entry("refusal", f"at {p.ndim_checked}" + (f": {p.ndim_error}" if p.ndim_error else ""))
    yield from _entry("lr scale", _pairs(p.lr_scale))
    yield from _entry("lr of size", _pairs(p.lr_class))
    yield from _entry("frozen", {"skip": "skipped", "decay": "decayed", "crash": "an error"}[p.frozen])
    yield from _entry("no gradient", p.grad_none)
    yield from _entry("needs", "a process group" if p.process_group else None)
    yield from _entry("fsdp", p.fsdp)
    yield from _entries("known bug", p.known_bugs)
    yield from _entries("note", p.notes)
    yield line()
    yield from _entry("facts", "from runs" if p.evidence == "ran" else "from reading")
    yield from _entries("source", p.source)


def policies(known: Sequence[Policy]) -> list[Column]:
    return [
        Column("name", tuple(p.name for p in known)),
        Column("what it is", tuple(p.summary for p in known), wrap=True),
    ]


def policy(p: Policy) -> Iterator[Line]:
    """Every role with where it goes, who says so, and how strong that is."""
    yield line((p.name, "name"), f": {p.summary}", hang=2)
    for source in p.source:
        yield line(("  source ", "faint"), source, hang=9)
    yield line()
    width = max(len(role) for role in p.rulings)
    for role, ruling in p.rulings.items():
        style: Style = "muon" if ruling.plan == "muon" else "adam"
        yield line((f"{role:<{width}}  ", "name"), (f"{_goes(ruling):<24}", style), f"  evidence {ruling.strength}")
        for label, texts in (("for Muon", ruling.muon), ("for AdamW", ruling.adam), ("source", ruling.source)):
            for text in texts:
                yield line((f"    {label:<9} ", "faint"), text, hang=14)
        if ruling.note:
            yield line((f"    {'note':<9} ", "faint"), ruling.note, hang=14)
    counts = {to: sum(r.to == to for r in p.rulings.values()) for to in ("muon", "adam", "either")}
    yield line()
    yield line(
        f"{counted(len(p.rulings), 'role')}: {counts['muon']} to Muon, {counts['adam']} to AdamW, "
        f"{counts['either']} to either. Evidence: A several sources agree, B a majority, C split.",
        hang=2,
    )


def _goes(ruling: Ruling) -> str:
    planned = DESTINATIONS[ruling.plan]
    return f"either (planned: {planned})" if ruling.to == "either" else planned


def _entry(label: str, text: str | None) -> Iterator[Line]:
    if text:
        yield line((f"  {label:<14} ", "faint"), text, hang=17)


def _entries(label: str, texts: Sequence[str]) -> Iterator[Line]:
    for i, text in enumerate(texts):
        yield from _entry(label if i == 0 else "", text)


def _values(values: Sequence[object]) -> str:
    return " or ".join(map(repr, values)) or "anything else"


def _pairs(table: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in table.items())
