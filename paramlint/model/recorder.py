"""Notes what the constructors of optimizers are given, while somebody's code runs."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.optim import Optimizer

from paramlint.model import groups_given as given
from paramlint.model.groups_given import Given
from paramlint.model.recorder_modules import Completer, Finder, incomplete, known
from paramlint.profile import Profile

# Complaints about this machine, not about the arguments: no accelerator, no process group, tensors on meta.
_MACHINE = re.compile(
    r"\b(cuda|nvidia|hip|rocm|xpu|mps|triton)\b|process group|fused=True.*device|meta (tensor|device)", re.IGNORECASE
)


@dataclass(eq=False)
class Record:
    """One construction: the groups and the other arguments as they were given, before anything could refuse them.

    `error` is what the constructor raised; `absent` why it could not run on this machine, if it could not.
    """

    cls: type
    groups: list[Given] = field(default_factory=list)
    container: str = "list"
    options: dict[str, Any] = field(default_factory=dict)
    arguments: frozenset[str] = frozenset()
    error: BaseException | None = None
    absent: str = ""
    nested: bool = False
    found: bool = False


_records: WeakKeyDictionary[Any, Record] = WeakKeyDictionary()
_active: Session | None = None


def record_of(optimizer: object) -> Record | None:
    """What the constructor of this optimizer was given, if it was built under `standing_in`."""
    try:
        return _records.get(optimizer)
    except TypeError:
        return None


def _remember(optimizer: object, record: Record) -> None:
    with suppress(TypeError):  # not hashable
        _records[optimizer] = record


@contextmanager
def standing_in(profiles: Mapping[str, Profile]) -> Iterator[Session]:
    """Enter this around everything that imports or calls a user's code.

    While it is active, optimizer classes that a profile knows and this machine lacks can be imported (they record
    their groups and do nothing at a step), and every optimizer that is built is noted. All is put back afterwards.
    Entered again inside itself it is the same session.
    """
    global _active
    if _active is not None:
        yield _active
        return
    session = Session(profiles)
    _active = session
    try:
        session.open()
        yield session
    finally:
        _active = None
        session.close()


class Session:
    """Everything built while `standing_in` is active, in order.

    With `lenient`, a constructor that refuses its arguments is noted and passed over, so that what a function builds
    after it is seen too.
    """

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self.records: list[Record] = []
        self.lenient = False
        self._building: list[tuple[Any, Record]] = []
        self._undo: list[Callable[[], None]] = []
        self._known = known(profiles.values())
        self._open = False

    def open(self) -> None:
        self._open = True
        for cls in [Optimizer, *_subclasses(Optimizer)]:
            self._watch(cls)
        self._watch_subclasses()
        self._watch_added()
        for name, module in [(m, sys.modules[m]) for m in self._known if m in sys.modules]:
            if name.partition(".")[0] == "torch" or name in incomplete({name: self._known[name]}):
                self._complete(module)
        finder = Finder(self._known, stand_in)
        first = Completer(incomplete(self._known), self._complete)
        sys.meta_path.insert(0, first)
        sys.meta_path.append(finder)

        def forget() -> None:
            sys.meta_path.remove(first)
            sys.meta_path.remove(finder)
            for name in finder.served:
                sys.modules.pop(name, None)

        self._undo.append(forget)

    def close(self) -> None:
        self._open = False
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def construct(self, optimizer: Any, original: Callable[..., None], args: Any, kwargs: dict[str, Any]) -> None:
        """Runs a constructor, noting what it was given; the outermost of a class and its bases counts."""
        if not self._open:
            return original(optimizer, *args, **kwargs)
        building = next((r for o, r in self._building if o is optimizer), None)
        if building is not None:
            if not building.found:
                args, kwargs = note(building, original, args, kwargs)
            return original(optimizer, *args, **kwargs)
        record = Record(type(optimizer))
        args, kwargs = note(record, original, args, kwargs)
        self.records.append(record)
        _remember(optimizer, record)
        for _, outer in self._building:
            outer.nested = True
        self._building.append((optimizer, record))
        try:
            original(optimizer, *args, **kwargs)
        except Exception as error:
            here = _MACHINE.search(str(error)) is not None and record.found and not record.nested
            if not here and not (self.lenient and record.found):
                record.error = error
                raise
            if here:
                record.absent = summary(error)
            else:
                record.error = error
            try:
                adopt(optimizer, record.groups, record.options)
            except Exception:
                record.error = error
                raise error from None
        finally:
            self._building.pop()
        return None

    def _watch(self, cls: type) -> None:
        original = cls.__dict__.get("__init__")
        if not inspect.isfunction(original):
            return

        @functools.wraps(original)
        def __init__(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            return self.construct(optimizer, original, args, kwargs)

        cls.__init__ = __init__  # type: ignore[misc]
        self._undo.append(lambda: setattr(cls, "__init__", original))

    def _watch_subclasses(self) -> None:
        old = Optimizer.__dict__.get("__init_subclass__")

        def __init_subclass__(cls: type, **kwargs: Any) -> None:
            if old is not None:
                old.__func__(cls, **kwargs)
            else:
                super(Optimizer, cls).__init_subclass__(**kwargs)  # type: ignore[misc]
            self._watch(cls)

        hook: Any = classmethod(__init_subclass__)  # type: ignore[arg-type]
        optimizers: Any = Optimizer
        optimizers.__init_subclass__ = hook

        def restore() -> None:
            if old is None:
                del optimizers.__init_subclass__
            else:
                optimizers.__init_subclass__ = old

        self._undo.append(restore)

    def _watch_added(self) -> None:
        original = Optimizer.add_param_group

        @functools.wraps(original)
        def add_param_group(optimizer: Any, param_group: Any) -> None:
            record = record_of(optimizer)
            late = record is not None and not any(o is optimizer for o, _ in self._building)
            groups = given.groups(param_group) if late and given.kind(param_group) == "groups" else []
            try:
                original(optimizer, param_group)
            except Exception as error:
                if record is None or not late:
                    raise
                record.error = error
                if not self.lenient:
                    record.groups.extend(groups)
                    raise
                optimizer.param_groups.extend(g.copy() for g in groups)
            if record is not None:
                record.groups.extend(groups)

        optimizers: Any = Optimizer
        optimizers.add_param_group = add_param_group
        self._undo.append(lambda: setattr(optimizers, "add_param_group", original))

    def _complete(self, module: ModuleType) -> None:
        for name, profile in self._known.get(module.__name__, {}).items():
            if not hasattr(module, name):
                setattr(module, name, stand_in(module.__name__, name, profile))
                self._undo.append(lambda name=name: delattr(module, name))  # type: ignore[misc]


def note(record: Record, original: Callable[..., None], args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Files the arguments of a constructor in its record; returns them with iterators made fresh."""
    fresh: dict[int, Any] = {}

    def read(value: Any) -> Any:
        settled, again = given.settle(value)
        if again is not value:
            fresh[id(value)] = again
        return settled

    named = [(name, value, read(value)) for name, value in _named(original, args, kwargs)]
    kinds = [given.kind(value) for _, _, value in named]
    takes = [
        (name, held, value)
        for (name, held, value), k in zip(named, kinds, strict=True)
        if k in ("tensors", "groups") or (k == "empty" and ("param" in name or "group" in name or name == "#0"))
    ]
    names = [name for name, _, _ in takes]
    record.groups, record.found = [], bool(takes)
    for name, held, value in takes:
        groups = given.groups(value, given.half_of(name, names) if len(takes) > 1 or "muon" in name else None)
        if given.kind(value) != "groups":
            groups[0].container = given.container(held)
        record.groups += groups
        record.container = given.container(held)
    record.arguments |= frozenset(n for n, _, _ in named) | frozenset(_parameters(original))
    record.options = {
        n: v for n, _, v in named if n not in names and not n.startswith("#") and not n.endswith("params")
    }
    number = next((v for n, _, v in named if n.startswith("#") and type(v) in (int, float)), None)
    if number is not None:
        # a constructor that names nothing: lr is the first number that optimizers take
        record.options.setdefault("lr", number)
    defaults = record.options.pop("defaults", None)
    if isinstance(defaults, Mapping):
        record.options |= {str(k): v for k, v in defaults.items()}
    return tuple(fresh.get(id(a), a) for a in args), {k: fresh.get(id(v), v) for k, v in kwargs.items()}


def _parameters(original: Callable[..., None]) -> list[str]:
    try:
        return [p for p in inspect.signature(original).parameters if p not in ("self", "args", "kwargs")]
    except (TypeError, ValueError):
        return []


def _named(original: Callable[..., None], args: Any, kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    """The arguments by name, defaults included; `#1` for a positional one that has no name."""
    try:
        signature = inspect.signature(original)
        bound = signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
    except (TypeError, ValueError):
        # one that the constructor will refuse
        names = _parameters(original)
        return [*((names[i] if i < len(names) else f"#{i}", a) for i, a in enumerate(args)), *kwargs.items()]
    found: list[tuple[str, Any]] = []
    for position, (name, value) in enumerate(bound.arguments.items()):
        what = signature.parameters[name].kind
        if what is inspect.Parameter.VAR_POSITIONAL:
            found += [(f"#{i}", v) for i, v in enumerate(value)]
        elif what is inspect.Parameter.VAR_KEYWORD:
            found += list(value.items())
        elif position:
            found.append((name, value))
    return found


def adopt(optimizer: Any, groups: list[Given], options: Mapping[str, Any]) -> None:
    """Makes an optimizer that holds these groups and checks nothing. Schedulers want an lr in every group."""
    held = torch.nn.Parameter(torch.empty(0))
    Optimizer.__init__(optimizer, [held], dict(options))
    optimizer.param_groups = [{"lr": 1e-3, **options, **g.copy()} for g in groups]


class StandIn(Optimizer):
    """An optimizer whose package is not installed: keeps its groups, does nothing at a step."""

    profile_defaults: Mapping[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        own = Record(type(self))
        note(own, StandIn.__init__, args, kwargs)
        if record_of(self) is None:
            _remember(self, own)
        adopt(self, own.groups, {**self.profile_defaults, **own.options})

    def step(self, closure: Any = None) -> Any:
        return None


_stand_ins: dict[tuple[str, str], type] = {}


def stand_in(module: str, name: str, profile: Profile | None) -> type:
    """The recorder class for `module.name`; the same one every time."""
    key = module, name
    if key not in _stand_ins:
        defaults: dict[str, Any] = {}
        if profile is not None:
            defaults = {**profile.adam_defaults, **profile.muon_defaults, **profile.defaults}
        body = {"__module__": module, "__qualname__": name, "profile_defaults": defaults}
        _stand_ins[key] = type(name, (StandIn,), body)
    return _stand_ins[key]


def summary(error: BaseException) -> str:
    """`ValueError: first line`; the class alone for an assertion without text."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _subclasses(cls: type) -> Iterator[type]:
    below: list[type] = cls.__subclasses__()
    for sub in below:
        yield sub
        yield from _subclasses(sub)
