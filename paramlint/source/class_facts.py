"""Which classes of a file are optimizers, and facts about them, by `ast` alone."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cached_property

from paramlint.knowledge import Knowledge
from paramlint.record import dataclass
from paramlint.source.class_kind import group_keys, kind_of
from paramlint.source.class_profile import profile_like
from paramlint.source.imports import Imports, dotted
from paramlint.source.reaching import is_grad, methods, reached
from paramlint.source.script import OptimizerClass
from paramlint.source.statements import every, statements

#: The optimizers of torch.optim: https://docs.pytorch.org/docs/stable/optim.html#algorithms
TORCH = (
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS", "Muon", "NAdam", "RAdam"),
    *("RMSprop", "Rprop", "SGD", "SparseAdam"),
)
BARE = "torch.optim.Optimizer"
_PLAIN_BASES = frozenset({"object", "ABC", "Generic", "Protocol", "Stateful"})


@dataclass(frozen=True)
class InitCall:
    """A call of a base class's `__init__`: what it is given as params and as defaults, None where that is not seen."""

    call: ast.Call
    params: ast.expr | None
    defaults: ast.expr | None


@dataclass(frozen=True, eq=False)
class OptimizerFacts:
    """A class that derives from `torch.optim.Optimizer`.

    `lineage` is the class and those of its bases that are in the same file, in the order of look-up. `base` is the
    qualified name of the optimizer outside the file that it comes from, `torch.optim.Optimizer` where it is no other.
    `foreign` says that it has other bases from outside, which may have any method. `functions` are those at the top of
    the file.
    """

    node: ast.ClassDef
    lineage: tuple[ast.ClassDef, ...]
    base: str
    foreign: bool
    functions: Mapping[str, ast.FunctionDef]
    imports: Imports

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def bare(self) -> bool:
        """Whether nothing but `torch.optim.Optimizer` itself lies outside the file."""
        return self.base == BARE

    @cached_property
    def own(self) -> Mapping[str, ast.FunctionDef]:
        """The methods that the class itself defines, by name."""
        return methods(self.node)

    @cached_property
    def methods(self) -> Mapping[str, ast.FunctionDef]:
        """The methods of the class and of its bases in the file, the first in the order of look-up."""
        found: dict[str, ast.FunctionDef] = {}
        for node in self.lineage:
            for name, method in methods(node).items():
                found.setdefault(name, method)
        return found

    @cached_property
    def names(self) -> frozenset[str]:
        """What the class or a base of it in the file defines: methods, class attributes, and what is set on `self`."""
        found = set(self.methods)
        for node in self.lineage:
            for n in every(node):
                match n:
                    case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                        found.add(name)
                    case ast.ClassDef(body=body):
                        targets = [t for s in body if isinstance(s, ast.Assign) for t in s.targets]
                        found |= {t.id for t in targets if isinstance(t, ast.Name)}
        return frozenset(found)

    @cached_property
    def step(self) -> ast.FunctionDef | None:
        """The step that the class itself defines, unless it is there to be overridden."""
        step = self.own.get("step")
        return None if step is None or _abstract(step) else step

    @property
    def steps(self) -> bool:
        """Whether it has a step, its own or one of a base in the file, that is not there to be overridden."""
        step = self.methods.get("step")
        return step is not None and not _abstract(step)

    @cached_property
    def reached(self) -> tuple[ast.FunctionDef, ...]:
        """The class's own step, then the methods and the functions of the file that it calls, directly or not."""
        return () if self.step is None else reached(self.step, self.methods, self.functions)

    @cached_property
    def init_calls(self) -> tuple[InitCall, ...]:
        """The calls of a base's `__init__`, in whichever of its methods."""
        calls = (n for m in self.own.values() for n in every(m) if isinstance(n, ast.Call))
        return tuple(made for n in calls if (made := _init_call(n)) is not None)

    @cached_property
    def inits_torch(self) -> bool:
        """Whether what `init_calls` call is `torch.optim.Optimizer.__init__`, with nothing of the file in between."""
        return self.bare and not any("__init__" in methods(c) for c in self.lineage[1:])

    @cached_property
    def delegates(self) -> bool:
        """Whether its step calls the step of another optimizer."""
        return any(_inner_step(n) for f in self.reached for n in every(f))

    @cached_property
    def wrapper(self) -> bool:
        """Whether it leaves the gradients to other optimizers: it calls their step, and looks at no gradient itself."""
        return self.delegates and not any(is_grad(n) for f in self.reached for n in every(f))

    @cached_property
    def closure(self) -> ast.arg | None:
        """The argument by which its step takes a closure: of that name, or the first, where it is called."""
        if self.step is None:
            return None
        arguments = [*self.step.args.posonlyargs, *self.step.args.args][1:] + self.step.args.kwonlyargs
        named = next((a for a in arguments if a.arg == "closure"), None)
        called = {n.func.id for n in every(self.step) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        return named or next((a for a in arguments[:1] if a.arg in called), None)


def optimizers(tree: ast.Module, imports: Imports, known: Knowledge) -> tuple[OptimizerFacts, ...]:
    """The optimizer classes of a file, in the order of its lines; by what they derive from, not by their names."""
    names = qualified_names(known)
    if not imports.from_packages({n.partition(".")[0] for n in names}):
        return ()
    nodes = [n for n in statements(tree) if isinstance(n, ast.ClassDef)]
    classes = {n.name: n for n in nodes}
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    found = []
    for node in nodes:
        lineage, base, foreign = ancestry(node, classes, imports, names)
        if base is not None:
            found.append(OptimizerFacts(node, lineage, base, foreign, functions, imports))
    return tuple(found)


def qualified_names(known: Knowledge) -> dict[str, str]:
    """The qualified names of all optimizers that are known, and the name that each goes by."""
    names = {n: n for p in known.profiles.values() for n in (*p.imports, *p.classes)}
    for name in TORCH:
        names |= dict.fromkeys((f"torch.optim.{name}", f"torch.optim.{name.lower()}.{name}"), f"torch.optim.{name}")
    return names | {BARE: BARE, "torch.optim.optimizer.Optimizer": BARE}


def ancestry(
    node: ast.ClassDef, classes: Mapping[str, ast.ClassDef], imports: Imports, names: Mapping[str, str]
) -> tuple[tuple[ast.ClassDef, ...], str | None, bool]:
    """A class and its bases in the file; the optimizer outside that it derives from; whether it has other bases."""
    lineage: list[ast.ClassDef] = []
    outside: list[str] = []
    foreign = False
    stack: list[ast.expr | ast.ClassDef] = [node]
    while stack:
        one = stack.pop(0)
        if isinstance(one, ast.ClassDef):
            if one not in lineage:
                lineage.append(one)
                stack = [*one.bases, *stack]
            continue
        base = one.value if isinstance(one, ast.Subscript) else one
        here = classes.get(base.id) if isinstance(base, ast.Name) else None
        known = [names[n] for n in imports.qualified(base) if n in names]
        if known:
            outside += known[:1]
        elif here is not None:
            stack.insert(0, here)
        elif (dotted(base) or "?").rpartition(".")[2] not in _PLAIN_BASES:
            foreign = True
    named = next((n for n in outside if n != BARE), None)
    return tuple(lineage), named or next(iter(outside), None), foreign


def _init_call(node: ast.Call) -> InitCall | None:
    match node.func:
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr="__init__"):
            return None
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__"):
            arguments = node.args
        case ast.Attribute(value=ast.Name() | ast.Attribute(), attr="__init__"):
            arguments = node.args[1:]
        case _:
            return None
    if any(isinstance(a, ast.Starred) for a in arguments):
        return InitCall(node, None, None)
    named = {k.arg: k.value for k in node.keywords}
    given = dict(zip(("params", "defaults"), arguments, strict=False))
    return InitCall(node, given.get("params", named.get("params")), given.get("defaults", named.get("defaults")))


def _inner_step(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr="step")):
            return False
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="step")):
            return False
        case ast.Call(func=ast.Attribute(value=of, attr="step")):
            text = ast.unparse(of).lower()
            return not any(word in text for word in ("sched", "prof", "timer", "progress"))
    return False


def _abstract(function: ast.FunctionDef) -> bool:
    def empty(statement: ast.stmt) -> bool:
        return isinstance(statement, (ast.Pass, ast.Raise)) or (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        )

    marked = any((dotted(d) or "").endswith("abstractmethod") for d in function.decorator_list)
    return marked or all(empty(s) for s in function.body)


def optimizer_class(
    node: ast.ClassDef, imports: Imports, known: Knowledge, definitions: Mapping[str, ast.stmt]
) -> OptimizerClass:
    """What a class tells of itself, as the class of an optimizer that a script makes.

    `definitions` are the functions and classes of its file, by name. Its profile is assumed, unless it inherits its
    step from an optimizer that is known.
    """
    functions = {n: d for n, d in definitions.items() if isinstance(d, ast.FunctionDef)}
    classes = {n: d for n, d in definitions.items() if isinstance(d, ast.ClassDef)}
    lineage, base, foreign = ancestry(node, classes, imports, qualified_names(known))
    facts = OptimizerFacts(node, lineage, base or BARE, foreign, functions, imports)
    step = facts.methods.get("step")
    if step is None:
        return _inherited(facts, known)
    kind = kind_of(step, facts.methods, functions, imports)
    init = facts.methods.get("__init__")
    given = [a.arg for a in init.args.args[1:2]] if init is not None else []
    followed = [*reached(step, facts.methods, functions), *([init] if init is not None else [])]
    reads = group_keys(followed, next(iter(given), None)) if facts.bare and not foreign else None
    profile = profile_like(facts.name, kind, facts.methods, reads)
    if profile is None or profile not in known.profiles:
        return OptimizerClass(facts.name, kind=kind, reads=reads)
    if kind == "unknown" and known.profiles[profile].call_shape != "elementwise":
        kind = "routed"  # by its flag or its lists, whatever it does with either half
    return OptimizerClass(facts.name, profile, True, kind, reads)


def _inherited(facts: OptimizerFacts, known: Knowledge) -> OptimizerClass:
    profile = next((p for p in known.profiles.values() if facts.base in (*p.imports, *p.classes)), None)
    if profile is None:
        elementwise = not facts.bare and facts.base.startswith("torch.optim.")
        return OptimizerClass(facts.name, kind="adam" if elementwise else "unknown")
    if profile.family == "elementwise":
        return OptimizerClass(facts.name, profile.name, kind="adam")
    return OptimizerClass(facts.name, profile.name, kind="muon" if profile.call_shape == "two-optimizers" else "routed")
