"""Builds the optimizers of a smoke step, as often as a fresh one is wanted: the user's, or those of a plan."""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import nn

from paramlint.errors import ParamlintError
from paramlint.model.groups_call import Refused, call
from paramlint.model.groups_live import expand, is_optimizer, wrapped
from paramlint.model.recorder import StandIn, record_of, standing_in, summary
from paramlint.profile import Profile

Profiles = Mapping[str, Profile]
Factory = Callable[[nn.Module], Any]
_DEEP = 3  # lists in lists


@dataclass(frozen=True)
class Made:
    """What a factory made of a model.

    `tops` are what a training loop steps, `inner` the optimizers that hold the parameters: the same, unless several
    stand behind one object. `refused` is the error of a constructor that did not take its arguments; then `tops` are
    empty, and `given` can be read all the same.
    """

    given: Any
    tops: tuple[Any, ...] = ()
    inner: tuple[Any, ...] = ()
    refused: str = ""

    def groups(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Every param group with the optimizer that holds it."""
        for optimizer in self.inner:
            for group in optimizer.param_groups:
                yield optimizer, group


@dataclass
class Maker:
    """Makes optimizers over a model, with a process group of one where the class insists on one.

    The group is that of gloo; it is gone when the maker is closed.
    """

    factories: Sequence[Factory]
    profiles: Profiles
    stack: ExitStack = field(default_factory=ExitStack)
    grouped: bool = False

    def make(self, model: nn.Module) -> Made:
        """Fresh optimizers over the parameters of a model; all factories together.

        Raises:
            ParamlintError: a factory fails, gives no optimizer, or one whose package is not installed.
        """
        python = random.getstate()
        try:
            with standing_in(self.profiles), torch.random.fork_rng():
                made = self._made(model)
                if made is None:
                    self.join()
                    made = self._made(model)
        finally:
            random.setstate(python)
        assert made is not None
        return made

    def join(self) -> None:
        """A process group of this process alone, if there is none."""
        if not self.grouped:
            self.grouped = True
            self.stack.enter_context(group_of_one())

    def close(self) -> None:
        self.stack.close()

    def _made(self, model: nn.Module) -> Made | None:
        """None where it failed for want of a process group, and there can be one."""
        given: list[Any] = []
        for factory in self.factories:
            try:
                result = call(factory, model, self.profiles) if not isinstance(factory, Plain) else factory(model)
            except ParamlintError as error:
                if not self.grouped and "process group" in error.message:
                    return None
                raise
            given.append(result)
        whole = given[0] if len(given) == 1 else given
        refused = next((g for g in given if isinstance(g, Refused)), None)
        if refused is not None:
            if not self.grouped and any("process group" in str(r.error) for r in refused.records):
                return None
            first = next((r for r in refused.records if r.error), refused.records[0])
            return Made(refused, refused=f"{first.cls.__name__}: {summary(first.error) if first.error else ''}")
        tops = tuple(_tops(whole, 0))
        inner = {id(o): o for top in tops for o in expand(top)}
        if not inner:
            raise ParamlintError(
                "gives no optimizer", hint="name a function of the model that returns one, or several in a list"
            )
        for optimizer in inner.values():
            self._check_real(optimizer)
            record = record_of(optimizer)
            if record is not None and record.absent:
                if not self.grouped and "process group" in record.absent:
                    return None
                raise ParamlintError(f"{type(optimizer).__name__} cannot be built on this machine: {record.absent}")
        if not self.grouped and any(self._wants_group(o) for o in inner.values()):
            self.join()
        return Made(whole, tops, tuple(inner.values()))

    def _check_real(self, optimizer: Any) -> None:
        if isinstance(optimizer, StandIn):
            cls = type(optimizer)
            raise not_installed(f"{cls.__module__}.{cls.__qualname__}", self.profiles)

    def _wants_group(self, optimizer: Any) -> bool:
        cls = type(optimizer)
        name = f"{cls.__module__}.{cls.__qualname__}"
        return any(p.process_group and name in (*p.classes, *p.imports) for p in self.profiles.values())


class Plain:
    """A factory of our own, that takes the model and nothing else."""

    def __init__(self, make: Factory) -> None:
        self.make = make

    def __call__(self, model: nn.Module) -> Any:
        return self.make(model)


def not_installed(name: str, profiles: Profiles) -> ParamlintError:
    """The one line for an optimizer's class that cannot be imported."""
    top = name.partition(".")[0]
    found = [p for p in profiles.values() if name in (*p.classes, *p.imports)]
    found += [p for p in profiles.values() if any(i.partition(".")[0] == top for i in p.imports)]
    how = next((p.install for p in found if p.install), "")
    return ParamlintError(f"{name} is not installed, and a real step needs it", hint=how or "install it")


def from_groups(groups: Factory, profile: Profile, profiles: Profiles) -> Factory:
    """A factory that builds the class of a profile over the groups that a function of the model gives.

    Raises:
        ParamlintError: (the factory) the class is not installed, or builds its groups itself.
    """

    def make(model: nn.Module) -> Any:
        given = groups(model)
        cls = _class_of(profile, profiles)
        if profile.call_shape == "two-optimizers":
            return _two(cls, given)
        if profile.call_shape == "two-lists":
            muon, adam = _halves(given) or (given, [])
            return cls(**{profile.muon_argument or "muon_params": muon, profile.adam_argument or "adamw_params": adam})
        return cls(given)

    make.__name__ = getattr(groups, "__name__", "groups")
    return make


def generated(text: str) -> Factory:
    """The `build_optimizer` of a generated module.

    Raises:
        ParamlintError: the module cannot be loaded: its optimizer is not installed.
    """
    module = ModuleType("paramlint_generated_groups")
    exec(compile(text, "<generated groups>", "exec"), vars(module))  # our own text
    build: Factory = module.build_optimizer
    return build


def _class_of(profile: Profile, profiles: Profiles) -> Any:
    if profile.call_shape == "attribute" or not profile.imports:
        raise ParamlintError(f"{profile.name} needs its whole framework, and cannot be stepped here")
    name = profile.imports[0]
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise not_installed(name, profiles) from None


def _two(muon: Any, given: Any) -> Any:
    """Muon and AdamW; Muon alone over groups that are not told apart."""
    halves = _halves(given)
    if halves is None:
        return muon(given)
    made = [muon(halves[0])] if halves[0] else []
    return [*made, *([torch.optim.AdamW(halves[1])] if halves[1] else [])]


def _halves(given: Any) -> tuple[Any, Any] | None:
    """The two halves of `{"muon": ..., "adamw": ...}` or of a pair of lists."""
    if isinstance(given, Mapping) and "params" not in given:
        muon = next((v for k, v in given.items() if "muon" in str(k).lower()), None)
        rest = [v for v in given.values() if v is not muon]
        return (muon or []), (rest[0] if len(rest) == 1 else [g for part in rest for g in part])
    if isinstance(given, tuple) and len(given) == 2:
        return given[0], given[1]
    return None


def _tops(obj: Any, depth: int) -> Iterator[Any]:
    """What a training loop steps: the objects with `param_groups`, in lists, tuples and dicts, or holding others."""
    if obj is None or depth > _DEEP or isinstance(obj, (str, bytes, torch.Tensor)):
        return
    if is_optimizer(obj):
        yield obj
    elif isinstance(obj, Mapping):
        if "params" not in obj:
            for key, value in obj.items():
                if "scheduler" not in str(key):
                    yield from _tops(value, depth + 1)
    elif isinstance(obj, (list, tuple, Set)):
        for value in obj:
            yield from _tops(value, depth + 1)
    elif held := wrapped(obj):
        if callable(getattr(obj, "step", None)):
            yield obj
        else:
            yield from held


@contextmanager
def group_of_one() -> Iterator[None]:
    """torch's default process group, of this process alone; one that is there already is left as it is."""
    from torch import distributed as dist

    if not dist.is_available() or dist.is_initialized():
        yield
        return
    before = os.environ.get("GLOO_SOCKET_IFNAME")
    if os.path.exists("/sys/class/net/lo"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host name that does not resolve is no obstacle then
    dist.init_process_group("gloo", store=torch._C._distributed_c10d.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        with suppress(Exception):
            dist.destroy_process_group()
        if before is None:
            os.environ.pop("GLOO_SOCKET_IFNAME", None)
