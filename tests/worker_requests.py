"""How tests ask a worker for a model, and for the error of one that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from paramlint.errors import ParamlintError
from paramlint.model.process import Request, Response, run

ROOT = str(Path(__file__).parents[1])
TARGETS = Path(__file__).parent / "data" / "targets"


def fails(target: str, **fields) -> ParamlintError:
    with pytest.raises(ParamlintError) as caught:
        run(Request(target, **fields))
    assert "\n" not in str(caught.value)
    return caught.value


def parameters(response: Response) -> dict[str, tuple[int, ...]]:
    return {p.name: p.shape for p in response.inventory.parameters}
