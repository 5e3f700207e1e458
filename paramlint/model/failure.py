"""Turns what somebody else's code raised into one line: what, where in their files, and what to do."""

from __future__ import annotations

import importlib
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType

from paramlint.errors import ParamlintError
from paramlint.model.process import relative, shown_size

_PACKAGE = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_CUDA = re.compile(
    r"not compiled with (CUDA|XPU)|no NVIDIA driver|No CUDA GPUs|_cuda_\w+|_CudaDeviceProperties|"
    r"requires CUDA|without ATen_cuda|CUDA (driver )?error|CUDA is not available|is_available\(\) is False|"
    r"from the '(CUDA|MPS|XPU|HPU)' backend",
    re.IGNORECASE,
)
_MEMORY = re.compile(r"allocate memory|not enough memory|out of memory|failed to map segment|std::bad_alloc", re.I)
_META = re.compile(
    r"\bmeta\b|incompatible tensor type|_local_scalar_dense|on the same device|register_meta", re.IGNORECASE
)
_HUB = re.compile(r"huggingface\.co|offline mode|OfflineMode|LocalEntryNotFound|outgoing traffic", re.IGNORECASE)
_MEANT = ("torch", "numpy", "transformers", "timm", "torchvision")
TORCH_HINT = 'pip install "paramlint[model]"'


def did_you_mean(name: str, options: Iterable[str], otherwise: str = "") -> str:
    """A hint: the nearest of the options, or `otherwise`."""
    near = get_close_matches(name, [o for o in options if not o.startswith("__")], 1)
    return f"did you mean {near[0]}?" if near else otherwise


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def needs_values(error: BaseException) -> bool:
    """It failed because tensors on the meta device have no values: with real ones it may work."""
    kinds = (RuntimeError, NotImplementedError, ValueError, TypeError, AssertionError)
    return any(isinstance(e, kinds) and _META.search(text(e)) for e in chain(error))


def explain(
    error: BaseException, where: str, *, attempts: Sequence[str] = (), memory_limit: int | None = None
) -> ParamlintError:
    """The one line for an exception that left the code of a target, which may be any.

    `attempts` are the hosts that it tried to reach: when there are any, they are named as the cause.
    """
    if isinstance(error, ParamlintError):
        error.where = error.where or where
        if error.__cause__ is not None and not error.traceback:
            error.traceback = trimmed(error.__cause__)
        if attempts and "network" not in error.message:
            tried = f"it tried the network ({', '.join(attempts)}), which is off"
            error.hint = f"{error.hint}; {tried}" if error.hint else tried
        return error
    message, hint = _known(error, attempts, memory_limit)
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{relative(error.filename)}:{error.lineno}:{error.offset or 1}"
    else:
        place = user_place(error)
        message += f" ({place})" if place else ""
    on_meta = getattr(error, "on_meta", "")
    message += f"; on the meta device: {on_meta}" if on_meta else ""
    return ParamlintError(message, where=where, hint=hint, traceback=trimmed(error))


def _known(error: BaseException, attempts: Sequence[str], memory_limit: int | None) -> tuple[str, str]:
    """What to say and what to do, for the failures that are told apart."""
    if name := _unset_variable(error):
        return f"needs the environment variable {name}, which is not set", f"{name}=... paramlint ..."
    if path := _in_the_way(error):
        hint = f"{relative(path)} hides the installed {path.stem!r} from everything beside it: give it another name"
        return _said(error), hint
    said = _said(error)
    if error.__cause__ is not None:
        said += f" from {_said(error.__cause__)}"
    whole = "\n".join(f"{type(e).__name__} {text(e)}" for e in chain(error))
    if attempts:
        return (
            f"tries the network ({', '.join(attempts)}), which is off: {said}",
            "build from a configuration or pass pretrained=False, or use --allow-network",
        )
    if isinstance(error, SystemExit):
        code = "" if error.code is None else str(error.code)
        return f"calls sys.exit({code})", "name a function that only builds the model"
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        if missing == "torch":
            return "needs torch, which is not installed", TORCH_HINT
        return f"needs the module {error.name!r}, which is not installed here", "run paramlint where the model runs"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}", ""
    if isinstance(error, MemoryError) or _MEMORY.search(whole):
        if memory_limit:
            limit = shown_size(memory_limit)
            return (
                f"needs more memory than the limit of {limit}",
                "raise --memory-limit, or build a smaller configuration",
            )
        return f"needs more memory than there is: {said}", "build a smaller configuration"
    if _CUDA.search(whole):
        return (
            f"asks for a device that this machine does not have: {said}",
            "leave device queries out of the build, or guard them with torch.cuda.is_available()",
        )
    if _HUB.search(whole):
        return (
            f"needs files from huggingface.co that are not on this machine: {said}",
            "build from a configuration (AutoModel.from_config), or use --allow-network",
        )
    return said, ""


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {text(error)}" if text(error) else type(error).__name__


def _unset_variable(error: BaseException) -> str:
    """The name in `os.environ[name]`, where that is what failed."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    asked = isinstance(error, KeyError) and frames and frames[-1].f_code is type(os.environ).__getitem__.__code__
    return str(error.args[0]) if asked else ""


def _in_the_way(error: BaseException) -> Path | None:
    """A file of the user that is imported where a library of its name is meant: its own import comes back to it."""
    if not isinstance(error, (ImportError, AttributeError)) or "partially initialized" not in text(error):
        return None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        if not is_library(path) and (Path(path).stem in sys.stdlib_module_names or Path(path).stem in _MEANT):
            return Path(path)
    return None


def text(error: BaseException) -> str:
    """The first line of its message, cut where it gets long."""
    sentence = isinstance(error, KeyError) and len(error.args) == 1 and " " in str(error.args[0])
    try:
        lines = str(error.args[0] if sentence else error).strip().splitlines()
    except Exception:
        return ""
    line = next((s.strip() for s in lines if s.strip()), "")
    return line if len(line) <= 300 else line[:297] + "..."


def user_place(error: BaseException) -> str:
    """`path:line in function` of the innermost frame in the user's own files, or '' where there is none."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path, function = frame.f_code.co_filename, frame.f_code.co_name
        if not is_library(path):
            found = f"{relative(path)}:{line}" + (f" in {function}" if function != "<module>" else "")
    return found


def is_library(path: str) -> bool:
    """True for a file that the user did not write: installed packages, the standard library, paramlint itself."""
    if path.startswith(("<", _PACKAGE)) or not path.endswith(".py"):
        return True
    if "site-packages" in path or "dist-packages" in path:
        return True
    return path.startswith(_LIBRARIES)


def trimmed(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames of paramlint and of the import system."""
    for e in chain(error):
        e.__traceback__ = _without_ours(e.__traceback__)
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _without_ours(tb: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType] = []
    while tb is not None:
        path = tb.tb_frame.f_code.co_filename
        if not path.startswith((_PACKAGE, "<frozen importlib")) and path != importlib.__file__:
            kept.append(tb)
        tb = tb.tb_next
    head: TracebackType | None = None
    for one in reversed(kept):
        head = TracebackType(head, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return head
