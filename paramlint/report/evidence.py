"""All that is known of a parameter: `paramlint params --why NAME`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from paramlint import parts
from paramlint.errors import ParamlintError
from paramlint.folding import Folded, expand, fold
from paramlint.parameter import Inventory, Parameter
from paramlint.profile import Policy, Ruling
from paramlint.report import uses
from paramlint.report.lines import Line, line
from paramlint.report.rows import alike
from paramlint.report.wording import DESTINATIONS, counted, goes_to, shape_of, short
from paramlint.roles.judge import PLAIN


def find(inventory: Inventory, name: str) -> list[Parameter]:
    """The parameters of a name, an alias or a folded pattern, in the order of the model.

    Raises:
        ParamlintError: there is none; with the nearest names.
    """
    wanted = [name] if inventory.find(name) else expand(name)
    known: dict[str, Parameter] = {n: p for p in inventory.parameters for n in (p.name, *p.aliases)}
    found = {p.name: p for n in wanted if (p := known.get(n)) is not None}
    if found:
        return list(found.values())
    tails = [n for n in known if n.endswith(f".{name}") or n.startswith(f"{name}.")]
    patterns = [f.pattern for f in fold(list(known))]
    near = tails[:2] or get_close_matches(name, dict.fromkeys([*known, *patterns]), 2, 0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else "`paramlint params` lists the names"
    raise ParamlintError(f"no parameter {name!r} in {inventory.model}", hint=hint)


def lines(parameters: Sequence[Parameter], inventory: Inventory, policy: Policy) -> Iterator[Line]:
    """All evidence on these parameters, those alike in one block, with the policy's ruling and its sources."""
    blocks = fold(list(parameters), name=lambda p: p.name, key=lambda p: (alike(p), _said(p)))
    for i, block in enumerate(blocks):
        if i:
            yield line()
        yield from _block(block, inventory, policy)


def _said(p: Parameter) -> tuple[object, ...]:
    return p.reach, p.uses, *((e.layer, e.role, e.confidence) for e in p.evidence)


def _block(block: Folded[Parameter], inventory: Inventory, policy: Policy) -> Iterator[Line]:
    p = block.items[0]
    yield line((block.pattern, "name"), f"  ×{len(block)}" if len(block) > 1 else "")
    for alias in fold([a for q in block.items for a in q.aliases]):
        yield line(f"  = {alias.pattern}")
    facts = f"{shape_of(p)}  {p.dtype}, {counted(p.numel, 'element')}"
    yield _fact("shape", facts + (f" ({short(p.numel * len(block))} in all)" if len(block) > 1 else ""))
    classes = {m.path: m.classes for m in inventory.modules}
    for site in p.sites:
        owner = (classes.get(site.module) or ("unknown class",))[0]
        yield _fact("module", f"{owner} at {site.module or 'the root'}, attribute {site.attribute}")
    if p.state != "ok":
        yield _fact("state", p.state)
    for i, use in enumerate(p.uses[:_USES]):
        yield _fact("" if i else "used as", uses.told(use))
    if len(p.uses) > _USES:
        yield _fact("", f"and in {len(p.uses) - _USES} more ways")
    if p.reach in _REACH:
        yield _fact("used as", _REACH[p.reach])
    if p.splits:
        yield _fact("rows", parts.told(p))
    yield _fact("role", f"{p.role} ({p.confidence})")
    frozen = "" if p.trainable else f"; would go to {DESTINATIONS[p.destination]} if it were trained"
    yield _fact("goes to", goes_to(p) + frozen)
    yield line()
    yield from _evidence(p, policy)
    ruling = policy.rulings.get(p.role)
    if ruling is not None:
        yield line()
        yield from _ruling(ruling, p.role, policy)


#: How many uses are listed.
_USES = 6
_REACH = {
    "unused": "nothing: the module that owns it ran, and nothing read it",
    "unreached": "not known: no traced pass ran the module that owns it",
}
# Being a map, hidden by its place, does not speak against being one of these: it is what they are besides.
_MAPS = frozenset(
    "fused-matrix router output-head tied-embedding input-projection low-rank-adapter row-matrix small-gate "
    "depthwise-conv grouped-conv".split()
)


def _fact(label: str, value: str) -> Line:
    return line((f"  {label:<8} ", "faint"), value, hang=11)


def _evidence(p: Parameter, policy: Policy) -> Iterator[Line]:
    if not p.evidence:
        yield line("  evidence: none; name the role in the configuration to settle it", hang=2)
        return
    yield line("  evidence, the deciding one first")
    role = max(len(e.role) for e in p.evidence)
    layer = max(len(e.layer) for e in p.evidence)
    for e in p.evidence:
        against = e.role != p.role
        start = f"    {e.layer:<{layer}}  {e.confidence:<7}  {e.role:<{role}}  "
        yield line((start, "faint" if against else ""), (e.text, "faint" if against else ""), hang=len(start))
    apart_from = {p.role, *(PLAIN if p.role in _MAPS else ())}
    others = list(dict.fromkeys((e.layer, e.role) for e in p.evidence if e.role not in apart_from))
    apart = [(layer, role) for layer, role in others if _plan(role, policy) != p.destination]
    if apart:
        yield line(("  conflict", "warning"), f": {_said_besides(apart, policy)}", hang=4)
    if agreed := [other for other in others if other not in apart]:
        yield line(f"  besides: {_said_besides(agreed, policy)} too", hang=4)


def _plan(role: str, policy: Policy) -> str | None:
    ruling = policy.rulings.get(role)
    return ruling.plan if ruling else None


def _said_besides(others: Sequence[tuple[str, str]], policy: Policy) -> str:
    """`module says embedding, which goes to AdamW`."""
    parts = []
    for layer, role in others:
        ruling = policy.rulings.get(role)
        to = DESTINATIONS[ruling.plan] if ruling else "nobody"
        parts.append(f"{layer} says {role}, which goes to {to}")
    return "; ".join(parts)


def _ruling(ruling: Ruling, role: str, policy: Policy) -> Iterator[Line]:
    where = "to Muon or to AdamW" if ruling.to == "either" else f"to {DESTINATIONS[ruling.to]}"
    planned = f", planned to {DESTINATIONS[ruling.plan]}" if ruling.to == "either" else ""
    yield line(f"  policy {policy.name}: {role} {where}{planned} (strength of evidence {ruling.strength})", hang=4)
    for label, texts in (("for Muon", ruling.muon), ("for AdamW", ruling.adam), ("source", ruling.source)):
        for text in texts:
            yield line((f"    {label:<9} ", "faint"), text, hang=14)
    if ruling.note:
        yield line((f"    {'note':<9} ", "faint"), ruling.note, hang=14)
