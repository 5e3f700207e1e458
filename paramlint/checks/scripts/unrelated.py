"""PML512: an option of an optimizer that is given the value of another setting."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from paramlint.checks.scripts.context import ScriptContext
from paramlint.checks.scripts.nodes import literal, nodes
from paramlint.finding import Finding
from paramlint.source.class_facts import qualified_names

#: What a name of a setting means, by well-known names. Prefixes that say whose it is are taken off first.
_MEANS = {
    **dict.fromkeys(("lr", "learning_rate", "base_lr", "max_lr", "min_lr", "init_lr", "peak_lr"), "lr"),
    **dict.fromkeys(("weight_decay", "wd", "weight_decay_rate"), "weight_decay"),
    **dict.fromkeys(("momentum", "beta1", "beta_1", "beta2", "beta_2", "betas", "mu"), "betas"),
    **dict.fromkeys(("eps", "epsilon"), "eps"),
    **dict.fromkeys(("max_grad_norm", "grad_clip", "clip_grad", "clip_grad_norm", "grad_norm_clip"), "clipping"),
    **dict.fromkeys(("gradient_clip_val", "gradient_clipping", "max_gradient_norm", "grad_clip_norm"), "clipping"),
    **dict.fromkeys(("dropout", "dropout_rate", "dropout_prob", "attn_dropout", "drop_path_rate"), "dropout"),
    **dict.fromkeys(("batch_size", "num_epochs", "epochs", "warmup_steps", "max_steps", "seed"), "schedule"),
    **dict.fromkeys(("label_smoothing", "ema_decay"), "loss"),
}
_OPTIONS = {
    "lr": "lr",
    "weight_decay": "weight_decay",
    "wd": "weight_decay",
    "momentum": "betas",
    "betas": "betas",
    "eps": "eps",
}
_WHOSE = re.compile(r"^(muon|adamw?|sgd|optimizer|optim|opt|default|train|training|cfg|config|args)_")


def check(ctx: ScriptContext) -> Iterator[Finding]:
    found = nodes(ctx.file)
    made = {(s.line, s.column) for r in ctx.reads for c in r.build.constructions if ctx.here(s := c.span)}
    known = qualified_names(ctx.known)
    for call in found.calls:
        if any(k.arg in _OPTIONS for k in call.keywords) and _optimizer(ctx, call, known, made):
            for k in call.keywords:
                if k.arg in _OPTIONS:
                    yield from _option(ctx, k.arg, k, k.value)
    for node in found.dicts:
        keys = literal(node).keys
        if "params" in keys:
            for key, (at, value) in keys.items():
                if key in _OPTIONS:
                    yield from _option(ctx, key, at, value)


def _optimizer(ctx: ScriptContext, call: ast.Call, known: dict[str, str], made: set[tuple[int, int]]) -> bool:
    """Whether a call makes an optimizer, or a group."""
    if isinstance(call.func, ast.Name) and call.func.id == "dict":
        return any(k.arg == "params" for k in call.keywords)
    if any(name in known for name in ctx.file.imports.qualified(call.func)):
        return True
    return (call.lineno, ctx.file.span(call).column) in made


def _option(ctx: ScriptContext, option: str, at: ast.AST, value: ast.expr) -> Iterator[Finding]:
    for one in value.elts if isinstance(value, ast.Tuple) else (value,):
        name = _last(one)
        meaning = _MEANS.get(_WHOSE.sub("", name.lower())) if name else None
        if meaning is not None and meaning != _OPTIONS[option]:
            yield ctx.finding(
                "PML512",
                ctx.file.span(at),
                f"`{option}` is given `{ctx.file.text_of(one)}`, which is the name of another setting",
                f"give it the setting that is meant for {option}",
            )


def _last(node: ast.expr) -> str | None:
    """The last name of a setting: `cfg.train.lr`, `args["lr"]`, `config.get("lr", 0.1)`, `float(lr)`."""
    match node:
        case ast.Attribute(value=of, attr=name):
            return name if not isinstance(of, ast.Call) or not of.args else None
        case ast.Name(id=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
            return name
        case ast.Call(func=ast.Name(id="float"), args=[inner]):
            return _last(inner)
    return None
