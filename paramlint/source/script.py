"""What was read in a script: which optimizers it makes, and of what. Plain data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Literal

from paramlint.parameter import Destination
from paramlint.record import dataclass
from paramlint.source.terms import TRUE, Item, Span, Term

#: Keys by which groups say who updates them.
FLAGS = frozenset(
    {"use_muon", "is_muon", "algorithm", "algo", "kind", "optim", "optimizer", "opt", "type", "group_type"}
    | {"use_adam", "use_adamw", "force_adam", "force_adamw", "use_fallback"}
)

#: What classes of the family are called.
_FAMILY = ("muon", "dion", "scion", "orthog", "newton", "schulz", "spectral", "msign")


@dataclass(frozen=True)
class SymbolicGroup:
    """A param group, or many of one make.

    `items` have parameters as their values. With `key`, a term over the variables of the items, there is one group for
    each value that it takes: groups of one `family` with equal keys are one. `options` are terms, over the same
    variables where there is a key. `half` is set where the call says who gets the group. `unread` says what kept part
    of it from being read; then there may be more in the group than `items`. `when` is the condition on the script's
    settings under which the group is given. `unordered` is where a set gave the items their order;
    where they are `distinct`, each parameter is in the group once however often the script meets it.
    """

    items: tuple[Item, ...]
    options: Mapping[str, Term] = field(default_factory=dict)
    span: Span | None = None
    container: str = "list"
    half: Destination | None = None
    key: Term | None = None
    family: int | None = None
    when: Term = TRUE
    unread: tuple[str, ...] = ()
    unordered: Span | None = None
    distinct: bool = False


@dataclass(frozen=True)
class OptimizerClass:
    """The class of an optimizer, as far as the source tells.

    `name` is qualified where imports say so. `profile` is the profile it was recognised as, or the one whose calls look
    like its own, then `assumed`. `kind` says who updates what it is given: "muon" orthogonalises all of it, "adam" all
    elementwise, "routed" decides inside, "unknown" else. `reads` are the keys of groups that its own source reads, None
    where that was not seen. It `picks` where its source or what it is given shows that it may tell parameters apart by
    more than their shape.
    """

    name: str
    profile: str | None = None
    assumed: bool = False
    kind: Literal["muon", "adam", "routed", "unknown"] = "unknown"
    reads: frozenset[str] | None = None
    picks: bool = False

    @property
    def is_muon(self) -> bool:
        """Whether it belongs to the family by its profile or its name: others orthogonalise too, by other rules."""
        return (self.profile is not None and not self.assumed) or any(word in self.name.lower() for word in _FAMILY)

    def by_shape(self, options: Collection[str]) -> bool:
        """Whether a group with these keys is divided by shape alone: nothing that the class reads, and no key, says who
        updates it. A Muon that cannot be read is taken for one."""
        if self.picks or (self.profile and not self.assumed):
            return False
        named = self.name.rpartition(".")[2].lower()
        muon = "muon" in named and (self.kind == "routed" or (self.kind == "unknown" and "adam" not in named))
        return muon and not FLAGS & {*(self.reads or ()), *options}


@dataclass(frozen=True)
class Construction:
    """One place where an optimizer is made, or groups that a function returns (`made` None).

    `options` are the other arguments of the call, by name. `when` is the condition on the script's settings under which
    the place is reached, `name` the variable that holds the result. `unread` says what kept the groups from being read.
    """

    made: OptimizerClass | None
    groups: tuple[SymbolicGroup, ...]
    span: Span
    options: Mapping[str, Term] = field(default_factory=dict)
    when: Term = TRUE
    name: str = ""
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuntimeCheck:
    """A check that the script makes itself: of sets of parameters, or of how many there are."""

    kind: Literal["sets", "counts"]
    span: Span


@dataclass(frozen=True)
class Build:
    """One way in which a script makes optimizers: all that one function makes, helpers followed.

    `checks` are its own. `entry` is the function's name, "" for the module itself.
    """

    constructions: tuple[Construction, ...]
    span: Span
    entry: str = ""
    checks: tuple[RuntimeCheck, ...] = ()


@dataclass(frozen=True)
class Needle:
    """A test of a parameter's name: `op` is "in", "==", "method:startswith" or "method:endswith", `within` the name or
    what is made of it, `when` the condition under which the test is done."""

    op: str
    text: str
    within: Term
    when: Term
    span: Span


@dataclass(frozen=True)
class Branch:
    """A test in an `if` or a comprehension that speaks of parameters: what it asks for, and under which condition it is
    reached. `body` says that something is done where it holds, other than to raise."""

    test: Term
    when: Term
    span: Span
    body: bool = True


@dataclass(frozen=True)
class Walks:
    """An iterator that is walked twice: its name, where it is made, and both walks. `when` is the condition on the
    script's settings under which both happen."""

    name: str
    made: Span | None
    first: Span | None
    second: Span | None
    when: Term = TRUE


@dataclass(frozen=True)
class Collected:
    """A list of parameters that has a name. `given` are the conditions under which it is handed on: to an optimizer, to
    another list, to a function that is not followed."""

    name: str
    items: tuple[Item, ...]
    span: Span
    when: Term = TRUE
    given: tuple[Term, ...] = ()
