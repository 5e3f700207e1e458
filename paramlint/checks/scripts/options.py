"""PML301 and PML302: keys of groups that an optimizer needs, refuses or ignores, and arguments that it refuses."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.scripts import class_source
from paramlint.checks.scripts.class_source import described
from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.nodes import Literal, Nodes, nodes
from paramlint.finding import Finding
from paramlint.knowledge import Knowledge
from paramlint.profile import Profile
from paramlint.source.imports import dotted
from paramlint.source.script import Construction, SymbolicGroup
from paramlint.source.terms import Const, Span
from paramlint.toml_table import shown as shown_path

#: Keys by which a group says that Adam updates it, and whether a value says so.
_FLAGS = {
    "use_muon": lambda v: v is False,
    "use_fallback": lambda v: v is True,
    "algorithm": lambda v: isinstance(v, str) and v.lower() in ("adam", "adamw", "lion", "sgd"),
}
#: Options of optimizers, which a group has for no other reader: these are said where they are ignored.
_OPTIONS = ("betas", "eps", "momentum", "nesterov", "weight_decay")
#: Arguments that torch's elementwise optimizers share, and those that may come with a release:
#: https://docs.pytorch.org/docs/stable/optim.html
_SHARED = frozenset({"maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"})
#: Optimizers whose profile names all that their constructors take, but for what all of torch's elementwise ones share.
_WHOLE = ("torch-muon", "keller", "keller-dist", "adamw", "adam", "sgd")


def missing_flag(ctx: ScriptContext) -> Iterator[Finding]:
    """PML301."""
    for c, profile in _made(ctx):
        flag = profile.flag_key if profile is not None else None
        if profile is None or flag is None or profile.unflagged != "error" or c.made is None:
            continue
        lacking = [g for g in c.groups if not (g.unread or flag in g.options)]
        if lacking and described(ctx, c) is None:
            source = class_source.of_construction(ctx, c)
            if source is None or not source.insists(flag):
                continue
        for g in lacking:
            span, shown = _group(ctx, c, g)
            if shown is not None and not shown.whole:
                continue
            bare = shown is None and not g.options and bool(g.items)
            if bare or shown is not None:
                yield ctx.finding(
                    "PML301",
                    span,
                    f"{_name(c)} is given parameters without groups: each needs to be in one with `{flag}`"
                    if bare
                    else f"a group without `{flag}`: {_name(c)} refuses it",
                    f"say in each group who updates it: `{flag}` is {_values(profile.flag_muon)} for Muon, "
                    f"{_values(profile.flag_adam)} for Adam",
                    details=profile.source[:1],
                )


def unknown_key(ctx: ScriptContext) -> Iterator[Finding]:
    """PML302."""
    for c, profile in _made(ctx):
        yield from _arguments(ctx, c)
        for g in c.groups:
            _, shown = _group(ctx, c, g)
            if shown is not None:
                yield from _refused(ctx, c, g, shown, profile)
                yield from _ignored(ctx, c, g, shown, profile)


def _made(ctx: ScriptContext) -> Iterator[tuple[Construction, Profile | None]]:
    """The optimizers that are made in this file."""
    for read in ctx.reads:
        for c in read.build.constructions:
            if c.made is not None and ctx.here(c.span):
                yield c, ctx.profile(c)


def _group(ctx: ScriptContext, c: Construction, g: SymbolicGroup) -> tuple[Span | None, Literal | None]:
    """Where a group is made, and its dict. What is put into it elsewhere may come after the optimizer, and does not
    count."""
    here = g.span if g.span is not None and ctx.here(g.span) else None
    return here or c.span, nodes(ctx.file).literal(here)


# Keys


def _refused(
    ctx: ScriptContext, c: Construction, g: SymbolicGroup, shown: Literal, profile: Profile | None
) -> Iterator[Finding]:
    """Keys that are not in the set that the optimizer asks for."""
    if c.made is None or profile is None or profile.keys.strictness != "exact":
        return
    half = ctx.half(c, g) if described(ctx, c) is not None else None
    if described(ctx, c) is not None:
        sets = {
            "muon": (profile.keys.muon,),
            "adam": (profile.keys.adam,),
            None: (profile.keys.muon, profile.keys.adam),
        }
        allowed = frozenset(k for keys in sets[half] for k in keys)
        source = profile.source[:1]
    else:
        own = class_source.of_construction(ctx, c)
        if own is None or not own.key_sets:
            return
        allowed, source = frozenset().union(*own.key_sets), ()
    for key, (node, _) in shown.keys.items():
        if key not in allowed:
            said = sorted(allowed - {"params"})
            yield ctx.finding(
                "PML302",
                ctx.file.span(node),
                f"{_name(c)} refuses a group with `{key}`: it asserts the keys of "
                + {"muon": "a Muon group", "adam": "an Adam group", None: "a group"}[
                    half if not c.made.assumed else None
                ],
                f"leave it out; such a group may have {', '.join(f'`{k}`' for k in said)}",
                details=source,
            )
    filled = profile.muon_defaults if half == "muon" else profile.adam_defaults
    if half is None or not shown.whole or g.unread:
        return
    lacking = allowed - set(g.options) - set(filled) - {"params", profile.flag_key}
    if lacking:
        yield ctx.finding(
            "PML302",
            g.span,
            f"{_name(c)} refuses a group without {', '.join(f'`{k}`' for k in sorted(lacking))}",
            "give it: the optimizer fills in no number for it",
            details=source,
        )


def _ignored(
    ctx: ScriptContext, c: Construction, g: SymbolicGroup, shown: Literal, profile: Profile | None
) -> Iterator[Finding]:
    """Keys that the optimizer does nothing with."""
    if c.made is None:
        return
    certain = described(ctx, c)
    for key, (node, _) in shown.keys.items():
        span = ctx.file.span(node)
        if key in _FLAGS:
            value = g.options.get(key)
            if isinstance(value, Const) and _FLAGS[key](value.value) and _unheard(c, g, key, certain):
                orthogonal = c.made.kind == "muon" or (profile is not None and profile.unflagged == "muon")
                if not orthogonal and not _alone(ctx, c, key):
                    continue
                yield ctx.finding(
                    "PML302",
                    span,
                    f"{_name(c)} does not look at `{key}`: "
                    + ("this group is orthogonalised all the same" if orthogonal else "this group is like the others"),
                    _instead(profile),
                    severity="error" if orthogonal else "warning",
                    details=certain.source[:1] if certain is not None else (),
                )
        elif key in _OPTIONS and certain is not None and key in certain.keys.ignored:
            yield ctx.finding(
                "PML302",
                span,
                f"{_name(c)} does not look at `{key}` in a group",
                "leave it out, or use the name that this optimizer has for it",
                severity="warning",
                details=certain.source[:1],
            )


def _unheard(c: Construction, g: SymbolicGroup, key: str, certain: Profile | None) -> bool:
    """Whether nothing comes of a flag: the optimizer is known not to read it, or its own source does not."""
    if certain is not None:
        said = certain.flag_key in g.options or certain.second_flag in g.options
        return key in certain.keys.ignored and not said and certain.unflagged != "error"
    return c.made is not None and c.made.kind == "muon" and c.made.reads is not None and key not in c.made.reads


def _alone(ctx: ScriptContext, c: Construction, key: str) -> bool:
    """Whether no other optimizer of the file may be one that the flag is meant for, and nothing reads the flag back."""
    others = [o for read in ctx.reads for o in read.build.constructions if o.span != c.span]
    if any(o.made is None or o.made.kind != "adam" or o.made.assumed for o in others):
        return False
    text = ctx.file.text
    return not any(f"{form}{q}{key}{q}" in text for q in "\"'" for form in ("[", "get(", "pop("))


def _instead(profile: Profile | None) -> str:
    if profile is not None and profile.call_shape == "flagged-groups" and profile.flag_key:
        return f"say it with `{profile.flag_key}`, which is {_values(profile.flag_adam)} for Adam's groups"
    return "give such a group to a second optimizer, torch.optim.AdamW"


# Arguments


def _arguments(ctx: ScriptContext, c: Construction) -> Iterator[Finding]:
    """Arguments that the class does not take. Only what stands in the call itself counts."""
    call = _call(nodes(ctx.file), c)
    if call is None or c.made is None:
        return
    named = [k for k in call.keywords if k.arg is not None]
    certain = described(ctx, c)
    if certain is not None:
        taken = _taken(certain)
        refused = [k for k in named if taken is not None and k.arg not in taken and k.arg in _vocabulary(ctx.known)]
        source: tuple[str, ...] = certain.source[:1]
    else:
        usual = c.made.reads or frozenset()
        own = class_source.of_construction(ctx, c) if any(k.arg not in usual for k in named) else None
        if own is None or own.takes is None:
            return
        takes = own.takes
        refused = [k for k in named if k.arg not in takes]
        source = (f"{own.node.name} is defined in {shown_path(own.file.path)}, line {own.node.lineno}",)
    for keyword in refused:
        yield ctx.finding(
            "PML302",
            ctx.file.span(keyword),
            f"{_name(c)} takes no argument `{keyword.arg}`: this call is a TypeError",
            "leave it out, or use the name that this optimizer has for it",
            details=source,
        )


def _taken(profile: Profile) -> frozenset[str] | None:
    """What a constructor takes; None where the profile may not say all of it."""
    if profile.name not in _WHOLE:
        return None
    if profile.call_shape == "flagged-groups":
        return frozenset()
    shared = _SHARED if profile.family == "elementwise" else frozenset()
    return frozenset({"params", *profile.defaults, profile.lr_scale_key or ""}) | shared


def _call(found: Nodes, c: Construction) -> ast.Call | None:
    """The call that makes an optimizer, where it names the class and nothing that may stand for it."""
    call = found.call(c.span)
    if call is None or c.made is None:
        return None
    imported = found.file.imports.qualified(call.func)
    name = imported[0] if len(imported) == 1 else "" if imported else dotted(call.func) or ""
    return call if name.rpartition(".")[2] == c.made.name.rpartition(".")[2] else None


def _vocabulary(known: Knowledge) -> frozenset[str]:
    """What some optimizer or other takes: an argument that is none of these may come with a release."""
    words = _SHARED | {"rank", "world_size"}
    for p in known.profiles.values():
        named = (p.muon_argument, p.adam_argument, p.flag_key, p.lr_scale_key)
        words |= {*p.defaults, *p.muon_defaults, *p.adam_defaults, *(n for n in named if n)}
    return words


def _name(c: Construction) -> str:
    return c.made.name.rpartition(".")[2] if c.made is not None else "the optimizer"


def _values(values: tuple[object, ...]) -> str:
    return " or ".join(repr(v) for v in values)
