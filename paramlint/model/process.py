"""Builds a target in a worker process, and traces it there, under limits: whatever it does, the caller gets a
`Response` or one error.

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
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from paramlint.errors import ParamlintError
from paramlint.group import Proposal
from paramlint.layer_function import Answers
from paramlint.parameter import Inventory, Pass, Plain
from paramlint.serial import decode, encode
from paramlint.target import parse, parse_object

#: Python's own `-m` would look in the current folder first, for paramlint and for the standard library; this starts
#: the paramlint that asks. The worker adds the current folder later.
_START = (
    "import sys; sys.path[:] = [{home!r}, *filter(None, sys.path)]; import paramlint; del sys.path[0]; "
    "from {module} import main; main()"
)
_WORKER = "paramlint.model.worker"
_OUTPUT_KEPT = 64 * 1024
_OUTPUT_LINES = 20


@dataclass(frozen=True)
class Request:
    """What to build, and within what limits.

    `target` and `objects` are texts (`paramlint.target`); `kwargs` go to the target's callable, or over the fields of
    its configuration. `knowledge` are folders laid over `rules/`. With `trace` a stand-in of the model is run, on the
    object that `inputs` names, or on inputs that are found where it is "". `layers` names a function that gives the
    layer of a parameter's name, or is "". The optimizer of the profile `stand_in` is stood in for where it is not
    there, also if it is a file of the user's own. `timeout` is in seconds, for the build and again (but no more than
    `trace_timeout`) for the trace; `memory_limit` in bytes of data of the worker (torch itself takes about 200 MB).
    `show_output` passes what the target prints on to stderr.
    """

    target: str
    kwargs: Mapping[str, Plain] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    inputs: str = ""
    layers: str = ""
    stand_in: str = ""
    trace: bool = False
    timeout: float = 300.0
    trace_timeout: float = 60.0
    memory_limit: int | None = None
    allow_network: bool = False
    device: Literal["meta", "cpu"] = "meta"
    show_output: bool = False

    @property
    def trace_time(self) -> float:
        """Seconds until a trace is given up."""
        return min(self.timeout, self.trace_timeout)


@dataclass(frozen=True)
class Response:
    """The facts of the model (roles are not judged), the groups if any were named, and what else is worth saying.

    `apart` has the groups of each object on their own, in the order of the request; `proposal` all of them as one.
    """

    inventory: Inventory
    proposal: Proposal | None = None
    apart: tuple[Proposal, ...] = ()
    layers: Answers | None = None
    notes: tuple[str, ...] = ()


def run(request: Request, keeper: Keeper | None = None) -> Response:
    """Builds the target in a process of its own, or in one that is kept, and reads off it what there is to know.

    The worker answers when the model is built, and again when it is traced. A trace that ends the process, or does not
    end, costs no more than the second answer: the passes then say what became of it.

    Raises:
        ParamlintError: the target cannot be built, for whatever reason: bad text, exception, exit, crash, timeout; or
            the inputs that were named do not fit its forward.
    """
    target = parse(request.target)
    for text in (*request.objects, *filter(None, (request.inputs, request.layers))):
        parse_object(text, target)
    if keeper is not None:
        return _response(keeper.worker(request))
    with _Worker(request) as worker:
        return _response(worker)


def _response(worker: _Worker) -> Response:
    answer = worker.answer(worker.request.timeout)
    if answer is None:
        raise worker.death()
    data = json.loads(answer)
    if data.get("more"):
        answer = worker.answer(worker.request.trace_time)
        if answer is None:
            return _untraced(decode(Response, data["response"]), worker.end_of_trace())
        data = json.loads(answer)
    if "error" in data:
        raise _told(data["error"], worker)
    worker.waits = data["waits"]
    return decode(Response, data["response"])


class Keeper:
    """Holds the worker of a request for the next one, in a context. What the worker imported is there already, and the
    target is built anew.

    Only a request that came back in order leaves its worker to the next, and only one for the same target under the
    same limits gets it: any other has a process of its own.
    """

    def __init__(self) -> None:
        self.again = False  #: Whether the last request went to a worker that had answered one before.
        self._worker: _Worker | None = None
        self._held = ExitStack()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def worker(self, request: Request) -> _Worker:
        """One that the request was sent to."""
        self.again = self._worker is not None and self._worker.takes(request)
        if self._worker is None or not self.again:
            self.end()
            self._worker = self._held.enter_context(_Worker(request))
        return self._worker

    def end(self) -> None:
        """Kills the worker, if there is one: the next request gets another."""
        self._worker = None
        self._held.close()


def ask(request: Request, module: str, payload: object) -> Any:
    """What the `main` of another worker module answers, under the limits of a request.

    Args:
        module: its `main` reads a JSON value from stdin and answers with `paramlint.model.worker.serve`.
        payload: what is sent to it.

    Raises:
        ParamlintError: the worker answers with an error, crashes, or does not answer in time.
    """
    with _Worker(request, module, payload) as worker:
        answer = worker.answer(request.timeout)
        if answer is None:
            error = worker.death()
            if worker.timed_out:
                error.hint = "raise --timeout, or give --kwargs that make the model smaller"
            raise error
        data = json.loads(answer)
        if "error" in data:
            raise _told(data["error"], worker)
    return data["response"]


def _told(said: dict[str, str], worker: _Worker) -> ParamlintError:
    error = ParamlintError(**said)
    if error.traceback:
        error.traceback += worker.last_lines()
    return error


def _untraced(response: Response, why: str) -> Response:
    return replace(response, inventory=replace(response.inventory, passes=(Pass("", stopped=why),)))


class _Worker:
    """The process. Leaving the context kills it with everything that it started in its process group.

    It `waits` where it has answered, and is fit for another request.
    """

    def __init__(self, request: Request, module: str = _WORKER, payload: object = None) -> None:
        self.request, self.output, self.received = request, bytearray(), bytearray()
        self.module, self.payload = module, encode(request) if payload is None else payload
        self.timed_out = self.waits = False

    def __enter__(self) -> _Worker:
        home = str(Path(__file__).resolve().parents[2])
        self.pipe, theirs = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-c", _START.format(home=home, module=self.module), str(theirs)],
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
        self._send(self.payload)  # where it died already, that is seen when it is asked for an answer
        return self

    def takes(self, request: Request) -> bool:
        """Sends another request, if the worker waits for one and was set up as that one wants it."""
        ended = self.process.poll() is not None
        if ended or not self.waits or _set_up(request) != _set_up(self.request):
            return False
        self._rest_of_output()
        self.request, self.waits = request, False
        return self._send(encode(request))

    def _send(self, payload: object) -> bool:
        assert self.process.stdin
        data = json.dumps(payload).encode()
        try:
            self.process.stdin.write(len(data).to_bytes(8, "big") + data)
            self.process.stdin.flush()
        except OSError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.pipe)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()

    def answer(self, seconds: float) -> bytes | None:
        """The next answer, or None when the worker ended or ran out of time without sending all of it.

        The end is not the pipe's: a child of the target may hold that open. A length goes first, and the process is
        looked at ten times a second.
        """
        assert self.process.stdout
        deadline, out = time.monotonic() + seconds, self.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(self.pipe, selectors.EVENT_READ)
            selector.register(out, selectors.EVENT_READ)
            while True:
                length = 8 + int.from_bytes(self.received[:8], "big")
                if len(self.received) >= max(8, length):
                    whole = bytes(self.received[8:length])
                    del self.received[:length]
                    return whole
                left = deadline - time.monotonic()
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
                        self.received += chunk
                if ended and not ready:
                    return None

    def death(self) -> ParamlintError:
        """Why there is no model."""
        code, at = self.process.returncode, self._place()
        hint = ""
        if self.timed_out:
            message = f"did not finish within {self.request.timeout:g} s" + (f", and was{at}" if at else "")
            hint = "name a function that only builds the model, or raise --timeout"
        elif code < 0:
            message = f"the process that built it {_killed(code)}{at}"
            hint = "" if at else self._in_the_way()
            if code == -signal.SIGKILL:
                hint = "often the system does that for lack of memory"
        else:
            message = f"ended the process with exit code {code} before there was a model"
            hint = "something calls os._exit, or replaces the process"
        if self.request.memory_limit:
            hint += f"; or the memory limit of {shown_size(self.request.memory_limit)} is too low"
        text = self.last_lines(4 * _OUTPUT_LINES).lstrip("\n")
        return ParamlintError(message, where=self.request.target, hint=hint.lstrip("; "), traceback=text)

    def end_of_trace(self) -> str:
        """Why there is a model, and no trace."""
        code, at = self.process.returncode, self._place()
        if self.timed_out:
            return f"did not finish within {self.request.trace_time:g} s" + (f", and was{at}" if at else "")
        if code < 0:
            return f"the process that ran it {_killed(code)}{at}"
        return f"it ended the process with exit code {code}"

    def _place(self) -> str:
        """` at m.py:4 in f`, where a stack was printed."""
        place = _fault(self.last_lines(1000))
        return f" at {place}" if place else ""

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

    def _rest_of_output(self) -> None:
        """What was printed up to here is no output of the next request."""
        assert self.process.stdout
        out = self.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            if selector.select(0):
                self._printed(os.read(out, 1 << 16))
        self.output.clear()

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


def _set_up(request: Request) -> tuple[object, ...]:
    """What a worker does once, however many requests come to it."""
    return request.target, request.allow_network, request.memory_limit


def _killed(code: int) -> str:
    """`crashed (SIGSEGV)`, of a negative exit code."""
    named = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
    return f"was killed ({named})" if code == -signal.SIGKILL else f"crashed ({named})"


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


def shown_size(size: int) -> str:
    """A number of bytes as a limit is given: `300 MB`, `2 GiB`."""
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 1e6:.3g} MB"
