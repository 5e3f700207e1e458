"""A short list of rules that gives every parameter its label: tensor identity, dimensions, module types, a few names.

Tests by what a module is come first in the making, and last in the list: what they would get wrong is told by name
before them. No rule looks at the size of a dimension, so that the list holds for models of other widths, and a number
in a name is left open wherever the model's own numbers make no difference, so that it holds for other depths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from paramlint.codegen.styles.patterns import Case, Named, cover, mark, spelling
from paramlint.parameter import Inventory, Module, Parameter, Site

_EMBEDDINGS = ("Embedding", "EmbeddingBag")
_CONVOLUTIONS = tuple(f"Conv{kind}{n}d" for kind in ("", "Transpose") for n in (1, 2, 3))
_NORMS = (
    "LayerNorm", "RMSNorm", "GroupNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm",
    "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
)  # fmt: skip
_RECURRENT = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
#: Classes of `torch.nn` that own parameters. Others are not named in generated code.
_OWNERS = frozenset(
    (*_EMBEDDINGS, *_CONVOLUTIONS, *_NORMS, *_RECURRENT, "Linear", "Bilinear", "MultiheadAttention", "PReLU")
)

_LISTS = frozenset(f"torch.nn.modules.container.{name}List" for name in ("Module", "Parameter"))


@dataclass(frozen=True)
class Rule:
    """What `test` holds for has `label`. `classes` are of `torch.nn`.

    embedding: the tensor belongs to a module of these classes, wherever it was found; vector: fewer than two
    dimensions; thin: fewer than two that are longer than one; depthwise: a convolution of these classes with a filter
    for each channel; class: the owner is of these classes.
    """

    test: str
    label: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rules:
    """Names decide first, then the rules in their order. `mark` is what stands for a number in the names."""

    names: tuple[Named, ...]
    rules: tuple[Rule, ...]
    mark: str = "*"

    @property
    def labels(self) -> frozenset[str]:
        """All labels that may come out."""
        return frozenset(n.label for n in self.names) | frozenset(r.label for r in self.rules)


@dataclass(frozen=True)
class _Fact:
    """One name of a parameter, and what a test sees there. An alias is seen as it would be if it were not tied."""

    case: Case
    spelling: str
    classes: tuple[str, ...]
    embedded: bool
    ndim: int
    effective_ndim: int
    depthwise: bool
    numel: int


def decide(inventory: Inventory, labels: Mapping[str, str]) -> Rules:
    """Rules under which every parameter has its label, as few as are found.

    A type gets a rule where that spares two names, and the label that leaves the fewest exceptions.
    """
    facts = _facts(inventory, labels)
    lists = {m.path for m in inventory.modules if not _LISTS.isdisjoint(m.classes)}
    number = mark(f.case.name for f in facts)
    best: Rules | None = None
    for thin in (False, True):
        for depthwise in (False, True):
            rules = _made(facts, thin=thin, depthwise=depthwise)
            found = Rules(tuple(cover([_case(f, rules) for f in facts], lists, number)), rules, number)
            # the plainer test stays unless the other one spares two names
            if best is None or len(found.names) < len(best.names) - 1:
                best = found
    assert best is not None
    return best


def _case(fact: _Fact, rules: Iterable[Rule]) -> Case:
    for rule in rules:
        if _holds(rule, fact):
            return fact.case.falling(rule.label)
    return fact.case


def _holds(rule: Rule, fact: _Fact) -> bool:
    if rule.test == "embedding":
        return fact.embedded
    if rule.test == "vector":
        return fact.ndim < 2
    if rule.test == "thin":
        return fact.effective_ndim < 2
    if rule.test == "depthwise" and not fact.depthwise:
        return False
    return not set(rule.classes).isdisjoint(fact.classes)


def _made(facts: Sequence[_Fact], *, thin: bool, depthwise: bool) -> tuple[Rule, ...]:
    present = dict.fromkeys(c for f in facts for c in f.classes)
    rules: list[Rule] = []
    rules += _rule(facts, rules, "embedding", [c for c in present if c in _EMBEDDINGS], spare=0)
    rules += _rule(facts, rules, "thin" if thin else "vector", spare=1)
    if depthwise:
        used = {c for f in facts if f.depthwise for c in f.classes}
        rules += _rule(facts, rules, "depthwise", [c for c in present if c in used], spare=0)
    tensor = len(rules)
    # a type that spares a single name may join those of a rule that is there anyway
    for spare in (2, 1):
        for name in present:
            if not any(name in r.classes for r in rules[tensor:]):
                new = _rule(facts, rules, "class", [name], spare=spare)
                rules += [r for r in new if spare == 2 or r.label in {known.label for known in rules[tensor:]}]
    together: dict[str, tuple[str, ...]] = {}
    for r in rules[tensor:]:
        together[r.label] = (*together.get(r.label, ()), *r.classes)
    return (*rules[:tensor], *(Rule("class", label, classes) for label, classes in together.items()))


def _rule(
    facts: Sequence[_Fact], rules: Sequence[Rule], test: str, classes: Iterable[str] = (), *, spare: int
) -> list[Rule]:
    """The test with the label that leaves the fewest exceptions; of equal ones, that of most parameters, then of most
    elements. Nothing where it spares fewer names than that, or holds for nothing that is left.
    """
    shape = Rule(test, "", tuple(classes))
    members = [f for f in facts if _holds(shape, f) and not any(_holds(r, f) for r in rules)]
    if not members:
        return []
    spellings = {f.spelling for f in members}
    around = [f for f in facts if f.spelling in spellings]
    counts = Counter(f.case.label for f in members)
    elements: Counter[str] = Counter()
    for f in members:
        elements[f.case.label] += f.numel
    costs = {label: _cost(around, (*rules, replace(shape, label=label))) for label in counts}
    label = min(costs, key=lambda one: (costs[one], -counts[one], -elements[one]))
    return [replace(shape, label=label)] if _cost(around, rules) - costs[label] >= spare else []


def _cost(facts: Iterable[_Fact], rules: Sequence[Rule]) -> int:
    return len(cover([_case(f, rules) for f in facts]))


def _facts(inventory: Inventory, labels: Mapping[str, str]) -> list[_Fact]:
    modules = {m.path: m for m in inventory.modules}
    return [_fact(p, site, modules, labels[p.name]) for p in inventory.parameters for site in p.sites]


def _fact(p: Parameter, site: Site, modules: Mapping[str, Module], label: str) -> _Fact:
    own = site.name == p.name
    sites = p.sites if own else (site,)
    classes = _public(modules.get(site.module))
    return _Fact(
        Case(site.name, label, why=p.role.replace("-", " ") if own else f"tied to {p.name}"),
        spelling(site.name),
        classes,
        any(c in _EMBEDDINGS for s in sites for c in _public(modules.get(s.module))),
        p.ndim,
        p.effective_ndim,
        classes[:1] != () and classes[0] in _CONVOLUTIONS and _is_depthwise(modules[site.module]),
        p.numel,
    )


def _is_depthwise(module: Module) -> bool:
    groups = module.sizes.get("groups", 1)
    return groups != 1 and groups == module.sizes.get("in_channels")


def _public(module: Module | None) -> tuple[str, ...]:
    """The classes of `torch.nn` that a module is of, nearest first."""
    found = (name.rpartition(".") for name in (module.classes if module else ()))
    return tuple(name for package, _, name in found if package.startswith("torch.nn.modules.") and name in _OWNERS)
