"""The process in which somebody else's code runs: a request on stdin, one answer through the pipe given by number."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paramlint.errors import ParamlintError
from paramlint.group import OptimizerUse, Proposal
from paramlint.model import guard, importing, torchvision_ops
from paramlint.model.failure import explain, needs_values
from paramlint.model.process import Request, Response
from paramlint.parameter import Inventory
from paramlint.serial import decode, encode
from paramlint.target import Target, parse, parse_object

if TYPE_CHECKING:
    from paramlint.model.load import Built


def main() -> None:
    """Answers, and ends without a word to atexit handlers, threads or finalizers of the target."""
    pipe, me = int(sys.argv[1]), os.getpid()
    os.set_inheritable(pipe, False)
    guard.end_with_parent()
    guard.crash_reports()
    data = json.loads(sys.stdin.buffer.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    request = replace(decode(Request, data), kwargs=data.get("kwargs", {}))  # with lists, as they were written
    attempts: list[str] = []
    try:
        _prepare(request)
        attempts = [] if request.allow_network else guard.block_network()
        response = work(request, attempts)
        answer: dict[str, Any] = {"response": encode(response)}
    except BaseException as error:
        guard.lift_memory_limit()
        failure = explain(error, request.target, attempts=attempts, memory_limit=request.memory_limit)
        answer = {
            "error": {
                "message": failure.message,
                "where": failure.where,
                "hint": failure.hint,
                "traceback": failure.traceback,
            }
        }
    if os.getpid() == me:  # else a fork of the target came back from its code
        _send(pipe, json.dumps(answer).encode())
    os._exit(0)


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


def work(request: Request, attempts: list[str]) -> Response:
    """Builds the target, reads its facts, and the groups that are named with it.

    `attempts` collects the hosts that the target tried to reach.
    """
    target = parse(request.target)
    objects = [parse_object(text, target) for text in request.objects]
    with _recording(target, objects, request.knowledge):
        from paramlint.model import load

        built = load.build(target, request.kwargs, request.device)
        try:
            response = _read(request, built, objects)
        except Exception as error:
            if built.built_on == "cpu" or not needs_values(error):
                raise
            response = _read(request, load.build(target, request.kwargs, "cpu"), objects)
    notes = tuple(f"tried the network ({host}), which is off" for host in attempts)
    return Response(response.inventory, response.proposal, (*response.notes, *notes))


def _recording(target: Target, objects: list[Target], knowledge: tuple[str, ...]) -> AbstractContextManager[object]:
    """Optimizers that are not installed are stood in for, and those that are built noted, from the first import on.

    That needs torch: it is left out while nothing else could load it either.
    """
    found = [importing.locate(t) for t in (target, *objects) if t.kind == "python"]
    if not objects and all(importing.only_standard_library(f) for f in found):
        return nullcontext()
    from paramlint.model.load import require_torch

    require_torch(target.text)
    from paramlint.knowledge import load
    from paramlint.model.recorder import standing_in

    return standing_in(load(Path(k) for k in knowledge).profiles)


def _read(request: Request, built: Built, objects: list[Target]) -> Response:
    from paramlint.model import facts

    inventory = facts.inventory(built.model, location=built.location, built_on=built.built_on, notes=built.notes)
    proposals = [_proposal(t, built, inventory, request.knowledge) for t in objects]
    return Response(inventory, _joined(proposals) if proposals else None)


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
