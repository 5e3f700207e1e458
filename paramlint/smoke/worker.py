"""The process in which a smoke step is made: a request on stdin, one answer through the pipe given by number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from paramlint.model.process import Request
from paramlint.model.worker import serve
from paramlint.serial import decode, encode
from paramlint.smoke.process import SmokeRequest


def main() -> None:
    def answers(request: Request, data: Any, attempts: list[str]) -> Iterator[dict[str, Any]]:
        from paramlint.smoke.run import smoke

        yield {"response": encode(smoke(replace(_smoke(data), build=request)))}

    serve(lambda data: replace(_smoke(data).build, kwargs=data["kwargs"]), answers)


def _smoke(data: Any) -> SmokeRequest:
    return decode(SmokeRequest, data["smoke"])
