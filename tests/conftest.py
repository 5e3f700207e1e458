"""Fixtures of several test files."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module `m.py` into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "m.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
