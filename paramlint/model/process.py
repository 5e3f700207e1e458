"""Builds a target in a worker process, under limits: whatever it does, the caller gets a `Response` or one error.

Nothing here imports torch. The answer comes through a pipe of its own; what the target prints is caught.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from paramlint.errors import ParamlintError
from paramlint.group import Proposal
from paramlint.parameter import Inventory, Plain
from paramlint.serial import decode, encode
from paramlint.target import parse, parse_object

#: Python's own `-m` would look in the current folder first, for paramlint and for the standard library; this starts
#: the paramlint that asks. The worker adds the current folder later.
_START = (
    "import sys; sys.path[:] = [{home!r}, *filter(None, sys.path)]; import paramlint; del sys.path[0]; "
    "from paramlint.model.worker import main; main()"
)
_OUTPUT_KEPT = 64 * 1024
_OUTPUT_LINES = 20


@dataclass(frozen=True)
class Request:
    """What to build, and within what limits.

    `target` and `objects` are texts (`paramlint.target`); `kwargs` go to the target's callable, or over the fields of
    its configuration. `knowledge` are folders laid over `rules/`. `timeout` is in seconds, `memory_limit` in bytes of
    data of the worker (torch itself takes about 200 MB). `show_output` passes what the target prints on to stderr.
    """

    target: str
    kwargs: Mapping[str, Plain] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    timeout: float = 300.0
    memory_limit: int | None = None
    allow_network: bool = False
    device: Literal["meta", "cpu"] = "meta"
    show_output: bool = False


@dataclass(frozen=True)
class Response:
    """The facts of the model (roles are not judged), the groups if any were named, and what else is worth saying."""

    inventory: Inventory
    proposal: Proposal | None = None
    notes: tuple[str, ...] = ()


def run(request: Request) -> Response:
    """Builds the target in a process of its own and reads off it what there is to know.

    Raises:
        ParamlintError: the target cannot be built, for whatever reason: bad text, exception, exit, crash, timeout.
    """
    target = parse(request.target)
    for text in request.objects:
        parse_object(text, target)
    with _Worker(request) as worker:
        answer = worker.answer()
    if answer is None:
        raise worker.death()
    data = json.loads(answer)
    if "error" in data:
        error = ParamlintError(**data["error"])
        if error.traceback:
            error.traceback += worker.last_lines()
        raise error
    return decode(Response, data["response"])


class _Worker:
    """The process. Leaving the context kills it with everything that it started in its process group."""

    def __init__(self, request: Request) -> None:
        self.request, self.output, self.timed_out = request, bytearray(), False
        self.deadline = time.monotonic() + request.timeout

    def __enter__(self) -> _Worker:
        home = str(Path(__file__).resolve().parents[2])
        self.pipe, theirs = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-c", _START.format(home=home), str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self.pipe)
            raise
        finally:
            os.close(theirs)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.pipe)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()

    def answer(self) -> bytes | None:
        """The bytes that the worker sent, or None when it ended or ran out of time without sending all of them.

        The end is not the pipe's: a child of the target may hold that open. A length goes first, and the process is
        looked at ten times a second.
        """
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(encode(self.request)).encode())
            self.process.stdin.close()
        except OSError:
            pass  # it died already: seen below
        received, out = bytearray(), self.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(self.pipe, selectors.EVENT_READ)
            selector.register(out, selectors.EVENT_READ)
            while True:
                left = self.deadline - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    self._ask_where(selector, out)
                    return None
                ended = self.process.poll() is not None
                ready = selector.select(0 if ended else min(left, 0.1))
                for key, _ in ready:
                    chunk = os.read(key.fd, 1 << 16)
                    if not chunk:
                        selector.unregister(key.fd)
                    elif key.fd == out:
                        self._printed(chunk)
                    else:
                        received += chunk
                if len(received) >= 8 and len(received) >= 8 + int.from_bytes(received[:8], "big"):
                    return bytes(received[8:])
                if ended and not ready:
                    return None

    def death(self) -> ParamlintError:
        """Why there is no answer."""
        code = self.process.returncode
        place = _fault(self.last_lines(1000))
        at = f" at {place}" if place else ""
        hint = ""
        if self.timed_out:
            message = f"did not finish within {self.request.timeout:g} s" + (f", and was{at}" if at else "")
            hint = "name a function that only builds the model, or raise --timeout"
        elif code == -signal.SIGKILL:
            message = f"the process that built it was killed (SIGKILL){at}"
            hint = "often the system does that for lack of memory"
        elif code < 0:
            named = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
            message = f"the process that built it crashed ({named}){at}"
            hint = "" if at else self._in_the_way()
        else:
            message = f"ended the process with exit code {code} before there was a model"
            hint = "something calls os._exit, or replaces the process"
        if self.request.memory_limit:
            hint += f"; or the memory limit of {self.request.memory_limit / 2**30:.3g} GiB is too low"
        text = self.last_lines(4 * _OUTPUT_LINES).lstrip("\n")
        return ParamlintError(message, where=self.request.target, hint=hint.lstrip("; "), traceback=text)

    def _in_the_way(self) -> str:
        """torch crashes where its own import of a library finds a file of the user instead."""
        target = parse(self.request.target)
        for folder in (Path(), Path(target.source).parent if target.is_file else Path()):
            for path in (folder / "torch.py", folder / "numpy.py"):
                if path.is_file():
                    return f"{path} hides the installed {path.stem!r}: give it another name"
        return ""

    def last_lines(self, count: int = _OUTPUT_LINES) -> str:
        """The end of what the target printed, under a line that says so; '' where it printed nothing."""
        lines = self.output.decode(errors="replace").rstrip().splitlines()[-count:]
        return "\n".join(["", "Output of the target:", *(f"  {line}" for line in lines), ""]) if lines else ""

    def _printed(self, chunk: bytes) -> None:
        self.output += chunk
        del self.output[:-_OUTPUT_KEPT]
        if self.request.show_output:
            sys.stderr.write(chunk.decode(errors="replace"))

    def _ask_where(self, selector: selectors.BaseSelector, out: int) -> None:
        """SIGUSR1 makes the worker's faulthandler print its stack, even while C code holds it."""
        del self.output[: -_OUTPUT_KEPT // 2]
        try:
            os.kill(self.process.pid, signal.SIGUSR1)
        except ProcessLookupError:
            return
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            for key, _ in selector.select(0.05):
                chunk = os.read(key.fd, 1 << 16)
                if key.fd == out:
                    self._printed(chunk)
                if not chunk:
                    return


def _fault(text: str) -> str:
    """The innermost place in the user's files in a stack printed by faulthandler, as `path:line in function`."""
    stack = text.rpartition("most recent call first")[2]
    library = re.compile(r"site-packages|dist-packages|/lib/python3|<frozen|^<string>$|/paramlint/model/")
    for path, line, function in re.findall(r'File "([^"]+)", line (\d+) in (.+)', stack):
        if not library.search(path):
            return f"{relative(path)}:{line} in {function}"
    return ""


def relative(path: str | Path) -> str:
    """A path as it is shown: from the current folder when it lies below it."""
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
