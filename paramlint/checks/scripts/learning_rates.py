"""PML303: learning rates that are far from what an implementation of Muon is made for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from paramlint.checks.scripts import class_source
from paramlint.checks.scripts.context import ScriptContext, Way
from paramlint.checks.scripts.nodes import nodes
from paramlint.finding import Finding
from paramlint.parameter import Destination
from paramlint.profile import LrClass, LrScale
from paramlint.record import dataclass
from paramlint.source.script import Construction, SymbolicGroup
from paramlint.source.terms import Const, Opaque, Span, Term

#: From here on a learning rate is taken for one of the other size: above it under Adam's, below it under Muon's.
_ABOVE: dict[LrClass, float] = {"adam": 0.02, "fifth-of-adam": 0.004}
_BELOW: dict[LrClass, float] = {"muon": 5e-4}
#: Past this a learning rate is a factor for a scheduler to work on.
_FACTOR = 0.5
#: What each size usually is.
_USUAL: dict[LrClass, float] = {"muon": 0.02, "adam": 3e-4, "fifth-of-adam": 6e-5}
#: The weight by which sizes of updates are compared.
_SIDE = 1024
_CLASS_OF: dict[LrScale, LrClass] = {"kj": "muon", "rms": "adam"}
#: A setting, or a variable: what has the same text has the same value.
_PLAIN = re.compile(r"^(?!(?:g|group|pg|param_group)\b)[A-Za-z_]\w*(?:\.\w+(?:\(\))?|\[['\"]\w+['\"]\]|\(\))*$")
_PAPER = "Moonlight, Muon is scalable for LLM training, section 2.2: https://arxiv.org/abs/2502.16982"


@dataclass(frozen=True)
class _Rate:
    """The learning rate of a group, as it is when the optimizer is made. `own` says that the group has it itself."""

    term: Term
    span: Span | None
    own: bool

    @property
    def number(self) -> float | None:
        value = self.term.value if isinstance(self.term, Const) else None
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def check(ctx: ScriptContext) -> Iterator[Finding]:
    said: set[Span] = set()
    for read in ctx.reads:
        for way in ctx.ways(read):
            for finding in _way(ctx, way):
                at = finding.location
                spot = Span(at.path, at.line, at.column, 0, 0) if at is not None else None
                if spot is not None and spot not in said:
                    said.add(spot)
                    yield finding


def _way(ctx: ScriptContext, way: Way) -> Iterator[Finding]:
    adam = [(c, g, rate) for c, g, rate in _rated(ctx, way, "adam") if _adamlike(ctx, c)]
    for c, g, rate in _rated(ctx, way, "muon"):
        if not _suspicious(rate, [r for _, _, r in adam]):
            continue
        size, scale = _made_for(ctx, c, g)
        if size is None or scale is None:
            continue
        if rate.number is not None and _far(rate.number, size):
            yield _off(ctx, c, rate, rate.number, size, scale)
        elif size == "muon" and any(_shared(rate, r) and (o is not c or r.own) for o, _, r in adam):
            yield _one_for_both(ctx, c, rate, scale)
    yield from _unscaled(ctx, way)


def _rated(ctx: ScriptContext, way: Way, half: Destination) -> Iterator[tuple[Construction, SymbolicGroup, _Rate]]:
    """The groups of a half, with their learning rates where they can be told."""
    for c in way.constructions:
        for g in c.groups:
            if c.made is not None and ctx.here(c.span) and ctx.half(c, g) == half:
                rate = _rate(ctx, c, g)
                if rate is not None:
                    yield c, g, rate


def _rate(ctx: ScriptContext, c: Construction, g: SymbolicGroup) -> _Rate | None:
    """What the group's dict has, or else the call: what a scheduler writes into the group later is another matter."""
    here = g.span if g.span is not None and ctx.here(g.span) else None
    shown = nodes(ctx.file).literal(here) if "lr" in g.options else None
    if shown is not None and "lr" in shown.keys:
        node, value = shown.keys["lr"]
        term = Const(value.value) if isinstance(value, ast.Constant) else g.options["lr"]
        return _Rate(term, ctx.file.span(node), True)
    if "lr" in g.options and here is None:
        return _Rate(g.options["lr"], c.span, True)
    if "lr" not in c.options or (shown is not None and not shown.whole):
        return None
    call = nodes(ctx.file).call(c.span)
    keyword = next((k for k in call.keywords if k.arg == "lr"), None) if call is not None else None
    return _Rate(c.options["lr"], ctx.file.span(keyword) if keyword is not None else c.span, False)


def _adamlike(ctx: ScriptContext, c: Construction) -> bool:
    """Whether the learning rates of this optimizer's Adam half are of Adam's size."""
    profile = ctx.profile(c)
    if profile is None:
        return c.made is not None and c.made.kind == "routed"
    return profile.family != "elementwise" or profile.lr_class.get("default") == "adam"


def _suspicious(rate: _Rate, others: list[_Rate]) -> bool:
    """Whether a closer look at the optimizer is worth it."""
    number = rate.number
    if number is not None and (number <= _BELOW["muon"] or number >= _ABOVE["fifth-of-adam"]):
        return True
    return any(_shared(rate, r) for r in others)


def _shared(one: _Rate, other: _Rate) -> bool:
    if one.term != other.term:
        return False
    term = one.term
    plain = isinstance(term, Opaque) and not term.args and bool(_PLAIN.match(term.text))
    return plain or (one.number is not None and 0 < one.number < _FACTOR)


def _far(lr: float, size: LrClass) -> bool:
    if not 0 < lr < _FACTOR:
        return False
    return lr <= _BELOW.get(size, 0.0) or lr >= _ABOVE.get(size, _FACTOR)


def _made_for(ctx: ScriptContext, c: Construction, g: SymbolicGroup) -> tuple[LrClass | None, LrScale | None]:
    """The size of learning rates that the Muon half is made for, and the factor that it puts on them."""
    profile = ctx.profile(c)
    if profile is None or class_source.described(ctx, c) is None:
        own = class_source.of_construction(ctx, c)
        scale = own.lr_scale if own is not None else None
        return (_CLASS_OF.get(scale), scale) if scale is not None else (None, None)
    mode = "default"
    key = profile.lr_scale_key
    chosen = (g.options.get(key) or c.options.get(key)) if key else None
    if chosen is not None:
        if not isinstance(chosen, Const):
            return None, None
        mode = str(chosen.value).lower()
    if mode not in profile.lr_class:
        mode = "default"
    size = profile.lr_class.get(mode)
    return (size if size in _USUAL else None), profile.lr_scale.get(mode)


def _off(ctx: ScriptContext, c: Construction, rate: _Rate, lr: float, size: LrClass, scale: LrScale) -> Finding:
    kind = {"muon": "of Muon's size", "adam": "of Adam's size", "fifth-of-adam": "a fifth of Adam's"}[size]
    return ctx.finding(
        "PML303",
        rate.span,
        f"lr {lr:g} for {_name(c)}, whose learning rates are {kind}: about {_USUAL[size]:g}",
        "use about that, or choose the other scale in the optimizer's arguments, where it has one",
        details=(_moves(_name(c), lr, scale), _moves("AdamW", 3e-4, None), *_sources(ctx, c), _PAPER),
    )


def _one_for_both(ctx: ScriptContext, c: Construction, rate: _Rate, scale: LrScale) -> Finding:
    text = f"{rate.number:g}" if rate.number is not None else getattr(rate.term, "text", "the same")
    lr = rate.number or _USUAL["adam"]
    return ctx.finding(
        "PML303",
        rate.span,
        f"Muon's half and Adam's share the lr `{text}`, and {_name(c)} does not scale its updates to Adam's size",
        "give Muon a learning rate of its own, about 0.02 where Adam has 3e-4",
        details=(_moves(_name(c), lr, scale), _moves("AdamW", lr, None), *_sources(ctx, c), _PAPER),
    )


def _unscaled(ctx: ScriptContext, way: Way) -> Iterator[Finding]:
    """Groups for Adam that take the learning rate of Muon's half, since they have none."""
    for c in way.constructions:
        profile = class_source.described(ctx, c)
        if profile is None or not ctx.here(c.span):
            continue
        if profile.call_shape != "flagged-groups" or profile.aux_lr != "own" or "lr" in profile.adam_defaults:
            continue
        given = c.options.get("lr", Const(profile.defaults.get("lr")))
        lr = _Rate(given, None, False).number
        if lr is None or not 0.005 <= lr < _FACTOR or profile.lr_class.get("default") != "muon":
            continue
        if profile.lr_scale_key in c.options:
            continue
        for g in c.groups:
            if ctx.half(c, g) == "adam" and "lr" not in g.options and not g.unread:
                yield ctx.finding(
                    "PML303",
                    g.span if g.span is not None and ctx.here(g.span) else c.span,
                    f"an Adam group without lr: {_name(c)} gives it that of Muon's half, {lr:g}",
                    "give the group a learning rate of its own, about 3e-4",
                    details=(_moves("AdamW", lr, None), _moves("AdamW", 3e-4, None), *_sources(ctx, c), _PAPER),
                )


def _moves(name: str, lr: float, scale: LrScale | None) -> str:
    """How far a step moves an element of a square weight: an orthogonal matrix has an RMS of 1 / sqrt(side), Adam's
    updates one of about 0.2."""
    factor = {"kj": _SIDE**-0.5, "spectral": _SIDE**-0.5, "none": _SIDE**-0.5, "sqrt-max": 1.0}
    rms = lr * (0.2 if scale is None else factor.get(scale, 0.2))
    return f"{name} at lr {lr:g} moves a weight of {_SIDE} x {_SIDE} by about {rms:.1g} an element (RMS) in a step"


def _sources(ctx: ScriptContext, c: Construction) -> tuple[str, ...]:
    profile = class_source.described(ctx, c)
    return profile.source[:1] if profile is not None else ()


def _name(c: Construction) -> str:
    return c.made.name.rpartition(".")[2] if c.made is not None else "Muon"
