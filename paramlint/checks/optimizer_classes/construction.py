"""PML606, PML610, PML611: what a class makes of `torch.optim.Optimizer.__init__`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paramlint.checks.optimizer_classes.context import Source, arguments
from paramlint.checks.optimizer_classes.options import options
from paramlint.finding import Finding
from paramlint.source.class_facts import OptimizerFacts
from paramlint.source.statements import every

#: What fails with an AttributeError in an instance whose `Optimizer.__init__` never ran, and the attribute that it
#: misses (torch 2.13, tried).
_NEEDS_INIT = {
    "zero_grad": "defaults",
    "state_dict": "_optimizer_state_dict_pre_hooks",
    "load_state_dict": "_optimizer_load_state_dict_pre_hooks",
}
_WALKS = (
    "list",
    "tuple",
    "set",
    "sorted",
    "enumerate",
    "zip",
    "sum",
    "any",
    "all",
    "max",
    "min",
    "map",
    "filter",
    "dict",
)


def empty_defaults(source: Source) -> Iterator[Finding]:
    """PML606: silent for wrappers, whose options are those of the optimizers inside, and where no option is read that
    the class does not see to itself."""
    for c in source.classes:
        if not c.bare or not c.steps or c.delegates:
            continue
        for made in c.init_calls:
            if made.defaults is None or not _empty(made.defaults, c):
                continue
            seen = options(c)
            missing = sorted(seen.needed - seen.asked - seen.stored - seen.made, key=lambda k: (k != "lr", k))
            if not missing:
                break
            yield source.finding(
                "PML606",
                made.defaults,
                f"Optimizer.__init__ is given no defaults: a plain list of parameters has no {missing[0]}, nor has a "
                "group that is added later",
                "give the defaults of each option: torch fills in what a group leaves out",
                label=f"{c.name}.__init__",
            )


def no_super_init(source: Source) -> Iterator[Finding]:
    """PML610: an error where something that is inherited fails without it, a warning in a wrapper.

    Silent where the class has its own of each method that needs it or sets what they need, and where it takes over
    another optimizer's attributes.
    """
    for c in source.classes:
        init = c.own.get("__init__")
        if init is None or c.init_calls or c.foreign or _borrows(c):
            continue
        missing = [name for name, attribute in _NEEDS_INIT.items() if not {name, attribute} & c.names]
        if not missing:
            continue
        yield source.finding(
            "PML610",
            init,
            f"{c.name} never calls Optimizer.__init__: {' and '.join(missing[:2])} "
            f"{'fail' if len(missing) > 1 else 'fails'} with an AttributeError",
            "call super().__init__(params, defaults)",
            label=f"{c.name}.__init__",
            severity="warning" if c.delegates else None,
        )


def consumes_params(source: Source) -> Iterator[Finding]:
    """PML611: an argument of `__init__` is walked, and then given to `Optimizer.__init__`, or walked a second time.

    Silent where it is made a list first, or is a list by its annotation or by a test.
    """
    for c in source.classes:
        init = c.own.get("__init__")
        inside = None if init is None else [i for i in c.init_calls if i.params is not None and _within(i.call, init)]
        if init is None or not inside or c.wrapper:
            continue
        for argument in arguments(init):
            if _sequence(argument.annotation):
                continue
            walks = _walks(init, argument.arg)
            passed = [i.call for i in inside if isinstance(i.params, ast.Name) and i.params.id == argument.arg]
            ends = [*walks[1:], *passed] if _collects(init, argument.arg, inside[0].params) else passed
            later = next((e for e in ends if walks and _at(e) > _at(walks[0])), None)
            if later is None or _settled(init, argument.arg, _at(later)):
                continue
            yield source.finding(
                "PML611",
                walks[0],
                f"{argument.arg} is walked here and again in line {later.lineno}: a generator is empty by then",
                f"begin with `{argument.arg} = list({argument.arg})`",
                label=f"{c.name}.__init__",
            )


def _empty(node: ast.expr, c: OptimizerFacts) -> bool:
    match node:
        case ast.Dict(keys=[]) | ast.Call(func=ast.Name(id="dict"), args=[], keywords=[]):
            return True
        case ast.Name(id=name):
            init = c.own.get("__init__")
            nodes = list(every(init)) if init is not None else []
            stores = [n for n in nodes if isinstance(n, ast.Assign) and _named(n.targets, name)]
            uses = [n for n in nodes if isinstance(n, ast.Name) and n.id == name]
            return len(stores) == 1 and len(uses) == 2 and _empty(stores[0].value, c)
    return False


def _named(targets: list[ast.expr], name: str) -> bool:
    return any(isinstance(t, ast.Name) and t.id == name for t in targets)


def _borrows(c: OptimizerFacts) -> bool:
    """Whether attributes come from elsewhere: `__getattr__`, `self.__dict__`, `self.__setstate__(...)`."""
    if "__getattr__" in c.names or "__getattribute__" in c.names or "__dict__" in c.names or "__class__" in c.names:
        return True
    own = (n for m in c.own.values() for n in every(m))
    names = {n.attr for n in own if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
    return bool({"__dict__", "__setstate__"} & names)


def _walks(init: ast.FunctionDef, name: str) -> list[ast.expr]:
    """Where an argument is iterated over, in the order of the source."""
    found: list[ast.expr] = []
    for node in every(init):
        match node:
            case ast.For(iter=over) | ast.comprehension(iter=over):
                found += [over] if _is(over, name) else []
            case ast.Call(func=ast.Name(id=f), args=args) if f in _WALKS:
                found += [a for a in args if _is(a, name)]
            case ast.Starred(value=value):
                found += [value] if _is(value, name) else []
    return sorted(found, key=_at)


def _collects(init: ast.FunctionDef, name: str, params: ast.expr | None) -> bool:
    """Whether what goes to `Optimizer.__init__` is another collection, that this argument was walked to fill."""
    if not isinstance(params, ast.Name) or params.id == name:
        return False
    return any(
        isinstance(n, ast.Assign) and _named(n.targets, params.id) and any(_is(m, name) for m in every(n.value))
        for n in every(init)
    )


def _settled(init: ast.FunctionDef, name: str, before: tuple[int, int]) -> bool:
    """Whether the name is bound anew, or said to be of a type, by then."""
    for node in every(init):
        match node:
            case ast.Name(id=bound, ctx=ast.Store()) if bound == name and _at(node) < before:
                return True
            case ast.Call(func=ast.Name(id="isinstance" | "len" | "type"), args=[one, *_]) if _is(one, name):
                return True
            case ast.Subscript(value=value) if _is(value, name):
                return True
    return False


def _sequence(annotation: ast.expr | None) -> bool:
    text = "" if annotation is None else ast.unparse(annotation).lower()
    return any(word in text for word in ("list", "sequence", "tuple", "dict", "module"))


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _within(node: ast.AST, function: ast.FunctionDef) -> bool:
    return any(n is node for n in every(function))


def _at(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset
