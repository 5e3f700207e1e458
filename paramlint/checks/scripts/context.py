"""What the rules on scripts look at: one file, and each way in which it makes optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from functools import cached_property

from paramlint.finding import Finding, Fix, Severity
from paramlint.group import Proposal
from paramlint.knowledge import Knowledge
from paramlint.parameter import Destination, Inventory, Location
from paramlint.profile import Profile
from paramlint.record import dataclass
from paramlint.registry import by_code
from paramlint.source.interpreter.entries import Read
from paramlint.source.interpreter.project import File
from paramlint.source.prove import Verdict, branches, partition, possible
from paramlint.source.script import Construction, SymbolicGroup
from paramlint.source.terms import TRUE, Const, Span, Term, both, negated, size

#: Conditions longer than this, in terms, are not taken apart.
_LONG = 400
#: Keys by which groups say what they are for, where no profile tells.
_FLAGS = ("algorithm", "algo", "kind", "optim", "optimizer", "opt", "type", "method", "group_type")
_MUON_FLAGS = ("use_muon", "is_muon")
_ADAM_FLAGS = ("use_adam", "use_adamw", "force_adam", "force_adamw", "use_fallback")


@dataclass(frozen=True)
class Way:
    """Optimizers that are made together. `full` where nothing optional is left away: see `prove.branches`. `every` are
    all that are made for any settings."""

    constructions: tuple[Construction, ...]
    when: Term = TRUE
    full: bool = True
    every: tuple[Construction, ...] = ()

    @property
    def groups(self) -> tuple[SymbolicGroup, ...]:
        return _groups(self.constructions)

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        return partition(self.groups, self.when, _groups(self.every))


@dataclass(frozen=True)
class ScriptContext:
    """One file. `reads` are the entries of it that make optimizers or groups."""

    file: File
    reads: tuple[Read, ...]
    known: Knowledge
    inventory: Inventory | None = None
    _ways: dict[int, tuple[Way, ...]] = field(default_factory=dict)
    _proposals: dict[int, tuple[Proposal, ...]] = field(default_factory=dict)

    def ways(self, read: Read) -> tuple[Way, ...]:
        """The sets of optimizers that an entry may make, by the script's settings."""
        if id(read) not in self._ways:
            self._ways[id(read)] = tuple(_ways(read))
        return self._ways[id(read)]

    def proposals(self, read: Read) -> tuple[Proposal, ...]:
        """The groups of an entry over the model that is known; none without one."""
        if self.inventory is None:
            return ()
        if id(read) not in self._proposals:
            from paramlint.source.proposed import proposals

            texts = {self.file.path: self.file.text}
            self._proposals[id(read)] = proposals(read.build, self.inventory, self.known, sources=texts)
        return self._proposals[id(read)]

    @property
    def unknown(self) -> Iterator[Read]:
        """The entries whose groups are not known parameter by parameter: of these, source alone has to tell."""
        return (read for read in self.reads if not self._is_known(read))

    def _is_known(self, read: Read) -> bool:
        made = self.proposals(read)
        if not made:
            return False
        from paramlint.source.proposed import SCENARIOS

        # Where there are as many as are looked at, there may be others.
        return len(made) < SCENARIOS and not any(p.unread for p in made)

    def profile(self, c: Construction) -> Profile | None:
        return self.known.profiles.get(c.made.profile) if c.made is not None and c.made.profile else None

    def half(self, c: Construction, g: SymbolicGroup) -> Destination | None:
        """Who updates a group, as far as the source tells."""
        if g.half is not None:
            return g.half
        if c.made is None:
            return _flag(g, None)
        if c.made.kind == "muon" and c.made.profile is None and (flag := _flag(g, None)) is not None:
            return flag  # the class was not read: its groups know better
        if c.made.kind == "adam" or (c.made.kind == "muon" and c.made.is_muon):
            return "muon" if c.made.kind == "muon" else "adam"
        return _flag(g, self.profile(c))

    def muon(self) -> Iterator[tuple[Construction, SymbolicGroup]]:
        """Every Muon group of the file."""
        for read in self.reads:
            for c in read.build.constructions:
                for g in c.groups:
                    if self.half(c, g) == "muon":
                        yield c, g

    def finding(
        self,
        code: str,
        span: Span | None,
        message: str,
        help: str,
        *,
        severity: Severity | None = None,
        details: Iterable[str] = (),
        fix: Fix | None = None,
        label: str = "",
    ) -> Finding:
        at = Location(span.path, span.line, span.column, label) if span else Location(self.file.path, 1)
        return Finding(
            code, severity or by_code()[code].severity, message, help, location=at, details=tuple(details), fix=fix
        )

    def here(self, span: Span | None) -> bool:
        """Whether a place is in this file: what is wrong in another one is said there."""
        return span is None or span.path == self.file.path


def _groups(constructions: Iterable[Construction]) -> tuple[SymbolicGroup, ...]:
    """The groups of optimizers, each with the condition under which it is given."""
    return tuple(replace(g, when=both(g.when, c.when)) for c in constructions for g in c.groups)


#: Of more alternatives than this, each is taken by itself.
_ALTERNATIVES = 6


def _ways(read: Read) -> Iterator[Way]:
    made = _last(c for c in read.build.constructions if c.groups or c.unread)
    conditions = list(dict.fromkeys(c.when for c in made if c.when != TRUE))
    if len(conditions) > _ALTERNATIVES or any(size(c) > _LONG for c in conditions):
        for condition in conditions:
            yield Way(tuple(c for c in made if c.when in (TRUE, condition)), condition, every=tuple(made))
        return
    for way in branches(c.when for c in made):
        together = tuple(c for c in made if _holds(c.when, way.when))
        if together:
            yield Way(together, way.when, way.full, tuple(made))


def _last(constructions: Iterable[Construction]) -> list[Construction]:
    """Without those that a later one takes the place of: made at the same place again, or kept in the same variable."""
    kept: list[Construction] = []
    for c in constructions:
        kept = [k for k in kept if not (_same_place(k, c) or (c.name and k.name == c.name and k.when == c.when))]
        kept.append(c)
    return kept


def _same_place(one: Construction, other: Construction) -> bool:
    if one.made is None or other.made is None or one.span != other.span:
        return False
    return one.made == other.made or (one.made.kind == "unknown" and one.made.profile is None)


def _holds(condition: Term, way: Term) -> bool:
    return condition == TRUE or not possible(both(way, negated(condition)))


def _flag(g: SymbolicGroup, profile: Profile | None) -> Destination | None:
    keys = (profile.flag_key,) if profile is not None and profile.flag_key else (*_MUON_FLAGS, *_ADAM_FLAGS, *_FLAGS)
    for key in keys:
        value = g.options.get(key)
        if not isinstance(value, Const):
            continue
        if profile is not None and profile.flag_key == key:
            if value.value in profile.flag_muon:
                return "muon"
            if value.value in profile.flag_adam:
                return "adam"
        if isinstance(value.value, bool) and key in _MUON_FLAGS:
            return "muon" if value.value else "adam"
        if value.value is True and key in _ADAM_FLAGS:
            return "adam"
        if isinstance(value.value, str):
            text = value.value.lower()
            if "muon" in text:
                return "adam" if "adam" in text or "non" in text else "muon"
            if "adam" in text or "sgd" in text or "lion" in text:
                return "adam"
    return None
