"""Stand-ins for optimizer packages that a profile knows and this machine lacks."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any

from paramlint.errors import ParamlintError
from paramlint.profile import Profile

#: module -> class name -> the profile that knows it
Known = Mapping[str, Mapping[str, Profile]]
# Not torch optimizers, or configured by a file: there is no call whose groups could be recorded.
_NEVER = frozenset({"jax", "keras", "optax", "tensorflow", "deepspeed", "megatron"})


def known(profiles: Iterable[Profile]) -> dict[str, dict[str, Profile]]:
    """Every class that a user may import, by module. What cannot be installed is a file of the user's own."""
    found: dict[str, dict[str, Profile]] = {}
    for profile in profiles:
        if profile.install is None:
            continue
        for qualified in profile.imports:
            module, _, name = qualified.rpartition(".")
            if module and module.partition(".")[0] not in _NEVER and profile.call_shape != "attribute":
                found.setdefault(module, {}).setdefault(name, profile)
    return found


class Finder(MetaPathFinder, Loader):
    """Last on `sys.meta_path`: asked only for what nobody else finds, a `muon.py` beside the script included."""

    def __init__(self, names: Known, make: Callable[[str, str, Profile | None], type]) -> None:
        self._names, self._make = names, make
        self._tops = {m.partition(".")[0] for m in names}
        self.served: list[str] = []

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        top = fullname.partition(".")[0]
        if top not in self._tops or _only_asking():
            return None
        if "." in fullname and top not in self.served:
            return None  # a real package that lacks this submodule
        if not self._whole(top) and not any(f"{m}.".startswith(f"{fullname}.") for m in self._names):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        self.served.append(spec.name)
        return StandInModule(spec.name, self._names.get(spec.name, {}), self._make, self._whole(spec.name))

    def exec_module(self, module: ModuleType) -> None:
        pass

    def _whole(self, module: str) -> bool:
        """Whether the package itself exports optimizers. Of others (timm, for `timm.optim`) only what is known is
        served, so that a library which can do without the package still finds it missing."""
        top = module.partition(".")[0]
        return top in self._names


class StandInModule(ModuleType):
    """A package that is not here. Its classes record; its functions say what is missing, when called."""

    def __init__(
        self, name: str, names: Mapping[str, Profile], make: Callable[[str, str, Profile | None], type], whole: bool
    ) -> None:
        super().__init__(name, "A stand-in: the package is not installed.")
        self.__path__: list[str] = []
        self.__all__ = sorted(names)
        self._names, self._make, self._whole = names, make, whole

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        profile = self._names.get(name)
        if profile is None and not self._whole:
            raise AttributeError(name)
        constant = name.isupper() and not name.isalpha()  # SOAP is a class, NS_STEPS is none
        if profile is not None or (name[0].isupper() and not constant):
            value: Any = self._make(self.__name__, name, profile)
        elif constant:
            raise AttributeError(name)
        else:
            value = _missing(self.__name__, name)
        setattr(self, name, value)
        return value


def _missing(module: str, name: str) -> Callable[..., Any]:
    def missing(*args: object, **kwargs: object) -> Any:
        raise ParamlintError(
            f"{module}.{name} is called, and {module.partition('.')[0]} is not installed",
            hint="only optimizer classes can be stood in for; install the package to check this target",
        )

    missing.__name__ = missing.__qualname__ = name
    return missing


class Completer(MetaPathFinder):
    """First on `sys.meta_path`: adds the classes that an installed but older package lacks, once it is imported."""

    def __init__(self, modules: Iterable[str], complete: Callable[[ModuleType], None]) -> None:
        self._modules, self._complete = frozenset(modules), complete

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in self._modules:
            return None
        for finder in sys.meta_path:
            if finder is not self and not isinstance(finder, Finder):
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    execute = getattr(spec.loader, "exec_module", None)
                    if execute is not None:
                        self._hook(spec.loader, execute)
                    return spec
        return None

    def _hook(self, loader: Any, execute: Callable[[ModuleType], None]) -> None:
        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._complete(module)

        loader.exec_module = exec_module


def incomplete(names: Known) -> list[str]:
    """Modules of installed packages in which a class may be missing. A package of another distribution that
    happens to have the same import name is left alone."""
    found = []
    for module, classes in names.items():
        for profile in classes.values():
            if module.partition(".")[0] != "torch" and profile.distribution and installed(profile.distribution):
                found.append(module)
                break
    return found


def installed(distribution: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return importlib.metadata.version(distribution)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def _only_asking() -> bool:
    """Whether `importlib.util.find_spec` wants to know what is installed: libraries decide by it what to import."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith("<frozen importlib") and code.co_filename != importlib.util.__file__:
            return False
        if code.co_name == "find_spec":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
