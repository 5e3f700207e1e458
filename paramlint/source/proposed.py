"""The groups that a script makes, over the parameters of a known model: proposals like those of live optimizers.

What is not known never makes a finding. A parameter that may be in a group is named in `Proposal.unread`, an option
without a known value in `Group.unread`; and where settings decide, there is a proposal for each thing they lead to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from paramlint.group import Group, Member, OptimizerUse, Proposal
from paramlint.knowledge import Knowledge
from paramlint.parameter import Destination, Inventory, Location, Plain
from paramlint.profile import Profile
from paramlint.source.evaluate import Bindings, Evaluator
from paramlint.source.members import Held, Members, plain
from paramlint.source.rates import Rates
from paramlint.source.scenarios import Choice, Scenarios
from paramlint.source.script import Build, Construction, OptimizerClass, SymbolicGroup
from paramlint.source.terms import Span, Term
from paramlint.source.tree import Tree
from paramlint.source.values import UNKNOWN, Value
from paramlint.source.which_model import model_root, roots

#: How many different results of a script's settings are looked at.
SCENARIOS = 16
#: Keys by which a group says who updates it, whatever the optimizer.
FLAGS = ("use_muon", "use_fallback", "algorithm")
#: Containers that hold each tensor once.
_SETS = ("set", "frozenset", "dict")


def proposals(
    build: Build,
    inventory: Inventory,
    known: Knowledge,
    *,
    sources: Mapping[str, str] | None = None,
    settings: Mapping[str, Value] | None = None,
) -> tuple[Proposal, ...]:
    """What a script gives to its optimizers, of the parameters of a model.

    One proposal for each thing that the script's settings may lead to, at most 16; its notes say which settings it
    stands for. There is none where no optimizer is given anything of this model. Nothing is said of parameters that
    several optimizers have, where these have all the same.

    Args:
        sources: the texts of the script's files, by the paths of its spans; without, reasons have no source in them.
        settings: what is known of settings, by their text ("args.lr").
    """
    tree = Tree(inventory)
    root, others = model_root(build, tree)
    evaluator = Evaluator(tree, frozenset((root,) if root is not None else ()), settings or {})
    members = Members(evaluator, sources or {}, build.entry)
    scenarios = Scenarios(build, evaluator)
    found: list[tuple[Proposal, list[Choice]]] = []
    more = ""
    for scenario in scenarios.all:
        proposal = _Maker(members, known, frozenset(others)).proposal(scenario.build)
        same = next((choices for p, choices in found if p == proposal), None)
        if same is not None:
            same.extend(scenario.choices)
        elif proposal is not None and len(found) < SCENARIOS:
            found.append((proposal, list(scenario.choices)))
        elif proposal is not None:
            more = f"settings lead to more than {SCENARIOS} sets of groups; the others are not looked at"
    alone = len(found) == 1
    return tuple(
        replace(p, notes=tuple(note for note in ("" if alone else scenarios.note(choices), *p.notes, more) if note))
        for p, choices in found
    )


@dataclass
class _Draft:
    """A group that is being filled."""

    first: SymbolicGroup
    members: list[Member] = field(default_factory=list)
    options: dict[str, Plain] = field(default_factory=dict)
    unread: dict[str, None] = field(default_factory=dict)
    foreign: bool = False
    rate: tuple[float | None, bool] = (None, False)


@dataclass
class _Maker:
    """Makes one proposal. `others` are the names of models that are not the one known."""

    members: Members
    known: Knowledge
    others: frozenset[str]
    unread: set[str] = field(default_factory=set)
    foreign: dict[str, None] = field(default_factory=dict)

    @property
    def evaluator(self) -> Evaluator:
        return self.members.evaluator

    def proposal(self, build: Build) -> Proposal | None:
        uses: list[OptimizerUse] = []
        names: Counter[str] = Counter()
        for construction in build.constructions:
            use = self._use(construction, names)
            if use is not None:
                uses.append(use)
        if not any(g.members for use in uses for g in use.groups) and not self.unread:
            return None  # no optimizer, or none that has anything of this model
        self.unread |= _alternatives(uses)
        order = [p.name for p in self.evaluator.tree.inventory.parameters]
        return Proposal(
            tuple(uses),
            "script",
            _location(build.span, build.entry),
            tuple(self._notes()),
            tuple(name for name in order if name in self.unread),
        )

    def _notes(self) -> Iterator[str]:
        if self.foreign:
            yield f"parameters of other models are left out: {', '.join(self.foreign)}"

    # Optimizers

    def _use(self, construction: Construction, names: Counter[str]) -> OptimizerUse | None:
        """One optimizer; None where it is not there, perhaps, or has another model's parameters only."""
        there = self.evaluator.truth(construction.when)
        if there is False:
            return None
        if construction.unread:
            self.unread |= self.evaluator.tree.names()
        rates = Rates(self.evaluator, construction.groups, construction.options)
        drafts = self._drafts(construction.groups, there is True, rates)
        if there is UNKNOWN:
            return None
        kept = [d for d in drafts if d.members or not d.foreign]
        if drafts and not kept:
            return None
        made = construction.made
        profile = made.profile if made and made.profile in self.known.profiles else None
        half = _half(made, profile)
        flags = _flags(self.known.profiles[profile] if profile else None)
        if made is not None and profile is None and all(made.by_shape(d.first.options) for d in kept):
            kept = [part for d in kept for part in self._by_shape(d)]
        groups = tuple(self._group(i, d, half, flags) for i, d in enumerate(kept))
        options, unread = self._options(construction.options)
        title = made.name.rpartition(".")[2] if made else "groups"
        names[title] += 1
        return OptimizerUse(
            label=title if names[title] == 1 else f"{title} #{names[title]}",
            groups=groups,
            class_name=made.name if made else None,
            profile=profile,
            assumed=bool(made and made.assumed),
            options=options,
            unread=unread,
            unknown=made is not None and profile is None and made.kind in ("unknown", "routed"),
        )

    def _by_shape(self, draft: _Draft) -> Iterator[_Draft]:
        """A group of an optimizer that goes by shape alone, in halves: what has two dimensions or more is Muon's."""
        shapes = {p.name: p.shape for p in self.evaluator.tree.inventory.parameters}
        matrices = [m for m in draft.members if m.name is not None and len(shapes.get(m.name, ())) >= 2]
        others = [m for m in draft.members if m not in matrices]
        if matrices:
            yield replace(draft, first=replace(draft.first, half="muon"), members=matrices)
        if others:
            yield replace(draft, first=replace(draft.first, half="adam"), members=others)

    def _group(self, index: int, draft: _Draft, half: Destination | None, flags: tuple[str, ...]) -> Group:
        first = draft.first
        if first.unread:  # what was not read may well say who updates it
            draft.unread.update(dict.fromkeys(flag for flag in flags if flag not in draft.options))
        return Group(
            index=index,
            members=tuple(draft.members),
            options={k: v for k, v in draft.options.items() if k not in draft.unread},
            half=first.half or half,
            container=first.container,
            unread=tuple(draft.unread),
            where=_location(first.span, self.members.label) if first.span else None,
            rate=draft.rate[0],
            layered=draft.rate[1],
        )

    # Groups

    def _drafts(self, groups: Iterable[SymbolicGroup], certain: bool, rates: Rates) -> list[_Draft]:
        """The groups of an optimizer, those of one family with equal keys joined. Where it is not certain that they
        are given, all in them is doubtful."""
        found: list[_Draft] = []
        families: dict[tuple[int, Hashable], _Draft] = {}
        for group in groups:
            there = self.evaluator.truth(group.when)
            if there is False:
                continue
            if group.unread:
                self.unread |= self.evaluator.tree.names()
            if group.key is None:
                draft = _Draft(group, rate=rates.of(group))
                self._fill(draft, group, certain and there is True)
                if there is True:
                    found.append(draft)
            else:
                new = self._by_key(group, families, certain and there is True, rates)
                found.extend(d for d in new if not any(d is f for f in found))
        return found

    def _fill(self, draft: _Draft, group: SymbolicGroup, certain: bool) -> None:
        for held in self._held(group, draft, certain):
            draft.members.append(held.member)
        if _once(group):
            once = {m.name: m for m in reversed(draft.members)}
            draft.members = [m for m in draft.members if once.get(m.name) is m]
        options, unread = self._options(group.options)
        draft.options.update(options)
        draft.unread.update(dict.fromkeys(unread))

    def _by_key(
        self, group: SymbolicGroup, families: dict[tuple[int, Hashable], _Draft], certain: bool, rates: Rates
    ) -> list[_Draft]:
        """One group for each value of the key; options may be other for each, and are not known where they differ
        among what is in one."""
        touched: list[_Draft] = []
        family = group.family if group.family is not None else -1 - id(group)
        shared = _Draft(group)
        for held in self._held(group, shared, certain):
            place = (family, held.key)
            draft = families.get(place)
            options, unread = self._options(group.options, held.bound)
            rate = rates.of(group, held.bound)
            if draft is None:
                draft = families[place] = _Draft(group, options=dict(options), rate=rate)
            else:
                if draft.rate != rate:
                    draft.rate = None, False
                differ = [k for k in {*draft.options, *options} if draft.options.get(k) != options.get(k)]
                draft.unread.update(dict.fromkeys(differ))
            draft.unread.update(dict.fromkeys(unread))
            if not _once(group) or all(m.name != held.member.name for m in draft.members):
                draft.members.append(held.member)
            touched.append(draft)
        if shared.foreign and not touched:
            touched.append(shared)
        return touched

    def _held(self, group: SymbolicGroup, draft: _Draft, certain: bool) -> Iterator[Held]:
        """What is in a group for certain; the rest is noted."""
        for item in group.items:
            others = [root for root in roots(item) if root in self.others]
            if others:
                self.foreign.update(dict.fromkeys(others))
                draft.foreign = True
                continue
            found = self.members.of(item, group.key)
            self.unread |= found.doubtful
            if certain:
                yield from found.held
            else:
                self.unread.update(h.member.name for h in found.held if h.member.name is not None)

    def _options(
        self, terms: Mapping[str, Term], bound: Bindings | None = None
    ) -> tuple[dict[str, Plain], tuple[str, ...]]:
        """The options with known values, and the keys of the others."""
        known: dict[str, Plain] = {}
        unread = []
        for name, term in terms.items():
            value = plain(self.evaluator.value(term, bound))
            if value is None:
                unread.append(name)
            elif name != "params":
                known[name] = value[0]
        return known, tuple(unread)


def _alternatives(uses: Iterable[OptimizerUse]) -> set[str]:
    """What optimizers hold that hold the very same: one is made anew in place of the other, or to compare them."""
    seen: set[frozenset[str]] = set()
    found: set[str] = set()
    for use in uses:
        held = frozenset(m.name for g in use.groups for m in g.members if m.name is not None)
        if held in seen:
            found |= held
        seen.add(held)
    return found


def _once(group: SymbolicGroup) -> bool:
    """Whether a group has each tensor once, whatever the script does."""
    return group.distinct or group.container in _SETS


def _half(made: OptimizerClass | None, profile: str | None) -> Destination | None:
    """Who updates all of an optimizer's groups, where its class says so and no profile does."""
    if made is None or profile is not None:
        return None
    if made.kind == "muon":
        return "muon" if made.is_muon else None
    return "adam" if made.kind == "adam" else None


def _flags(profile: Profile | None) -> tuple[str, ...]:
    """The keys by which groups say who updates them."""
    keys = FLAGS if profile is None else (profile.flag_key, profile.second_flag)
    return tuple(key for key in keys if key)


def _location(span: Span, label: str) -> Location:
    return Location(span.path, span.line, span.column, label)
