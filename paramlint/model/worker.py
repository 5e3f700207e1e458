"""The process in which somebody else's code runs: requests on stdin, answers through the pipe given by number.

Where a trace is asked for there are two: what the build says, before anything of the forward runs, then all of it.
Another request may come after the last answer.
"""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from paramlint.errors import ParamlintError
from paramlint.group import OptimizerUse, Proposal
from paramlint.layer_function import Answers, ask
from paramlint.model import guard, importing, torchvision_ops
from paramlint.model.failure import explain, needs_values
from paramlint.model.process import Request, Response
from paramlint.parameter import Inventory, Pass
from paramlint.serial import decode, encode
from paramlint.target import Target, parse, parse_object

if TYPE_CHECKING:
    from paramlint.model.inputs.example import Example
    from paramlint.model.load import Built


#: Whether an alarm broke into a forward. What it was at may be half done: the process is fit for no other request.
_broken_into = False


def main() -> None:
    """Builds, reads and traces, as the requests on stdin say."""

    def answers(request: Request, data: Any, attempts: list[str]) -> Iterator[dict[str, Any]]:
        for number, response in enumerate(work(request, attempts)):
            more = request.trace and not number
            yield {"response": encode(response), "more": more, "waits": not more and not _broken_into}

    serve(_request, answers)


def _request(data: Any) -> Request:
    return replace(decode(Request, data), kwargs=data.get("kwargs", {}))  # with lists, as they were written


def serve(
    request_of: Callable[[Any], Request], answers: Callable[[Request, Any, list[str]], Iterator[dict[str, Any]]]
) -> None:
    """Answers one request after the other, until stdin is closed or one fails, and ends without a word to atexit
    handlers, threads or finalizers of the target.

    Args:
        request_of: the request in a JSON value that came on stdin.
        answers: what is sent back for it, that value, and the list that hosts of refused attempts are added to. What
            it raises is the last answer, under "error".
    """
    pipe, me, home = int(sys.argv[1]), os.getpid(), ""
    os.set_inheritable(pipe, False)
    guard.end_with_parent()
    guard.crash_reports()
    asked = os.fdopen(os.dup(0), "rb")  # for nobody else: the target and its children have no stdin
    first = data = _received(asked)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    attempts: list[str] = []

    def say(answer: dict[str, Any]) -> None:
        if os.getpid() == me:  # else a fork of the target came back from its code
            _send(pipe, json.dumps(answer).encode())

    while data is not None:
        request = request_of(data)
        try:
            if data is first:
                home = os.getcwd()
                _prepare(request)
                attempts = [] if request.allow_network else guard.block_network()
            else:
                os.chdir(home)
                attempts.clear()
                gc.collect()  # the model before, which may be as large as the memory limit
            for answer in answers(request, data, attempts):
                say(answer)
        except BaseException as error:
            guard.lift_memory_limit()
            failure = explain(error, request.target, attempts=attempts, memory_limit=request.memory_limit)
            said = {"message": failure.message, "where": failure.where, "hint": failure.hint}
            say({"error": {**said, "traceback": failure.traceback}})
            break
        if os.getpid() != me:
            break
        data = _received(asked)
    os._exit(0)


def _received(stream: BinaryIO) -> Any:
    """The next request as it was sent; None where there is none any more."""
    length = stream.read(8)
    return json.loads(stream.read(int.from_bytes(length, "big"))) if len(length) == 8 else None


def _prepare(request: Request) -> None:
    guard.environment(request.allow_network)
    guard.limit_memory(request.memory_limit)
    torchvision_ops.install()
    sys.path.insert(0, os.getcwd())
    sys.argv[:] = [request.target]


def _send(pipe: int, payload: bytes) -> None:
    payload = len(payload).to_bytes(8, "big") + payload
    while payload:
        payload = payload[os.write(pipe, payload) :]


def work(request: Request, attempts: list[str]) -> Iterator[Response]:
    """Builds the target, reads its facts, and the groups that are named with it. Where a trace is asked for, the same
    comes once more, with what a stand-in of the model did: the model itself is as it was built when groups are read.

    `attempts` collects the hosts that the target tried to reach.
    """
    target = parse(request.target)
    objects = [parse_object(text, target) for text in request.objects]
    with _recording(target, objects, request):
        from paramlint.model import load

        built = load.build(target, request.kwargs, request.device)
        try:
            response = _read(request, built, objects)
        except Exception as error:
            if built.built_on == "cpu" or not needs_values(error):
                raise
            built = load.build(target, request.kwargs, "cpu")
            response = _read(request, built, objects)
        notes = tuple(f"tried the network ({host}), which is off" for host in attempts)
        asked = _layers(request.layers, target, response.inventory) if request.layers else None
        response = replace(response, notes=(*response.notes, *notes), layers=asked)
        yield response
        if request.trace:
            yield replace(response, inventory=_traced(request, target, built, response.inventory))


def _traced(request: Request, target: Target, built: Built, inventory: Inventory) -> Inventory:
    """The inventory with uses. Whatever fails, but inputs that were named, is a pass that stopped.

    Raises:
        ParamlintError: inputs that cannot be had, or that the forward does not take.
    """
    inputs = _inputs(request.inputs, target, built) if request.inputs else None
    patience, longest = request.trace_time / 2, request.trace_time * 0.75
    try:
        from paramlint.model.trace.found import traced

        with _ending(longest):
            return traced(built.model, inventory, inputs, patience)
    except ParamlintError as error:
        error.where = f"--inputs {request.inputs}"
        raise
    except BaseException as error:
        return replace(inventory, passes=(Pass("", stopped=explain(error, "").message),))


def _layers(text: str, target: Target, inventory: Inventory) -> Answers:
    """What the function that gives layers says of every parameter.

    Raises:
        ParamlintError: there is no such function, or it fails.
    """
    found = parse_object(text, target)
    try:
        thing = importing.take(importing.load(importing.locate(found)), found)
    except Exception as error:
        raise explain(error, f"--layers {text}") from error
    if not callable(thing):
        raise ParamlintError("is no function of a parameter's name", where=f"--layers {text}")
    return ask([p.name for p in inventory.parameters], thing, text)


def _inputs(text: str, target: Target, built: Built) -> Example:
    """What the object that gives inputs gives.

    Raises:
        ParamlintError: there is no such object, it fails, or what it gives are no inputs.
    """
    from paramlint.model.inputs.given import example
    from paramlint.model.meta import building

    found = parse_object(text, target)
    try:
        thing = importing.take(importing.load(importing.locate(found)), found)
        with building("cpu"):
            return example(thing, built.model)
    except Exception as error:
        raise explain(error, f"--inputs {text}") from error


@contextmanager
def _ending(seconds: float) -> Iterator[None]:
    """A forward that goes round in circles gets an error where it is: what it did until then is kept."""

    def late(*_: object) -> None:
        global _broken_into
        _broken_into = True
        raise TimeoutError(f"no end after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


@contextmanager
def _recording(target: Target, objects: list[Target], request: Request) -> Iterator[None]:
    """Optimizers that are not installed are stood in for, and those that are built noted, from the first import on.

    That needs torch: it is left out while nothing else could load it either.
    """
    found = [importing.locate(t) for t in (target, *objects) if t.kind == "python"]
    if not objects and all(importing.only_standard_library(f) for f in found):
        yield
        return
    from paramlint.model.load import require_torch

    require_torch(target.text)
    from paramlint.knowledge import load
    from paramlint.model.recorder import standing_in
    from paramlint.model.trace.eager import unaided

    profiles = load(Path(k) for k in request.knowledge).profiles
    if request.stand_in:
        profiles = {**profiles, request.stand_in: replace(profiles[request.stand_in], install="a file")}
    with unaided(), standing_in(profiles):
        yield


def _read(request: Request, built: Built, objects: list[Target]) -> Response:
    from paramlint.model import facts

    inventory = facts.inventory(built.model, location=built.location, built_on=built.built_on, notes=built.notes)
    proposals = [_proposal(t, built, inventory, request.knowledge) for t in objects]
    return Response(inventory, _joined(proposals) if proposals else None, tuple(proposals))


def _proposal(target: Target, built: Built, inventory: Inventory, knowledge: tuple[str, ...]) -> Proposal:
    """The groups that an object is, or that a function makes of the model, built where the model is."""
    from paramlint.knowledge import load
    from paramlint.model import groups
    from paramlint.model.load import place
    from paramlint.model.meta import building

    profiles = load(Path(k) for k in knowledge).profiles
    try:
        thing = importing.take(importing.load(importing.locate(target)), target)
        with building(built.built_on):
            proposal = groups.read(thing, built.model, inventory, profiles, place(thing))
    except ParamlintError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, ParamlintError):
            raise explain(error.__cause__, target.text) from error.__cause__
        error.where = error.where or target.text
        raise
    except Exception as error:
        raise explain(error, target.text) from error
    return proposal


def _joined(proposals: list[Proposal]) -> Proposal:
    """One proposal of several, in their order; labels are told apart anew."""
    count: Counter[str] = Counter()
    uses: list[OptimizerUse] = []
    for use in (use for p in proposals for use in p.optimizers):
        label = re.sub(r" #\d+$", "", use.label)
        count[label] += 1
        uses.append(replace(use, label=label if count[label] == 1 else f"{label} #{count[label]}"))
    return Proposal(
        optimizers=tuple(uses),
        source="live" if any(p.source == "live" for p in proposals) else proposals[0].source,
        location=next((p.location for p in proposals if p.location), None),
        notes=tuple(dict.fromkeys(note for p in proposals for note in p.notes)),
    )
