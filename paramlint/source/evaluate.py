"""The value of a term over the modules and parameters of a known model; what is not known stays unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field

from paramlint.parameter import Parameter
from paramlint.record import dataclass
from paramlint.source import operations, terms
from paramlint.source.terms import Attribute, Binder, Const, Item, Member, Op, Opaque, Root, Term, Var
from paramlint.source.tree import Tree
from paramlint.source.values import UNKNOWN, ClassOf, Identity, Node, Unknown, Value, key, truth

_TENSORS = ("Parameter", "Tensor")
_BUILTINS = {"str": str, "int": int, "float": float, "bool": bool, "tuple": tuple, "list": tuple}
_DTYPE = re.compile(r"torch\.(b?float\d+\w*|int\d+|uint8|half|double|float|bool|complex\d+)")
#: What a reader calls it when a `try` comes to its handlers: a script is looked at where nothing fails.
_FAILURE = re.compile(r"line \d+ fails")
_DTYPES = {"torch.half": "torch.float16", "torch.double": "torch.float64", "torch.float": "torch.float32"}
_FLOATING = ("float", "bfloat")


@dataclass(frozen=True)
class Turn:
    """What a binder stands for in one turn of its loop."""

    name: Value
    value: Value


Bindings = Mapping[Binder, Turn]


def setting(term: Term) -> str | None:
    """The text of a setting: a name that nothing is known of ("args"), what is computed of settings alone, or an
    attribute or an entry of one. An attribute of a model is one too, where it is no part of it."""
    match term:
        case Opaque(text=text, args=args):
            named = any(c.isalpha() for c in text)
            return text if named and all(setting(a) is not None for a in args) else None
        case Attribute(of=Root(name=root), name=name):
            return f"{root}.{name}"
        case Attribute(of=of, name=name):
            inner = setting(of)
            return None if inner is None else f"{inner}.{name}"
        case Op(op="getitem", args=(of, Const(value=index))):
            inner = setting(of)
            return None if inner is None else f"{inner}[{index!r}]"
    return None


@dataclass
class Evaluator:
    """Evaluates terms over one model. `roots` are the names that a script has for it; `settings` the values of its
    settings, by their text ("args.tied"), as far as they are known."""

    tree: Tree
    roots: frozenset[str]
    settings: Mapping[str, Value] = field(default_factory=dict)
    _sets: dict[int, tuple[Member, _Collected]] = field(default_factory=dict)

    def value(self, term: Term, bound: Bindings | None = None) -> Value:
        """The value of a term with its variables bound, UNKNOWN where it cannot be told, or where it would fail."""
        bound = bound or {}
        match term:
            case Const(value=value):
                return value
            case Var(binder=binder, what=what):
                turn = bound.get(binder)
                return UNKNOWN if turn is None else turn.name if what == "name" else turn.value
            case Op(op=op, args=args):
                return self._operation(op, args, bound)
            case Attribute(of=of, name=name):
                found = self._attribute(self.value(of, bound), name)
                return self._setting(term) if found is UNKNOWN else found
            case Member():
                return self._member(term, bound)
            case Root(name=name):
                return self._root(name)
            case Opaque():
                return self._setting(term)
        return UNKNOWN

    def truth(self, term: Term, bound: Bindings | None = None) -> bool | Unknown:
        """Whether a condition holds."""
        return truth(self.value(term, bound))

    def _setting(self, term: Term) -> Value:
        text = setting(term)
        if text is None:
            return UNKNOWN
        if text in self.settings:
            return self.settings[text]
        if _FAILURE.fullmatch(text):
            return False
        return _DTYPES.get(text, text) if _DTYPE.fullmatch(text) else UNKNOWN

    # Turns of loops

    def turns(self, binders: tuple[Binder, ...], bound: Bindings | None = None) -> Iterator[Bindings | Binder]:
        """Every way to bind these binders in order; a binder itself where what it goes over is not known."""
        if not binders:
            yield bound or {}
            return
        first, *rest = binders
        bound = bound or {}
        turns = self.over(first, bound)
        if turns is None:
            yield first
            return
        for turn in turns:
            yield from self.turns(tuple(rest), {**bound, first: turn})

    def over(self, binder: Binder, bound: Bindings) -> list[Turn] | None:
        """The turns of one binder; None where they are not known."""
        of = self.value(binder.of, bound)
        if isinstance(of, Node):
            if binder.kind == "parameter":
                return [Turn(n, p) for n, p in self.tree.named_parameters(of, binder.recurse)]
            if binder.kind == "module":
                return [Turn(n, m) for n, m in self.tree.named_modules(of)]
            if binder.kind == "child":
                return [Turn(n, m) for n, m in self.tree.named_children(of)]
            elements = self.tree.elements(of)
            return None if elements is None else [Turn(n, v) for n, v in elements]
        if isinstance(of, tuple) and binder.kind == "element":
            return [Turn(i, v) for i, v in enumerate(of)]
        return None

    # Which parameters what is not known may be

    def within(self, term: Term, bound: Bindings | None = None) -> frozenset[str]:
        """The names of all parameters that a term may stand for or hold: those of the innermost module in it that is
        known, all where there is none."""
        value = self.value(term, bound)
        if isinstance(value, Parameter):
            return frozenset((value.name,))
        if isinstance(value, Node):
            return self.tree.names(value)
        if isinstance(value, tuple):
            every = [self._held(v) for v in value]
            return frozenset().union(*every)
        if value is not UNKNOWN:
            return frozenset()
        match term:
            case Attribute(of=of) | Var(binder=Binder(of=of)) | Op(op="getitem", args=(of, _)):
                return self.within(of, bound)
            case Op(op="if", args=(_, then, otherwise)):
                return self.within(then, bound) | self.within(otherwise, bound)
            case Op(op="tuple" | "or" | "and", args=args):
                return frozenset().union(*(self.within(a, bound) for a in args))
        return self.tree.names()

    def _held(self, value: Value) -> frozenset[str]:
        if isinstance(value, Node):
            return self.tree.names(value)
        if isinstance(value, Parameter):
            return frozenset((value.name,))
        return self.tree.names() if value is UNKNOWN else frozenset()

    # Roots and attributes

    def _root(self, name: str) -> Value:
        if name in self.roots:
            return self.tree.root
        outer = next((root for root in self.roots if name.startswith(root + ".")), None)
        return UNKNOWN if outer is None else self.tree.at(name[len(outer) + 1 :])

    def _attribute(self, of: Value, name: str) -> Value:
        if isinstance(of, Node):
            return self.tree.attribute(of, name)
        if isinstance(of, Parameter):
            return _of_tensor(of, name)
        if isinstance(of, ClassOf) and name in ("__name__", "__qualname__"):
            return of.names[0].rpartition(".")[2]
        return UNKNOWN

    # Operations

    def _operation(self, op: str, args: tuple[Term, ...], bound: Bindings) -> Value:
        if op in ("and", "or"):
            return self._junction(op == "or", args, bound)
        if op == "not":
            holds = self.truth(args[0], bound)
            return UNKNOWN if holds is UNKNOWN else not holds
        if op == "if":
            return self._chosen(args, bound)
        values = [self.value(a, bound) for a in args]
        if op == "tuple":
            return tuple(values)
        if op == "isinstance":
            if values[0] is UNKNOWN and self._is_no_parameter(args[0], values[1], bound):
                return False
            return self._is_instance(*values)
        if op.startswith("attr:"):
            return self._attribute(values[0], op.removeprefix("attr:"))
        if op.startswith("method:") and isinstance(values[0], (Node, Parameter)):
            return self._method(op.removeprefix("method:"), values[0], values[1:])
        if op.startswith("call:"):
            return self._call(op.removeprefix("call:"), values)
        if values and isinstance(values[0], Node) and op == "getitem":
            return self.tree.item(values[0], values[1])
        if op == "in" and isinstance(values[1], Node):
            elements = self.tree.elements(values[1])
            known = elements is not None and isinstance(values[0], str)
            return values[0] in dict(elements or ()) if known else UNKNOWN
        found = operations.apply(op, values)
        return self._setting(Op(op, args)) if found is UNKNOWN and op == "getitem" else found

    def _junction(self, absorbing: bool, args: tuple[Term, ...], bound: Bindings) -> Value:
        """`or` where True absorbs, `and` where False does: the value that decides, as in Python."""
        doubtful, last = False, UNKNOWN
        value: Value = last
        for arg in args:
            value = self.value(arg, bound)
            holds = truth(value)
            if holds is UNKNOWN:
                doubtful = True
            elif holds is absorbing:
                return value if not doubtful or isinstance(value, bool) else UNKNOWN
        return UNKNOWN if doubtful else value

    def _chosen(self, args: tuple[Term, ...], bound: Bindings) -> Value:
        condition, then, otherwise = args
        holds = self.truth(condition, bound)
        if holds is not UNKNOWN:
            return self.value(then if holds else otherwise, bound)
        one, other = self.value(then, bound), self.value(otherwise, bound)
        return one if key(one) is not UNKNOWN and key(one) == key(other) and type(one) is type(other) else UNKNOWN

    def _is_no_parameter(self, term: Term, name: Value, bound: Bindings) -> bool:
        """Whether a module has no parameter of this name: what it is instead is not known."""
        if not isinstance(term, Attribute) or not isinstance(name, str) or name.rpartition(".")[2] != "Parameter":
            return False
        return isinstance(self.value(term.of, bound), Node)

    def _is_instance(self, of: Value, name: Value) -> Value:
        if not isinstance(name, str) or of is UNKNOWN:
            return UNKNOWN
        if isinstance(of, Node):
            return self.tree.is_instance(of, name)
        last = name.rpartition(".")[2]
        if isinstance(of, Parameter):
            return True if last in _TENSORS else UNKNOWN
        plain = _BUILTINS.get(name.removeprefix("builtins."))
        return isinstance(of, plain) if plain else UNKNOWN

    def _method(self, name: str, of: Node | Parameter, args: list[Value]) -> Value:
        if isinstance(of, Parameter):
            return _tensor_method(of, name, args)
        tree = self.tree
        walks: dict[str, Callable[[], Value]] = {
            "parameters": lambda: tuple(p for _, p in tree.named_parameters(of)),
            "named_parameters": lambda: tree.named_parameters(of),
            "modules": lambda: tuple(m for _, m in tree.named_modules(of)),
            "named_modules": lambda: tuple(tree.named_modules(of)),
            "children": lambda: tuple(m for _, m in tree.named_children(of)),
            "named_children": lambda: tuple(tree.named_children(of)),
            "get_input_embeddings": lambda: self._only(of, tree.inventory.accessors.input_embeddings),
            "get_output_embeddings": lambda: self._only(of, tree.inventory.accessors.output_embeddings),
        }
        if name in walks and not args:
            return walks[name]()
        if name in ("get_submodule", "get_parameter") and len(args) == 1 and isinstance(args[0], str):
            return tree.below(of, args[0])
        return UNKNOWN

    def _only(self, of: Node, paths: tuple[str, ...]) -> Value:
        return self.tree.at(paths[0]) if of == self.tree.root and len(paths) == 1 else UNKNOWN

    def _call(self, name: str, values: list[Value]) -> Value:
        first = values[0] if values else UNKNOWN
        if name == "id" and len(values) == 1:
            return Identity(key(first)) if isinstance(first, (Node, Parameter)) else UNKNOWN
        if name == "type" and isinstance(first, Node):
            return self.tree.class_of(first)
        if name in ("any", "all") and isinstance(first, tuple):
            return _every(first, name == "any")
        if name in ("getattr", "hasattr") and len(values) >= 2 and isinstance(values[1], str):
            return self._looked_up(name, first, values[1], values[2:])
        if name == "len" and isinstance(first, tuple):
            return len(first)
        if isinstance(first, Node) and name in ("len", "list", "tuple"):
            elements = self.tree.elements(first)
            if elements is None:
                return UNKNOWN
            return len(elements) if name == "len" else tuple(v for _, v in elements)
        if isinstance(first, Parameter) and name in ("torch.is_floating_point", "torch.numel"):
            return _tensor_method(first, name.removeprefix("torch."), values[1:])
        return operations.apply(f"call:{name}", values)

    def _looked_up(self, call: str, of: Value, name: str, default: list[Value]) -> Value:
        found = self._attribute(of, name)
        there = self.tree.has(of, name) if isinstance(of, Node) else UNKNOWN if found is UNKNOWN else True
        if call == "hasattr":
            return there
        return default[0] if there is False and default else found

    # Membership

    def _member(self, term: Member, bound: Bindings) -> Value:
        of = self.value(term.of, bound)
        collected = self._collected(term, bound)
        wanted = key(of)
        if wanted is UNKNOWN:
            return UNKNOWN if collected.known or collected.may_be or collected.open else False
        if wanted in collected.known:
            return True
        if collected.open or wanted in collected.doubtful:
            return UNKNOWN
        about = of.of if isinstance(of, Identity) else wanted
        if isinstance(about, tuple) and about[0] == "parameter":
            return UNKNOWN if about[1] in collected.may_be else False
        return UNKNOWN if collected.may_be else False

    def _collected(self, term: Member, bound: Bindings) -> _Collected:
        """What the items hold. Where they depend on no variable from outside, they are read once."""
        kept = self._sets.get(id(term))
        if kept is not None:
            return kept[1]
        found = _Collected()
        for item in term.items:
            self._collect(item, bound, found)
        if not terms.binders(Member(Const(None), term.items)):
            self._sets[id(term)] = term, found  # kept with the term, so that its id stays its own
        return found

    def _collect(self, item: Item, bound: Bindings, found: _Collected) -> None:
        for turn in self.turns(item.binders, bound):
            if isinstance(turn, Binder):
                found.may_be |= self.within(turn.of, bound)
                found.open = True
                continue
            holds = self.truth(item.when, turn)
            if holds is False:
                continue
            value = self.value(item.value, turn)
            held = key(value)
            if held is UNKNOWN:
                inner = item.value
                if isinstance(inner, Op) and inner.op == "call:id":
                    found.may_be |= self.within(inner.args[0], turn)
                else:
                    found.open = True
            elif holds is UNKNOWN:
                found.doubtful.add(held)
            else:
                found.known.add(held)


@dataclass
class _Collected:
    """The keys of what a collection holds: for certain, perhaps, the parameters whose identity may be in it, and
    whether anything may."""

    known: set[object] = field(default_factory=set)
    doubtful: set[object] = field(default_factory=set)
    may_be: frozenset[str] = frozenset()
    open: bool = False


def _every(values: tuple[Value, ...], absorbing: bool) -> Value:
    """`any` where True absorbs, `all` where False does."""
    held = [truth(v) for v in values]
    if absorbing in held:
        return absorbing
    return UNKNOWN if UNKNOWN in held else not absorbing


def _of_tensor(p: Parameter, name: str) -> Value:
    """An attribute of a parameter. The shape of one that is lazy, or taken apart by sharding, is another one where the
    groups are made."""
    if name in ("ndim", "shape"):
        shaped = p.state in ("ok", "quantized")
        return UNKNOWN if not shaped else p.ndim if name == "ndim" else p.shape
    known: dict[str, Value] = {"requires_grad": p.trainable, "dtype": f"torch.{p.dtype}", "is_leaf": True}
    if name == "use_muon" and p.use_muon is not None:
        return p.use_muon
    return known.get(name, UNKNOWN)


def _tensor_method(p: Parameter, name: str, args: list[Value]) -> Value:
    shape = _of_tensor(p, "shape")
    if name == "is_floating_point" and not args:
        return p.dtype.startswith(_FLOATING)
    if not isinstance(shape, tuple):
        return UNKNOWN
    if name in ("dim", "ndimension") and not args:
        return len(shape)
    if name in ("numel", "nelement") and not args:
        return p.numel
    if name == "data_ptr" and not args:
        return Identity(key(p))
    if name == "size" and len(args) <= 1:
        return operations.apply("getitem", [shape, *args]) if args else shape
    return UNKNOWN
