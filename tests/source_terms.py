"""Terms as a reader of scripts makes them, and what becomes of them over the example models."""

from __future__ import annotations

from functools import cache
from itertools import count

import torch

import paramlint
from examples import gpt, moe, vit
from paramlint import checks, knowledge
from paramlint.finding import Finding
from paramlint.group import Proposal
from paramlint.parameter import Inventory
from paramlint.source.evaluate import Evaluator
from paramlint.source.proposed import proposals
from paramlint.source.script import Build, Construction, OptimizerClass, SymbolicGroup
from paramlint.source.terms import (
    TRUE,
    Attribute,
    Binder,
    Const,
    Item,
    Op,
    Opaque,
    Root,
    Span,
    Term,
    Var,
    either,
    negated,
)
from paramlint.source.tree import Tree

KNOWN = knowledge.load()
MODEL = Root("model")
MUON = OptimizerClass("torch.optim.Muon", "torch-muon", kind="muon")
ADAMW = OptimizerClass("torch.optim.AdamW", "adamw", kind="adam")
KELLER = OptimizerClass("muon.SingleDeviceMuonWithAuxAdam", "keller", kind="routed")
HERE = Span("train.py", 1, 1, 1, 2)
_numbers = count(1)


@cache
def inventory(name: str) -> Inventory:
    with torch.device("meta"):
        model = {
            "gpt": lambda: gpt.build(n_layer=2, n_embd=64, vocab_size=500, block_size=16),
            "moe": lambda: moe.build(depth=2, dim=64, hidden=96, vocab_size=500),
            "vit": lambda: vit.build(img_size=32, depth=2, num_classes=10),
        }[name]()
    return paramlint.inspect(model)


# Terms, as a reader of scripts makes them


def each(of: Term = MODEL, kind: str = "parameter", recurse: bool = True) -> Binder:
    return Binder(next(_numbers), kind, of, recurse)


def path(text: str) -> Term:
    root, *names = text.split(".")
    term: Term = Root(root)
    for name in names:
        term = Op("getitem", (term, Const(int(name)))) if name.lstrip("-").isdigit() else Attribute(term, name)
    return term


def name_of(b: Binder) -> Term:
    return Var(b, "name")


def value_of(b: Binder) -> Term:
    return Var(b, "value")


def ndim(b: Binder) -> Term:
    return Op("attr:ndim", (value_of(b),))


def has(needle: str, b: Binder) -> Term:
    return Op("in", (Const(needle), name_of(b)))


def names(b: Binder, *needles: str) -> Term:
    return either(*(has(n, b) for n in needles))


def matrix(b: Binder) -> Term:
    return negated(Op("<", (ndim(b), Const(2))))


def id_of(term: Term) -> Term:
    return Op("call:id", (term,))


def is_a(b: Binder, name: str) -> Term:
    return Op("isinstance", (value_of(b), Const(name)))


def parameters(when: object = None, of: Term = MODEL) -> Item:
    """All parameters for which a condition holds; it is given their binder."""
    b = each(of)
    return Item(value_of(b), (b,), when(b) if callable(when) else TRUE)


def group(*items: Item, **options: object) -> SymbolicGroup:
    return SymbolicGroup(items, {k: v if isinstance(v, Term) else Const(v) for k, v in options.items()})


def makes(made: OptimizerClass | None, *groups: SymbolicGroup, when: Term = TRUE, **options: Term) -> Construction:
    return Construction(made, groups, HERE, options, when)


def build(*constructions: Construction) -> Build:
    return Build(constructions, HERE, "configure")


def only(b: Build, model: str | Inventory, **more: object) -> Proposal:
    known = inventory(model) if isinstance(model, str) else model
    (proposal,) = proposals(b, known, KNOWN, **more)
    return proposal


def members(proposal: Proposal) -> list[list[str]]:
    return [[m.name for m in g.members] for use in proposal.optimizers for g in use.groups]


def findings(b: Build, model: str | Inventory, **more: object) -> list[Finding]:
    known = inventory(model) if isinstance(model, str) else model
    return list(checks.run(known, only(b, known, **more), KNOWN))


def codes(b: Build, model: str | Inventory, **more: object) -> list[str]:
    return [f.code for f in findings(b, model, **more)]


def evaluator(model: str = "gpt", **settings: object) -> Evaluator:
    return Evaluator(Tree(inventory(model)), frozenset(("model",)), settings)


def op(sign: str, *args: object) -> Op:
    return Op(sign, tuple(a if isinstance(a, Term) else Const(a) for a in args))


UNREAD = Opaque("args.unread")
