"""`--output-file` is written whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from paramlint.cli import output_file
from paramlint.cli.main import cli
from paramlint.errors import ParamlintError

posix = pytest.mark.skipif(sys.platform == "win32", reason="file modes and links of POSIX")


def test_what_was_there_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    for said in ("first, the longer one ×", "second"):
        output_file.write(path, said)
        assert path.read_text(encoding="utf-8") == said
    assert os.listdir(tmp_path) == ["out.txt"]


@posix
def test_mode_and_link_stay(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "real.txt").chmod(0o640)
    (tmp_path / "link.txt").symlink_to("real.txt")
    output_file.write(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    assert (tmp_path / "real.txt").stat().st_mode & 0o777 == 0o640


@posix
def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    output_file.write(tmp_path / "new.txt", "")
    assert (tmp_path / "new.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ParamlintError, match=r"out\.txt: No space left on device"):
        output_file.write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_text_that_utf_8_lacks_is_no_fault(tmp_path: Path) -> None:
    output_file.write(tmp_path / "out.txt", "a\ud800b")
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == r"a\ud800b"


@pytest.mark.parametrize(
    ("path", "said"),
    [("none/out.txt", "No such file or directory"), ("file/out.txt", "Not a directory"), (".", "Is a directory")],
)
@pytest.mark.parametrize("command", ["params", "check"])
def test_a_place_that_cannot_be_is_told_before_the_work(
    command: str, path: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model was built for nothing")

    monkeypatch.setattr("paramlint.cli.jobs.analyse", never)
    result = CliRunner().invoke(cli, [command, "train.py:build", "--output-file", path])
    assert result.exit_code == 2
    assert said.lower() in result.stderr.lower()
    assert result.stdout == ""


def test_a_file_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # modes do not hold back the superuser
    with pytest.raises(ParamlintError, match="Permission denied"):
        output_file.check(tmp_path / "out.txt")
