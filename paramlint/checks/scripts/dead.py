"""PML506: a test of names that holds for none of a known model, or for all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from paramlint.checks.scripts.asked import Asked, deciding, is_whole, literal
from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.placing import Placing, in_muon, placings
from paramlint.checks.scripts.words import roles
from paramlint.finding import Finding
from paramlint.parameter import Parameter
from paramlint.source.script import Needle

#: What wrappers put before names; an inventory has the names without.
_WRAPPERS = ("_orig_mod", "module.", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
_HOW = {"in": "has", "==": "is", "method:startswith": "starts with", "method:endswith": "ends with"}
#: How many needles are named in one finding, and how many hidden matrices are tried out.
_MOST_SHOWN, _TRIED = 6, 8


def check(ctx: ScriptContext) -> Iterator[Finding]:
    for placing in placings(ctx):
        needles: dict[Asked, Needle] = {}
        for needle in deciding(placing.read):
            if ctx.here(needle.span) and not any(w in needle.text for w in _WRAPPERS):
                needles.setdefault((needle.op, needle.text), needle)
        found = [(n, placing.matched(n)) for n in needles.values()]
        caught = {(name, role) for n, f in found if f for name in f[0] for role in roles(n.text)}
        unmatched = [n for n, f in found if f and not f[0] and not _in_part(placing, n)]
        yield from _unmatched(ctx, placing, unmatched, caught)
        for needle, matched in found:
            if matched and len(matched[0]) == matched[1] > 2 and _tells(needle):
                yield ctx.finding(
                    "PML506",
                    literal(ctx, placing.read, needle) or needle.span,
                    f"every name that is tested here {_how(needle)}: the test makes no difference",
                    "take it out if the script is for this model alone",
                    severity="note",
                )


def _unmatched(
    ctx: ScriptContext, placing: Placing, needles: Sequence[Needle], caught: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Of needles that match nothing. `caught` are the parameters that others match which speak of their role."""
    missed: dict[tuple[str, ...], list[Needle]] = {}
    idle = []
    for needle in needles:
        meant = tuple(p.name for p in _meant(placing, needle) if (p.name, p.role) not in caught)
        if meant:
            missed.setdefault(meant, []).append(needle)
        elif _leaves_muon_empty(placing, needle):
            yield ctx.finding(
                "PML506",
                literal(ctx, placing.read, needle) or needle.span,
                f"no name {_how(needle)}: the Muon group that this fills is empty",
                "test for what the names are here",
            )
        else:
            idle.append(needle)
    for meant, together in missed.items():
        yield _misses(ctx, placing, together, meant)
    if idle:
        more = f" and {len(idle) - _MOST_SHOWN} more" if len(idle) > _MOST_SHOWN else ""
        yield ctx.finding(
            "PML506",
            (literal(ctx, placing.read, idle[0]) if len(idle) == 1 else None) or idle[0].span,
            f"no name of this model {' or '.join(map(_how, idle[:_MOST_SHOWN]))}{more}; nothing hangs on it",
            "take it out if the script is for this model alone",
            severity="note",
        )


def _how(needle: Needle) -> str:
    return f"{_HOW[needle.op]} {needle.text!r}"


def _tells(needle: Needle) -> bool:
    return is_whole(needle.within) and not needle.text.endswith("weight")


def _in_part(placing: Placing, needle: Needle) -> bool:
    """Whether a needle without its first part matches: the model at hand is a part of the one that is meant."""
    _, dot, rest = needle.text.partition(".")
    if not dot or not rest or needle.text.startswith(".") or (needle.op == "in" and "." not in rest):
        return False
    found = placing.matched(replace(needle, text=rest))
    return found is not None and bool(found[0])


def _meant(placing: Placing, needle: Needle) -> tuple[Parameter, ...]:
    """The parameters that a needle speaks of, and that would be elsewhere if it were in their names."""
    about = roles(needle.text)
    what = (needle.op, needle.text)
    return tuple(
        p
        for p in placing.inventory.parameters
        if p.role in about and p.confidence != "guess" and _differs(placing, p, what, True)
    )


def _differs(placing: Placing, p: Parameter, what: Asked, holds: bool) -> bool:
    """Whether a parameter that is in a group is in others if a test holds, or does not."""
    for way in placing.ways:
        now, then = placing.slots(way, p), placing.slots(way, p, what, holds)
        if now and then and now != then:
            return True
    return False


def _leaves_muon_empty(placing: Placing, needle: Needle) -> bool:
    """Whether a Muon group would have hidden matrices if a needle were in their names, and has nothing as it is."""
    what = (needle.op, needle.text)
    hidden = [p for p in placing.inventory.parameters if p.destination == "muon"]
    for way in placing.ways:
        if not any(in_muon(placing.slots(way, p, what)) for p in hidden[:_TRIED]):
            continue
        now = [placing.slots(way, p) for p in placing.inventory.parameters]
        if None not in now and not any(map(in_muon, now)):
            return True
    return False


def _misses(ctx: ScriptContext, placing: Placing, needles: Sequence[Needle], meant: tuple[str, ...]) -> Finding:
    parameters = [p for p in placing.inventory.parameters if p.name in meant]
    kinds = " and ".join(dict.fromkeys(p.role for p in parameters))
    some = "the parameter" if len(meant) == 1 else f"the {len(meant)} parameters"
    found = ctx.finding(
        "PML506",
        literal(ctx, placing.read, needles[0]) or needles[0].span,
        f"no name {' or '.join(map(_how, needles))}: the test misses {some} that it speaks of ({kinds})",
        "test for what the names are here, or better for the module's type, or the number of dimensions",
    )
    return replace(found, parameters=meant)
