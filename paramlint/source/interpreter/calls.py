"""What a call gives: functions of the script are followed, methods of its collections done, the rest is not known."""

from __future__ import annotations

import ast
from dataclasses import field
from typing import TYPE_CHECKING

from paramlint.record import dataclass
from paramlint.source.interpreter import (
    builtin,
    collections,
    conditions,
    expressions,
    folding,
    functions,
    instances,
    loops,
    optimizers,
    walks,
)
from paramlint.source.interpreter.values import (
    Bag,
    Bound,
    Class,
    Entry,
    Function,
    Known,
    Made,
    Phi,
    Row,
    Table,
    Value,
)
from paramlint.source.terms import Attribute, Const, Op, Opaque, Term, Var, either, negated, variables

if TYPE_CHECKING:
    from paramlint.source.interpreter.reader import Reader

#: Methods of a module that give the module again.
_SAME = frozenset(
    {"to", "cuda", "cpu", "train", "eval", "half", "float", "double", "bfloat16", "requires_grad_", "share_memory"}
    | {"compile", "apply"}
)
#: What functions are called that make something new at each call, beside classes.
_MAKERS = ("build", "make", "create", "copy", "net", "model", "mlp", "policy", "critic", "actor", "encoder", "decoder")
#: Functions that wrap a model, or take the wrapper off: by the last part of their names.
_WRAPPERS = frozenset(
    {"compile", "DistributedDataParallel", "DDP", "DataParallel", "FullyShardedDataParallel", "FSDP", "fully_shard"}
    | {
        "unwrap_model",
        "get_raw_model",
        "unwrap",
        "extract_model_from_parallel",
        "prepare_model",
        "convert_sync_batchnorm",
    }
    | {
        "orig_model",
        "get_model",
        "setup_module",
        "cast",
        "checkpoint_wrapper",
        "fsdp_wrap",
        "wrap_model",
        "de_parallel",
    }
)


@dataclass
class Given:
    """The arguments of a call. `more` says that some could not be told apart."""

    values: list[Value] = field(default_factory=list)
    named: dict[str, Value] = field(default_factory=dict)
    more: bool = False

    def all(self) -> list[Value]:
        return [*self.values, *self.named.values()]

    def get(self, position: int, name: str) -> Value | None:
        if name in self.named:
            return self.named[name]
        return self.values[position] if position < len(self.values) else None


def call(r: Reader, node: ast.Call) -> Value:
    if isinstance(node.func, ast.Attribute):
        of = _super(r, node.func.value) or r.value(node.func.value)
        if node.func.attr == "__init__" and isinstance(node.func.value, ast.Call) and _is_super(node.func.value):
            return _initialised(r, arguments(r, node), node)
        return called(r, Bound(of, node.func.attr, node.func), arguments(r, node), node)
    if isinstance(node.func, ast.Name) and node.func.id == "isinstance" and len(node.args) == 2:
        return builtin.instance(r, r.value(node.args[0]), r.value(node.args[1]), node)
    function = r.value(node.func)
    return called(r, function, arguments(r, node), node)


def _initialised(r: Reader, given: Given, node: ast.Call) -> Value:
    """`super().__init__(groups, defaults)`: an optimizer that makes its groups itself is made here."""
    function = r.frame.function
    if function is None or function.owner is None or optimizers.delegates(function.node):
        return Const(None)
    if given.all() and optimizers.holds(given.all()[0]):
        made = optimizers.of_class(r, Class(function.owner, function.scope, r.file.qualified(function.owner.name)))
        if made is not None:
            return optimizers.construct(r, made, Given(given.values[:1], dict(given.named)), node)
    return Const(None)


def _is_super(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "super"


def _super(r: Reader, node: ast.expr) -> Value | None:
    match node:
        case ast.Call(func=ast.Name(id="super")):
            return r.frame.function.self if r.frame.function and r.frame.function.self else Opaque("self")
    return None


def arguments(r: Reader, node: ast.Call) -> Given:
    given = Given()
    for arg in node.args:
        if isinstance(arg, ast.Starred):
            inner = r.value(arg.value)
            values = inner.values if isinstance(inner, Row) else inner.plain() if isinstance(inner, Bag) else None
            if values is None:
                given.more = True
                given.values.append(inner)
            else:
                given.values += values
        else:
            given.values.append(r.value(arg))
    for keyword in node.keywords:
        held = r.value(keyword.value)
        if keyword.arg is not None:
            given.named[keyword.arg] = held
        elif isinstance(held, Table):
            given.named |= {e.key.value: e.value for e in held.entries if isinstance(e.key, Const)}  # type: ignore[misc]
            given.more = given.more or bool(held.unread)
        else:
            given.more = True
    return given


def called(r: Reader, function: Value, given: Given, node: ast.Call) -> Value:
    """What a call of this value gives."""
    if isinstance(function, Phi):
        with r.under(function.when):
            then = called(r, function.then, given, node)
        with r.under(negated(function.when)):
            otherwise = called(r, function.otherwise, given, node)
        return r.merge(function.when, then, otherwise)
    if isinstance(function, Function):
        return functions.apply(r, function, given.values, given.named, node, more=given.more)
    if isinstance(function, Bound):
        return _method(r, function, given, node)
    if isinstance(function, Known):
        return _known(r, function, given, node)
    if isinstance(function, Class):
        return _instance(r, function, given, node)
    return unknown(r, given, node)


def _known(r: Reader, function: Known, given: Given, node: ast.Call) -> Value:
    name = function.name
    if name.startswith("builtins."):
        found = builtin.call(r, name.removeprefix("builtins."), given, node)
        if found is not None:
            return found
        return unknown(r, given, node)
    made = optimizers.known(r, name)
    if made is not None:
        return optimizers.construct(r, made, given, node)
    inner = r.project.member(function, r)
    if inner is not None and not isinstance(inner, Known):
        return called(r, inner, given, node)
    if name == "functools.partial" and given.values and isinstance(given.values[0], (Known, Class)):
        return given.values[0]  # what it fills in beforehand are options
    found = builtin.library(r, name, given, node)
    if found is not None:
        return found
    last = name.rpartition(".")[2]
    if last in _WRAPPERS and given.values and isinstance(given.values[0], Term):
        return given.values[0]
    return unknown(r, given, node, name)


def _instance(r: Reader, made: Class, given: Given, node: ast.Call) -> Value:
    if _is_record(made.node):
        return _record(r, made, given, node)
    optimizer = optimizers.of_class(r, made)
    if optimizer is not None and not optimizers.wraps(given):
        return optimizers.construct(r, optimizer, given, node, made)
    if any(isinstance(base, ast.Name) and base.id in ("dict", "list") for base in made.node.bases):
        return r.opaque(node, given.all())
    held = unknown(r, given, node, made.name)
    return instances.made(r, held, made) if isinstance(held, Term) else held


def _is_record(node: ast.ClassDef) -> bool:
    """Whether a class does no more than hold what it is given."""
    marks = [ast.unparse(d) for d in node.decorator_list]
    return any("dataclass" in m for m in marks) or any(ast.unparse(b).endswith("NamedTuple") for b in node.bases)


def _record(r: Reader, made: Class, given: Given, node: ast.Call) -> Value:
    names = [n.target.id for n in made.node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    table = r.table(node)
    table.kind = "record"
    held = dict(zip(names, given.values, strict=False)) | given.named
    table.entries += [Entry(v, r.at(node), Const(k)) for k, v in held.items()]
    return table


def unknown(r: Reader, given: Given, node: ast.Call, name: str = "", of: Term | None = None) -> Value:
    """A call that cannot be followed, of a function of that `name`, or of a method of `of`. What it is given may go
    anywhere; where its name says that it makes an optimizer, that is what it does."""
    text = name or r.text(node.func)
    made = optimizers.unknown(r, text, given)
    last = text.rpartition(".")[2]
    if made is None and (isinstance(node.func, ast.Subscript) or last == "instantiate"):
        made = optimizers.chosen(r, text, given)
    if made is not None:
        return optimizers.construct(r, made, given, node)
    if last in _WRAPPERS and given.values and isinstance(given.values[0], Term):
        return given.values[0]
    for value in given.all():
        escaped(r, value)
    walks.handed(r, given, node)
    depends = [t for v in (of, *given.all()) if isinstance(v, Term) for t in variables(v)]
    why = f"{text} is not followed"
    makes = last[:1].isupper() or any(word in last.lower() for word in _MAKERS)
    where = [f"{s.path}:{s.line}:{s.column}" for s in (*r.calls, r.span(node))]
    places = "; ".join([*where, *map(str, r.turns)]) if makes else ""
    return Opaque(r.text(node), tuple(dict.fromkeys(depends)), why, places)


def escaped(r: Reader, value: Value) -> None:
    """What is handed on may be used there."""
    if isinstance(value, Bag):
        value.given.append(r.place.when)
        for entry in value.entries:
            escaped(r, entry.value)
    elif isinstance(value, Table):
        for entry in value.entries:
            escaped(r, entry.value)
    elif isinstance(value, Row):
        for v in value.values:
            escaped(r, v)
    elif isinstance(value, Phi):
        with r.under(value.when):
            escaped(r, value.then)
        with r.under(negated(value.when)):
            escaped(r, value.otherwise)


def _method(r: Reader, bound: Bound, given: Given, node: ast.Call) -> Value:
    of, name = bound.of, bound.name
    if isinstance(of, Phi):
        with r.under(of.when):
            then = _method(r, Bound(of.then, name, bound.node), given, node)
        with r.under(negated(of.when)):
            otherwise = _method(r, Bound(of.otherwise, name, bound.node), given, node)
        return r.merge(of.when, then, otherwise)
    if isinstance(of, (Bag, Table, Row)):
        return collections.method(r, of, name, given, node)
    if isinstance(of, Made):
        return optimizers.method(r, of, name, given, node)
    if isinstance(of, (Known, Class)):
        return called(r, expressions.attribute(r, of, name, bound.node), given, node)
    if isinstance(of, Term):
        return _term_method(r, of, name, given, node)
    return unknown(r, given, node)


def _term_method(r: Reader, of: Term, name: str, given: Given, node: ast.Call) -> Value:
    if isinstance(of, Op) and of.op == "if" and name in ("parameters", "named_parameters"):
        return loops.parameters(r, of, node, named=name != "parameters")
    held = r.attributes.get((of, name))
    if isinstance(held, (Function, Class, Phi)):
        return called(r, held, given, node)
    own = _own(r, of, name)
    if own is not None:
        return functions.apply(r, own, given.values, given.named, node, more=given.more)
    if name in ("parameters", "named_parameters"):
        recurse = given.get(1 if name == "named_parameters" else 0, "recurse")
        whole = not (isinstance(recurse, Const) and not recurse.value)
        return loops.parameters(r, of, node, named=name == "named_parameters", recurse=whole)
    if name in ("modules", "named_modules", "children", "named_children"):
        kind = "module" if name.endswith("modules") else "child"
        return loops.modules(r, of, kind, node, named=name.startswith("named"))
    terms = [v for v in given.values if isinstance(v, Term)]
    if isinstance(of, Const) or _string(of):
        constants = [folding.constant(v) for v in given.values]
        args = tuple(c if c is not None else v for c, v in zip(constants, given.values, strict=True))
        if all(isinstance(a, Term) for a in args) and not given.named:
            return _text(r, of, name, tuple(a for a in args if isinstance(a, Term)), node)
    match name, terms:
        case (("dim" | "ndimension"), []):
            return folding.operation("attr:ndim", (of,))
        case "size", []:
            return folding.operation("attr:shape", (of,))
        case "size", [axis]:
            return Op("getitem", (Op("attr:shape", (of,)), axis))
        case (("numel" | "nelement" | "data_ptr" | "is_floating_point" | "element_size"), []):
            return Op(f"method:{name}", (of,))
        case (("get_submodule" | "get_parameter"), [Const(value=str(path))]):
            for part in path.split("."):
                of = Attribute(of, part)
            return of
        case (("values" | "items" | "keys"), []):
            return _unpacked(r, of, name, node)
    if name in _SAME:
        return of
    if name == "prepare" and given.values:
        return given.values[0] if len(given.values) == 1 else Row(tuple(given.values))
    return unknown(r, given, node, of=of)


def _unpacked(r: Reader, of: Term, name: str, node: ast.Call) -> Value:
    """`of.items()` of something that is not known: what the script goes through is what it is."""
    b = r.binder("element", of)
    key, value = Var(b, "name"), Var(b, "value")
    taken: Value = Row((key, value)) if name == "items" else key if name == "keys" else value
    return loops.iterator(r, b, taken, node)


def _string(of: Term) -> bool:
    """Whether a term is a string: a name, or what is made of one."""
    if isinstance(of, Var):
        return of.what == "name"
    if isinstance(of, Opaque):
        return any(v.what == "name" for v in variables(of)) and not any(v.what == "value" for v in variables(of))
    return isinstance(of, Op) and (of.op.startswith(("method:", "call:re")) or of.op in ("concat", "+", "getitem"))


def _text(r: Reader, of: Term, name: str, args: tuple[Term, ...], node: ast.Call) -> Term:
    """A method of a string."""
    if name in ("startswith", "endswith") and len(args) == 1 and isinstance(args[0], Const):
        sought = args[0].value
        for one in sought if isinstance(sought, tuple) else (sought,):
            conditions.needle(r, f"method:{name}", Const(one), of, node)
        if isinstance(sought, tuple):
            return either(*(folding.operation(f"method:{name}", (of, Const(s))) for s in sought))
    return folding.operation(f"method:{name}", (of, *args))


def _own(r: Reader, of: Term, name: str) -> Function | None:
    """A method of the object whose method is being read, or of another whose class is known."""
    function = r.frame.function
    if function is not None and function.owner is not None and function.self == of:
        return functions.method(r, function.owner, name, function.scope, of)
    own = instances.class_of(r, of)
    return functions.method(r, own.node, name, own.scope, of) if own is not None else None
