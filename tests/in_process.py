"""Requests that the tests' own process answers, where a test is not about the worker: torch is imported already."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any
from unittest.mock import patch

from paramlint.model import importing, process, torchvision_ops, worker
from paramlint.model.failure import explain
from paramlint.model.process import Keeper, Request, Response
from paramlint.serial import decode, encode
from paramlint.target import parse, parse_object


def run(request: Request, keeper: Keeper | None = None) -> Response:
    """What a worker would answer last. The files of the target are imported anew; what they print goes nowhere."""
    for text in (*request.objects, *filter(None, (request.inputs, request.layers))):
        parse_object(text, parse(request.target))
    path = list(sys.path)
    torchvision_ops.install()
    sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nor would those of the target come through
            *_, response = worker.work(worker._request(_sent(request)), [])
    except (Exception, SystemExit) as error:
        raise explain(error, request.target) from error
    finally:
        sys.path[:] = path
        for name in importing._ours.values():
            sys.modules.pop(name, None)
        importing._ours.clear()
        importing._trees.clear()
    return decode(Response, _sent(response))


def _sent(value: object) -> Any:
    return json.loads(json.dumps(encode(value)))


@contextmanager
def in_process() -> Iterator[None]:
    """Commands build and trace in this process."""
    with patch.object(process, "run", run):
        yield
