"""What a forward pass is run on, from cheap to dear: each rung is stood on only where the last error says it may hold.

On meta, in the model's dtype; in bfloat16, for kernels that ask for it; with fake tensors, which say that they are on a
device; on the CPU, where the model is small; and with modules answered for by their sizes, where their kernels cannot
run here.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from paramlint.model.meta import building
from paramlint.model.trace.memo import Memo
from paramlint.model.trace.stand_in import known_sizes
from paramlint.model.trace.twin import Twin
from paramlint.model.trace.values import Values

_SMALL = 1 << 30  # bytes of a model, four for each element, that may be made real
_RESERVE = 1 << 29  # bytes of memory that a real pass leaves free
_STAND_INS = 6  # classes of modules that are answered for

How = Literal["meta", "bf16", "fake", "cpu"]


@dataclass(frozen=True)
class Rung:
    """`device` is what fake tensors say they are on. Modules of the classes in `answered` are not run: what they give
    is made up from their sizes. Those in `opaque` are run, and where they raise, give what they were given.
    """

    how: How = "meta"
    device: str = "meta"
    answered: frozenset[type] = frozenset()
    opaque: frozenset[type] = frozenset()
    tried: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass
class Footing:
    """What a pass stands on: the parameters, values, answers and inputs that go with a rung."""

    parameters: list[torch.Tensor]
    values: Values
    memo: Memo
    given: Callable[[torch.Tensor], torch.Tensor]
    limit_bytes: int | None = None


@contextmanager
def footing(twin: Twin, rung: Rung) -> Iterator[Footing]:
    """The stand-in is changed to fit a rung, and changed back after."""
    with ExitStack() as stack:
        if rung.how == "meta":
            stack.enter_context(building("meta", "none"))
            made = Footing(list(twin.parameters), Values(), twin.memo, _on_meta)
            twin.tell(made.values)
        elif rung.how == "bf16":
            stack.enter_context(building("meta", "none"))
            parameters = stack.enter_context(twin.as_(_bf16))
            made = Footing(parameters, Values(), twin.memo, lambda t: _bf16(_on_meta(t)))
            twin.tell(made.values)
        elif rung.how == "fake":
            made = _fake(twin, rung.device, stack)
        else:
            stack.enter_context(building("cpu"))
            parameters = stack.enter_context(twin.as_(_real))
            made = Footing(parameters, Values(real=True), Memo(), _real, 3 * _SMALL)
        yield made


def _fake(twin: Twin, device: str, stack: ExitStack) -> Footing:
    from torch._subclasses.fake_tensor import FakeTensorMode

    if device == "cpu":
        stack.enter_context(building("cpu"))
    else:
        stack.enter_context(torch.device(device))
    stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
    values = Values(aside=_disable_current_modes)

    def fake(t: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
        made = torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=device)
        return nn.Parameter(made, requires_grad=False) if isinstance(t, nn.Parameter) else made

    kept = {id(t): value for t, value in twin.values}

    def known(t: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
        made = fake(t)
        if id(t) in kept:
            values.know(made, kept[id(t)])
        return made

    parameters = stack.enter_context(twin.as_(known))
    return Footing(parameters, values, Memo(device), fake)


def _on_meta(t: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(t, device="meta")


def _bf16(t: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
    if not t.dtype.is_floating_point or t.element_size() == 1:
        return t
    made = torch.empty_strided(t.shape, t.stride(), dtype=torch.bfloat16, device="meta")
    return nn.Parameter(made, requires_grad=False) if isinstance(t, nn.Parameter) else made


def _real(t: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
    """A tensor on the CPU: buffers keep their values, parameters and inputs have small ones of their own."""
    if source is not None and not source.is_meta:
        return source.detach().cpu().clone()
    if not t.is_meta:
        return t.clone()
    made = torch.zeros(t.shape, dtype=t.dtype, device="cpu")
    if t.dtype.is_floating_point and t.element_size() > 1:
        made.uniform_(0.0, 0.02)
    return nn.Parameter(made, requires_grad=False) if isinstance(t, nn.Parameter) else made


_DTYPE = re.compile(
    r"b(float)?16|expected scalar type|same dtype|dtype|not implemented for '|half precision|fp16|float16",
    re.IGNORECASE,
)
_DEVICE = re.compile(r"cuda|\bgpu\b|triton|nvidia|\bhip\b|\bxpu\b", re.IGNORECASE)
_META = re.compile(
    r"\bmeta\b|fake impl|fake tensor|data_ptr|no data|storage|get_ctx|numpy\(\)|could not run|not compiled with|"
    r"no kernel image|is not supported on|undefined symbol|not implemented for|\bbackend\b",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"(not|n't) (be )?(installed|imported|found in your environment)|(pip|please) install", re.IGNORECASE
)


def higher(twin: Twin, rung: Rung, error: BaseException, *, guessed: bool) -> Rung | None:
    """The next rung to try after an error, or None where the error is not the rung's fault.

    Args:
        guessed: whether values that the pass asked for were made up.
    """
    said = _said(error)
    tried = rung.tried | {rung.how}
    device = bool(_DEVICE.search(said)) and "cpu" not in said.lower()
    missing = isinstance(error, ImportError) or bool(_MISSING.search(said))
    unfaked = type(error).__module__.startswith("torch._subclasses")  # fake tensors have no kernel for it
    unable = device or missing or unfaked or bool(_META.search(said))
    at = _modules(twin.module, error)
    plain = next((m for m in reversed(at) if type(m) not in rung.answered and known_sizes(m) is not None), None)
    if _DTYPE.search(said) and "bf16" not in tried and rung.how == "meta":
        return replace(rung, how="bf16", tried=tried)
    if plain is not None and plain is at[-1] and (unable or _packed(plain)) and len(rung.answered) < _STAND_INS:
        return replace(rung, answered=rung.answered | {type(plain)}, tried=tried)
    if unable and not missing and "fake" not in tried:
        return replace(rung, how="fake", device="cuda" if device else "cpu", tried=tried)
    if (unable or guessed) and not device and not missing and "cpu" not in tried and fits(twin):
        return replace(rung, how="cpu", device="cpu", tried=tried)
    if not unable or not at or at[-1] is twin.module:
        return None
    if type(at[-1]) in rung.opaque or len(rung.opaque) >= _STAND_INS:
        return None
    return replace(rung, how="meta", device="meta", opaque=rung.opaque | {type(at[-1])}, tried=tried)


def _said(error: BaseException) -> str:
    """The error with the statement that raised it: a bare assertion says nothing else."""
    frames = traceback.extract_tb(error.__traceback__)
    line = (frames[-1].line or "") if frames and isinstance(error, AssertionError) else ""
    return f"{error} {line}"


def _modules(root: nn.Module, error: BaseException) -> list[nn.Module]:
    """The modules of the stand-in whose methods were running, outermost first."""
    own = {id(m) for m in root.modules()}
    found: list[nn.Module] = []
    at = error.__traceback__
    while at is not None:
        me = at.tb_frame.f_locals.get("self")
        if isinstance(me, nn.Module) and id(me) in own and (not found or found[-1] is not me):
            found.append(me)
        at = at.tb_next
    return found


def _packed(module: nn.Module) -> bool:
    """Whether a module of known sizes holds its weight in another form than one matrix of numbers."""
    tensors = [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
    return not any(t.dtype.is_floating_point and t.ndim > 1 for t in module._parameters.values() if t is not None) and (
        any(not t.dtype.is_floating_point for t in tensors) or not tensors
    )


def fits(twin: Twin) -> bool:
    """Whether the model is small enough to be made real."""
    if any(not p.dtype.is_floating_point for p in twin.parameters):
        return False  # packed weights, and kernels that trust what is in them
    size = 4 * sum(t.numel() for t in (*twin.module.parameters(), *twin.module.buffers()))
    if size > _SMALL:
        return False
    with suppress(OSError, ValueError, StopIteration), open("/proc/meminfo", encoding="ascii") as lines:
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        return free > 3 * size + _RESERVE
    return True


def answered(rung: Rung) -> tuple[str, ...]:
    """The classes that are not run on a rung, by name."""
    return tuple(sorted(c.__qualname__ for c in rung.answered | rung.opaque))


def answers_of(rung: Rung) -> dict[type, bool]:
    """The classes that are answered for; True for those that are tried first."""
    return {**dict.fromkeys(rung.answered, False), **dict.fromkeys(rung.opaque, True)}
