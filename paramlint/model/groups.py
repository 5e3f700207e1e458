"""Turns whatever people have, optimizers or groups, into a `Proposal`."""

from __future__ import annotations

from collections import Counter
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from paramlint.errors import ParamlintError
from paramlint.group import OptimizerUse, Proposal
from paramlint.model import groups_given as given
from paramlint.model import groups_profile
from paramlint.model.groups_call import Refused, call
from paramlint.model.groups_given import Given
from paramlint.model.groups_live import expand, is_optimizer, live_groups, state_flags, wrapped
from paramlint.model.groups_members import Names, plain
from paramlint.model.groups_profile import Profiles
from paramlint.model.recorder import Record, StandIn, record_of, summary
from paramlint.parameter import Destination, Inventory, Location

__all__ = ["call", "read"]

_UNDERSTOOD = (
    "paramlint reads param groups, tensors, optimizers (in lists, dicts, wrappers, or as configure_optimizers returns "
    "them), two lists (Muon, AdamW), and functions of the model that return one of these"
)
_SCHEDULERS = ("scheduler", "lr_scheduler", "lr_schedulers", "schedulers")


def read(
    obj: Any, model: nn.Module, inventory: Inventory, profiles: Profiles, location: Location | None = None
) -> Proposal:
    """The groups of optimizers, group lists, or a function of the model that returns them.

    Nothing about the model changes, unless the function given changes it; it runs before anything is read off the
    tensors. Iterators inside group dicts are left as fresh as they were; one given by itself is used up.

    Args:
        obj: see `_UNDERSTOOD`; also what `call` returned.
        inventory: of the same model; its names are the members' names.
        profiles: by name, as `knowledge.load().profiles`.

    Raises:
        ParamlintError: the object is none of these (saying what it is), or a group holds something else than tensors.
    """
    if callable(obj) and not isinstance(obj, (nn.Module, Refused)) and not is_optimizer(obj) and not wrapped(obj):
        made_by = getattr(obj, "__name__", "")
        obj = call(obj, model, profiles)
        if obj is None and made_by != "configure_optimizers":
            # there, by Lightning's contract, it means that nothing is trained
            raise ParamlintError(f"{made_by or 'the function'} returned None", hint="it has to return the groups")
    reader = _Reader(Names(model, inventory), profiles)
    reader.visit(obj)
    return Proposal(
        optimizers=tuple(_numbered(reader.uses)),
        source="live" if reader.live or not reader.uses else "listed",
        location=location,
        notes=tuple(dict.fromkeys(reader.notes)),
    )


@dataclass
class _Reader:
    names: Names
    profiles: Profiles
    uses: list[OptimizerUse] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: dict[int, Any] = field(default_factory=dict)
    live: bool = False

    def visit(self, obj: Any) -> None:
        if isinstance(obj, Refused):
            self._refused(obj)
            return
        if obj is None:
            self.notes.append("no optimizer: the function returned None")
            return
        held, (items, _) = obj, given.settle(obj)
        if isinstance(items, nn.ParameterDict):
            items = dict(items.items())
        elif given.is_iterator(items) or isinstance(items, (ValuesView, ItemsView)):
            items = list(items)
        found = list(self._optimizers(items, "", 0))
        for label, optimizer in found:
            for inner in expand(optimizer):
                self._optimizer(inner, label)
        if not found:
            self._listed(items, held)

    def _refused(self, refused: Refused) -> None:
        if refused.result is not None:
            self.visit(refused.result)
        for record in refused.records:
            if not any(r is record for r in self.seen.values()):
                self._record(record)
        for record in refused.records:
            if refused.stopped and record.error is not None:
                text = f"{record.cls.__name__} refused its arguments: what is built after it is not known"
                self.notes.append(text)

    def _optimizers(self, obj: Any, label: str, depth: int) -> Iterator[tuple[str, Any]]:
        """Every optimizer in lists, tuples and dicts; schedulers and anything else beside them is left out."""
        if depth > 3 or isinstance(obj, (str, bytes, Tensor)):
            return
        if is_optimizer(obj):
            yield label, obj
        elif isinstance(obj, Mapping):
            if "params" in obj:
                return
            if "optimizer" in obj:
                yield from self._optimizers(obj["optimizer"], label, depth + 1)
                return
            for key, value in obj.items():
                if key not in _SCHEDULERS:
                    yield from self._optimizers(value, str(key), depth + 1)
        elif isinstance(obj, (list, tuple, Set)):
            parts = [(v, list(self._optimizers(v, label, depth + 1))) for v in obj]
            for value, inside in parts:
                yield from inside
                if not inside and any(i for _, i in parts) and given.kind(value) in ("tensors", "groups"):
                    self.notes.append(f"{_described(value)} beside the optimizers is not read")
        elif wrapped(obj):
            yield label, obj

    def _optimizer(self, optimizer: Any, label: str) -> None:
        if id(optimizer) in self.seen:
            return
        self.live = True
        record = record_of(optimizer)
        self.seen[id(optimizer)] = record or optimizer
        flags = state_flags(optimizer)
        groups = live_groups(optimizer, record)
        recorded = isinstance(optimizer, StandIn)
        arguments = record.arguments if record else groups_profile.constructor(type(optimizer))
        recognised = groups_profile.by_class(
            type(optimizer), groups, arguments, self.profiles, recorded=recorded, flagged_state=bool(flags)
        )
        profile = self.profiles.get(recognised.profile or "")
        if flags and (profile is None or profile.call_shape == "two-lists") and not any(g.half for g in groups):
            groups = [part for g in groups for part in _by_flag(g, flags)]
        # what it was given and does not keep among its defaults (pytorch_optimizer's keeps it in the groups) counts too
        options = (record.options if record else {}) | ({} if recorded else dict(getattr(optimizer, "defaults", {})))
        self._add(type(optimizer), groups, recognised, record, options, label, recorded)

    def _record(self, record: Record) -> None:
        self.live = True
        recorded = issubclass(record.cls, StandIn)
        recognised = groups_profile.by_class(
            record.cls, record.groups, record.arguments, self.profiles, recorded=recorded
        )
        self._add(record.cls, record.groups, recognised, record, record.options, "", recorded)

    def _add(
        self,
        cls: type,
        groups: Sequence[Given],
        recognised: groups_profile.Recognised,
        record: Record | None,
        options: Mapping[str, Any],
        label: str,
        recorded: bool,
    ) -> None:
        full = f"{cls.__module__}.{cls.__qualname__}"
        if recognised.note:
            self.notes.append(recognised.note)
        refusal = None
        if recorded:
            refusal = groups_profile.refusal(self.profiles.get(recognised.profile or ""), groups)
            self.notes.append(f"{full} is not installed: a recorder took its groups")
        if record and record.absent:
            self.notes.append(f"{full} cannot be built on this machine ({record.absent}): its arguments were read")
        self.uses.append(
            OptimizerUse(
                label=label or cls.__name__,
                groups=tuple(self.names.group(i, g) for i, g in enumerate(groups)),
                class_name=full,
                profile=recognised.profile,
                assumed=recognised.assumed,
                version=recognised.version,
                options={str(k): plain(v) for k, v in options.items()},
                container=record.container if record else "list",
                recorded=recorded,
                refusal=summary(record.error) if record and record.error else refusal,
            )
        )

    def _listed(self, obj: Any, held: Any) -> None:
        groups, two_lists = self._groups(obj, held)
        for index, group in enumerate(groups):
            if group.wrong:
                raise ParamlintError(
                    f"group {index} holds {_counted(group.wrong)} among its tensors",
                    hint="params of a group are tensors, or (name, tensor) pairs",
                )
        recognised = groups_profile.by_keys(groups, two_lists, self.profiles)
        if recognised.note:
            self.notes.append(recognised.note)
        self.uses.append(
            OptimizerUse(
                label="groups",
                groups=tuple(self.names.group(i, g) for i, g in enumerate(groups)),
                profile=recognised.profile,
                assumed=recognised.assumed,
                container=given.container(held),
            )
        )

    def _groups(self, obj: Any, held: Any) -> tuple[list[Given], bool]:
        """The groups, and whether they are Moonlight's two lists of tensors."""
        kind = given.kind(obj)
        if kind in ("tensors", "groups") and not isinstance(obj, Tensor):
            groups = given.groups(obj)
            if kind == "tensors":
                groups[0].container = given.container(held)
            return groups, False
        if isinstance(obj, Mapping) and obj and all(isinstance(k, str) for k in obj):
            halves = {k: given.half_of(k, obj) for k in obj}
            if "muon" not in halves.values():
                # all of them for one half is what is left where nothing goes to Muon; some are just names
                alone = all(given.says_adam(k) for k in obj)
                halves = dict.fromkeys(obj, "adam" if alone else None)
            self._say_rest(halves)
            return self._parts(list(obj.values()), list(halves.values()), obj)
        if kind == "empty":
            return [], False
        if isinstance(obj, (list, tuple)) and len(obj) == 2:
            return self._parts(list(obj), ["muon", "adam"], obj)
        raise _unread(obj)

    def _parts(self, values: list[Any], halves: list[Destination | None], whole: Any) -> tuple[list[Given], bool]:
        groups: list[Given] = []
        tensors = "muon" in halves
        for held, half in zip(values, halves, strict=True):
            value, _ = given.settle(held)
            kind = given.kind(value)
            if kind is None or isinstance(value, Tensor):
                raise _unread(whole)
            part = given.groups(value, half)
            if kind == "groups":
                tensors = False
            else:
                part[0].container = given.container(held)
            groups += part
        return groups, tensors

    def _say_rest(self, halves: Mapping[str, Destination | None]) -> None:
        if not any(halves.values()):
            self.notes.append(f"keys {', '.join(map(repr, halves))} say nothing of an optimizer: each is one group")
            return
        for key, half in halves.items():
            if half == "adam" and not given.says_adam(key):
                self.notes.append(f"key {key!r} is read as the Adam half, beside a Muon one")


def _by_flag(group: Given, flags: Mapping[int, bool]) -> list[Given]:
    """One list of a Moonlight-like optimizer, parted by the flag in its state; unflagged tensors stay apart."""
    parts: list[tuple[Destination | None, bool | None]] = [("muon", True), ("adam", False), (None, None)]
    found = [
        replace(group, items=[(n, t) for n, t in group.items if flags.get(id(t)) is flag], half=half)
        for half, flag in parts
    ]
    return [g for g in found if g.items]


def _numbered(uses: list[OptimizerUse]) -> Iterator[OptimizerUse]:
    """Labels told apart: `AdamW`, `AdamW #2`."""
    count: Counter[str] = Counter()
    for use in uses:
        count[use.label] += 1
        number = count[use.label]
        yield use if number == 1 else replace(use, label=f"{use.label} #{number}")


def _unread(obj: Any) -> ParamlintError:
    return ParamlintError(f"{_described(obj)} holds no groups that can be read", hint=_UNDERSTOOD)


def _described(obj: Any) -> str:
    name = type(obj).__name__
    if isinstance(obj, nn.Module):
        return f"a model ({name})"
    if isinstance(obj, Mapping):
        return f"a {name} with keys {', '.join(repr(k) for k in list(obj)[:5])}" if obj else f"an empty {name}"
    if isinstance(obj, (list, tuple, Set)):
        return f"a {name} of {_counted(type(v).__name__ for v in obj)}" if obj else f"an empty {name}"
    if isinstance(obj, Tensor):
        return f"one {name} of shape {given.shape(obj)}"
    return f"{obj!r} ({name})" if isinstance(obj, (str, int, float)) else f"an object of type {name}"


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in Counter(names).items())
