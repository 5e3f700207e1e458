"""Optimizers that a script makes: which class it is, and what it is given."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from paramlint.codegen.find_optimizer import TORCH
from paramlint.knowledge import Knowledge
from paramlint.source.class_facts import optimizer_class
from paramlint.source.class_kind import flags_asked, steps_groups
from paramlint.source.interpreter import calls, functions, hints, walks
from paramlint.source.interpreter.project import File
from paramlint.source.interpreter.values import Bag, Class, Entry, Known, Made, Phi, Row, Table, Value
from paramlint.source.script import OptimizerClass
from paramlint.source.terms import Const, Term, Var

if TYPE_CHECKING:
    from paramlint.source.interpreter.calls import Given
    from paramlint.source.interpreter.reader import Reader

#: What optimizers are called: by the last part of a name.
_CALLED = re.compile(
    r"(Muon|Adam|AdamW|SGD|Lion|Adafactor|Lamb|LAMB|LARS|RMSprop|Shampoo|SOAP|Sophia\w*|Dion|Scion|Adan|Prodigy"
    r"|CAME|GaLore|Adagrad|NAdam|Optimizer|Optim)\w*$"
)
_MAKES = re.compile(r"optim|muon|adamw?|sgd", re.IGNORECASE)
_SCHEDULES = re.compile(
    r"sched|warmup|anneal|_lr$|lr_|load|save|state|log|print|step|zero|clip|count|assert", re.IGNORECASE
)
_GROUPS = ("params", "param_groups", "parameters", "optim_groups", "groups", "model_params")
_MUON = ("muon_params", "muon_param_groups", "muon_parameters")
_ADAM = ("adamw_params", "adam_params", "adamw_param_groups", "other_params", "aux_params")

#: How many bases above one another are looked at.
_DEPTH = 4


def names(known: Knowledge) -> dict[str, tuple[str, str | None]]:
    """The qualified names of all optimizers that are known: the name each goes by, and its profile."""
    table: dict[str, tuple[str, str | None]] = {}
    for profile in known.profiles.values():
        for name in (*profile.imports, *profile.classes):
            table.setdefault(name, (name, profile.name))
    for name in TORCH:
        canonical = f"torch.optim.{name}"
        profile_name = {"AdamW": "adamw", "Adam": "adam", "SGD": "sgd", "Muon": "torch-muon"}.get(name)
        for spelt in (canonical, f"torch.optim.{name.lower()}.{name}"):
            table[spelt] = (canonical, profile_name)
    return table


def known(r: Reader, name: str) -> OptimizerClass | None:
    """The optimizer of a qualified name that some profile or torch has, unless the project has its own there."""
    if r.project.optimizers is None:
        r.project.optimizers = names(r.known)
    found = r.project.optimizers.get(name)
    if found is None:
        return None
    if not name.startswith("torch.") and r.project.member(Known(name, r.file.path), r) is not None:
        return None
    canonical, profile = found
    return OptimizerClass(canonical, profile, kind=_kind(r, profile))


def _kind(r: Reader, profile: str | None) -> Literal["muon", "adam", "routed"]:
    if profile is None:
        return "adam"
    p = r.known.profiles[profile]
    if p.family == "elementwise":
        return "adam"
    return "muon" if p.call_shape == "two-optimizers" else "routed"


def of_class(r: Reader, made: Class) -> OptimizerClass | None:
    """The optimizer that a class of the project is; None where it is none."""
    if not _derives(r, made, 0):
        return None
    file = made.scope.file
    assert isinstance(file, File)
    found = optimizer_class(made.node, file.imports, r.known, file.definitions)
    return replace(found, name=made.name, picks=found.reads is None and _asks(r, made, 0))


def _derives(r: Reader, made: Class, depth: int) -> bool:
    foreign = False
    for base in made.node.bases:
        if ast.unparse(base).rpartition(".")[2] in ("Optimizer", *TORCH):
            return True
        held = _base(r, made, base)
        if held is not None and depth < _DEPTH and _derives(r, held, depth + 1):
            return True
        foreign = foreign or held is None
    return foreign and steps_groups(made.node)


def _asks(r: Reader, made: Class, depth: int) -> bool:
    """Whether a class, or a base of it in the project, asks groups who updates them."""
    if flags_asked(made.node):
        return True
    held = [_base(r, made, base) for base in made.node.bases] if depth < _DEPTH else []
    return any(h is not None and _asks(r, h, depth + 1) for h in held)


def _base(r: Reader, made: Class, base: ast.expr) -> Class | None:
    """The class of the project that a base is; None where it comes from elsewhere."""
    text = ast.unparse(base)
    held = made.scope.find(text) or (r.project.named(made.scope.file, text, r) if text.isidentifier() else None)  # type: ignore[arg-type]
    held = r.project.member(held, r) if isinstance(held, Known) else held
    return held if isinstance(held, Class) and held.node is not made.node else None


def unknown(r: Reader, name: str, given: Given) -> OptimizerClass | None:
    """The optimizer that a call makes which cannot be followed, by its name and by what it is given."""
    last = re.split(r"[.\[(]", name.rstrip("])"))[-1] or name
    handed = _groups(given) is not None or any(k in given.named for k in (*_MUON, *_ADAM))
    if not handed:
        return None
    picks = hints.told(given) or hints.divided(given)
    if _CALLED.search(last):
        muon = "muon" in last.lower() and "adam" not in last.lower() and not picks
        return OptimizerClass(name, kind="muon" if muon else "unknown", picks=picks)
    if _MAKES.search(name) and not _SCHEDULES.search(last):
        return OptimizerClass(name, picks=picks)
    return None


def chosen(r: Reader, name: str, given: Given) -> OptimizerClass | None:
    """The optimizer that something makes which was looked up: it is one if it is given groups."""
    groups = _groups(given)
    held = groups is not None and _has_groups(groups)
    return OptimizerClass(name, picks=hints.told(given) or hints.divided(given)) if held else None


def _groups(given: Given) -> Value | None:
    """The argument that has the groups."""
    for value in (given.get(0, "params"), *(given.named.get(k) for k in _GROUPS)):
        if value is not None and holds(value):
            return value
    held = [v for v in given.all() if holds(v)]
    return next((v for v in held if _has_groups(v)), held[0] if held else None)


def _has_groups(value: Value) -> bool:
    if isinstance(value, Phi):
        return _has_groups(value.then) or _has_groups(value.otherwise)
    return isinstance(value, Bag) and any(_group(e.value) for e in value.entries)


def holds(value: Value) -> bool:
    """Whether a value has parameters, or groups of them."""
    if isinstance(value, Phi):
        return holds(value.then) or holds(value.otherwise)
    if isinstance(value, Row):
        return any(holds(v) for v in value.values)
    if isinstance(value, Bag):
        return any(_parameter(e.value) or _group(e.value) for e in value.entries)
    if isinstance(value, Table) and value.kind == "record":
        return any(holds(e.value) for e in value.entries)
    return _group(value)


def _parameter(value: Value) -> bool:
    if isinstance(value, Var):
        return value.binder.kind == "parameter" and value.what == "value"
    if isinstance(value, Row):
        return any(_parameter(v) for v in value.values)
    return False


def _group(value: Value) -> bool:
    if isinstance(value, Phi):
        return _group(value.then) or _group(value.otherwise)
    return isinstance(value, Table) and bool(value.find(Const("params")))


def delegates(constructor: ast.AST) -> bool:
    """Whether a constructor makes optimizers of its own, which then do the work."""
    calls_ = (n.func for n in ast.walk(constructor) if isinstance(n, ast.Call))
    return any(isinstance(f, (ast.Name, ast.Attribute)) and _CALLED.search(ast.unparse(f)) for f in calls_)


def wraps(given: Given) -> bool:
    """Whether a call is handed optimizers rather than parameters: it steps them, and has no groups of its own."""
    values = [v for value in given.all() for v in (_held(value))]
    return any(isinstance(v, Made) for v in values)


def _held(value: Value) -> list[Value]:
    if isinstance(value, Bag):
        return [e.value for e in value.entries]
    if isinstance(value, Table):
        return [e.value for e in value.entries]
    return list(value.values) if isinstance(value, Row) else [value]


def construct(r: Reader, optimizer: OptimizerClass, given: Given, node: ast.Call, made: Class | None = None) -> Value:
    """Keeps that an optimizer is made."""
    if not optimizer.picks and hints.told(given):
        optimizer = replace(optimizer, picks=True)
    named = dict(given.named)
    if made is not None:
        named = _by_name(r, made, given) | named
    halves = {half: named.pop(key) for half, keys in (("muon", _MUON), ("adam", _ADAM)) for key in keys if key in named}
    groups: Value | None = next((named.pop(k) for k in _GROUPS if k in named), None)
    if made is None and groups is None and not halves and _two_lists(optimizer, given):
        halves = {"muon": given.values[0], "adam": given.values[1]}
    if groups is None and not halves:
        groups = _groups(given) or (given.values[0] if given.values else None)
    place = replace(r.place, span=r.seen_from_here(r.span(node)))
    result = Made(optimizer, groups if groups is not None else r.bag("list", node=node), named, place, halves)
    if isinstance(result.groups, Term) and not halves:
        bag = r.bag("list", node=node)
        bag.unread.append(r.text(node.args[0] if node.args else node))
        result.groups = bag
    for value in (result.groups, *halves.values(), *given.all()):
        calls.escaped(r, value)
    walks.consumed(r, given, node)
    r.made.append(result)
    return result


def _two_lists(optimizer: OptimizerClass, given: Given) -> bool:
    """Whether a Muon that was not read is given two lists, as Moonlight's is: its own, then Adam's."""
    unread = optimizer.profile is None and optimizer.kind in ("muon", "unknown") and optimizer.is_muon
    return unread and len(given.values) > 1 and all(holds(v) and not _has_groups(v) for v in given.values[:2])


def _by_name(r: Reader, made: Class, given: Given) -> dict[str, Value]:
    """Positional arguments by the names that the class's constructor has for them."""
    init = functions.method(r, made.node, "__init__", made.scope)
    if init is None:
        return {}
    names = [a.arg for a in (*init.node.args.posonlyargs, *init.node.args.args)][1:]
    return dict(zip(names, given.values, strict=False))


def method(r: Reader, of: Made, name: str, given: Given, node: ast.Call) -> Value:
    """A method of an optimizer that the script has made."""
    if name == "add_param_group" and given.all():
        bag = of.groups
        if not isinstance(bag, Bag) or not of.own:
            first = bag
            bag = Bag("list", of.place)
            bag.entries += first.entries if isinstance(first, Bag) else [Entry(first, of.place)]
            bag.unread += first.unread if isinstance(first, Bag) else []
            of.groups, of.own = bag, True
        bag.entries.append(Entry(given.all()[0], r.at(node)))
        calls.escaped(r, given.all()[0])
        return Const(None)
    return r.opaque(node)
