"""PML507: a test of names that takes more than it is about, or may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from paramlint.checks.scripts.asked import Asked, by_test, deciding, is_whole, literal, signed
from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.placing import Placing, in_muon, placings
from paramlint.checks.scripts.words import ELSEWHERE, LAYERS, is_word, roles
from paramlint.finding import Finding, Severity
from paramlint.parameter import Inventory, Parameter
from paramlint.source.interpreter.entries import Read
from paramlint.source.script import Needle


def check(ctx: ScriptContext) -> Iterator[Finding]:
    yield from _over_a_model(ctx) if ctx.inventory is not None else _anywhere(ctx)


# Without a model


def _anywhere(ctx: ScriptContext) -> Iterator[Finding]:
    for read in ctx.reads:
        wanted = _wanted(ctx, read)
        short = [n for n in deciding(read) if _is_short(n) and ("in", n.text) not in wanted and ctx.here(n.span)]
        for span, together in by_test(short):
            yield ctx.finding(
                "PML507",
                span,
                " and ".join(f"{n.text!r} is in names such as `{ELSEWHERE[n.text]}`" for n in together)
                + " too: what this test takes depends on the model",
                "look for whole parts, as in `n.split('.')`, or go by the module's type",
                severity="note",
            )


def _is_short(n: Needle) -> bool:
    return n.op == "in" and n.text in ELSEWHERE and is_whole(n.within)


def _wanted(ctx: ScriptContext, read: Read) -> set[Asked]:
    """The tests of names that lead to Muon where they hold: what is in many layers is what is wanted there."""
    return {
        what
        for c in read.build.constructions
        for g in c.groups
        if ctx.half(c, g) == "muon"
        for item in g.items
        for what, holds in signed(item.when)
        if holds
    }


# With one


def _over_a_model(ctx: ScriptContext) -> Iterator[Finding]:
    for placing in placings(ctx):
        for needle in deciding(placing.read):
            if needle.op == "in" and ctx.here(needle.span):
                yield from _more(ctx, placing.read, placing, needle)


def _more(ctx: ScriptContext, read: Read, placing: Placing, needle: Needle) -> Iterator[Finding]:
    found = placing.matched(needle)
    if not found or not found[0]:
        return
    about, what = roles(needle.text), (needle.op, needle.text)
    hit = [p for name in found[0] if (p := placing.inventory.find(name)) and p.role not in about and p.trainable]
    moved = [p for p in hit if p.confidence != "guess" and _out_of_muon(placing, p, what)]
    undecayed = [p for p in hit if p not in moved and p.confidence != "guess" and _undecayed(ctx, placing, p, what)]
    inside = [p for p in (*moved, *undecayed) if not is_word(needle.text, p.name)]
    layers = needle.text.strip("._") in LAYERS
    if inside:
        yield _taken(ctx, read, needle, inside, moved, f"{needle.text!r} is inside other words")
    elif moved and layers:
        yield _taken(ctx, read, needle, moved, moved, f"{needle.text!r} is in the names of hidden layers")
    elif moved and about and not about & {"output-head"}:
        text = f"{needle.text!r} is in names of other parameters than it speaks of"
        yield _taken(ctx, read, needle, moved, moved, text, "note")


def _out_of_muon(placing: Placing, p: Parameter, what: Asked) -> bool:
    """Whether a test keeps a parameter out of Muon that belongs there."""
    if p.destination != "muon":
        return False
    for way in placing.ways:
        now, then = placing.slots(way, p), placing.slots(way, p, what, False)
        if now and then and not in_muon(now) and in_muon(then):
            return True
    return False


def _undecayed(ctx: ScriptContext, placing: Placing, p: Parameter, what: Asked) -> bool:
    """Whether a test keeps a parameter from weight decay that usually decays."""
    role = ctx.known.roles.get(p.role)
    if role is None or role.decay != "yes":
        return False
    for way in placing.ways:
        now, then = placing.slots(way, p), placing.slots(way, p, what, False)
        if now and then and all(s.decay == 0 for s in now) and not any(s.decay == 0 for s in then):
            return True
    return False


def _taken(
    ctx: ScriptContext,
    read: Read,
    needle: Needle,
    taken: Sequence[Parameter],
    moved: Sequence[Parameter],
    text: str,
    severity: Severity | None = None,
) -> Finding:
    share = _share(ctx.inventory, moved) if ctx.inventory else ""
    done = f"it keeps {share} of what belongs to Muon out of it" if moved else "it keeps them from weight decay"
    found = ctx.finding(
        "PML507",
        literal(ctx, read, needle) or needle.span,
        f"{text}: {done}",
        "look for a whole part of the name that these do not have, or go by the module's type",
        severity=severity,
    )
    return replace(found, parameters=tuple(p.name for p in taken))


def _share(inventory: Inventory, moved: Iterable[Parameter]) -> str:
    whole = sum(p.numel for p in inventory.parameters if p.destination == "muon" and p.trainable)
    part = 100 * sum(p.numel for p in moved) / max(whole, 1)
    return f"{part:.0f} %" if part >= 1 else "a part"
