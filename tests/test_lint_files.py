"""Files as they come: whatever one holds, a finding or one clear line, and never a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lint_rules import flags
from rule_pages import read as read_page

from paramlint.cli.main import cli
from paramlint.registry import rules_dir
from paramlint.source.discovery import LeftOut, Patterns, in_folder
from paramlint.source.reading import concerns

posix = pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("paramlint.linting.RULE_SETS", (flags,))
    return tmp_path


def check(*arguments: str, data: bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, ["check", "--output-format", "concise", *arguments], input=data)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def write(path: str, data: str | bytes = "import torch.optim\n") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data if isinstance(data, bytes) else data.encode())


# What files hold


SILENT: dict[str, bytes] = {
    "empty": b"",
    "a byte order mark": b"\xef\xbb\xbfimport torch.optim\n",
    "CRLF": b"import torch.optim\r\nx = 1\r\n",
    "CR": b"import torch.optim\rx = 1\r",
    "no end of the last line": b"import torch.optim",
    "Latin-1, declared": "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"),
    "a form feed": b"import torch.optim\n\x0c\nx = 1\n",
    "an escape that Python warns of": b"import torch.optim\nx = '\\d'\n",
    "100 attributes in a row": b"import torch.optim\nx = torch" + b".a" * 100 + b"\n",
}


@pytest.mark.parametrize("what", SILENT)
def test_read_and_silent(what: str) -> None:
    write("train.py", SILENT[what])
    result = check("train.py")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "All checks passed: 1 file\n"


#: What the file holds, the exit code, and how the line on stdout begins.
BROKEN: dict[str, tuple[bytes, int, str]] = {
    "a syntax error": (b"x = 1\ndef f(:\n", 1, "train.py:2:7: PML001 not Python: invalid syntax"),
    "wrong indentation": (b"if x:\npass\n", 1, "train.py:2:1: PML001 not Python: expected an indented block"),
    "a bracket never closed": (b"x = (\n", 1, "train.py:1:5: PML001 not Python: '(' was never closed"),
    "Python 2": (b"print 'a'\n", 1, "train.py:1:1: PML001 not Python: Missing parentheses"),
    "a zero byte": (b"x = 1\ny = '\0'\n", 1, "train.py:2:1: PML001 not text: there is a zero byte in it"),
    "an object file": (b"\x7fELF\x02\x01\x01\0\0\0", 1, "train.py:1:1: PML001 not text"),
    "UTF-16": ("x = 1\n".encode("utf-16"), 1, "train.py:1:1: PML001 not text"),
    "not UTF-8": (b"x = 1\ny = '\xe9'\n", 1, "train.py:2:1: PML001 not utf-8: byte 0xe9"),
    "an unknown encoding": (b"# coding: klingon\n", 1, "train.py:1:1: PML001 unknown encoding"),
    "an encoding of something else": (b"# coding: hex\nx = 1\n", 1, "train.py:1:1: PML001 its encoding, hex, cannot"),
    "10,000 brackets": (b"x = " + b"(" * 10_000 + b")" * 10_000 + b"\n", 1, "train.py:1:"),
    "10,000 signs": (b"x = " + b"-" * 10_000 + b"1\n", 1, "train.py:1:"),
    "more than 5 MB": (b"x = 1\n" * 900_000, 0, "train.py:1:1: PML001 not read: it holds more than 5 MB"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_in_one_clear_line(what: str) -> None:
    data, exit_code, said = BROKEN[what]
    write("train.py", data)
    result = check("train.py")
    assert result.stdout.startswith(said), result.stdout
    assert "Traceback" not in result.output
    assert (result.exit_code, result.stderr) == (exit_code, "")
    assert len(result.stdout.splitlines()) == 2  # the finding and the summary


def test_what_some_versions_of_python_parse_and_some_do_not() -> None:
    write("train.py", b"import torch.optim\nf" + b"()" * 10_000 + b"\n")
    result = check("train.py")
    assert (result.exit_code, result.stderr) in ((0, ""), (1, ""))
    assert result.exit_code == 0 or result.stdout.startswith("train.py:1:1: PML001 not read: nested too deeply")


def test_rules_that_cannot_walk_a_deep_tree_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def deep(*_: object) -> list[object]:
        return deep(*_)

    monkeypatch.setattr("paramlint.linting.RULE_SETS", (deep,))
    write("train.py")
    result = check("train.py")
    assert result.exit_code == 0
    assert result.stdout.startswith("train.py:1:1: PML001 not read: nested too deeply\n")


def test_a_fault_in_one_file_keeps_nobody_from_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def rules(tree: object, text: str, path: str, *_: object) -> object:
        if path == "a.py":
            raise KeyError("x")
        return flags(tree, text, path, *_)  # type: ignore[arg-type]

    monkeypatch.setattr("paramlint.linting.RULE_SETS", (rules,))
    for name in ("a.py", "b.py"):
        write(name, 'import torch.optim\nflag("PML607")\n')
    result = check("a.py", "b.py")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: a.py: internal error: KeyError: 'x'; run with --traceback")
    assert "b.py:2:1: PML607" in result.stdout


def test_the_limit_is_the_projects() -> None:
    write("paramlint.toml", 'max-file-size = "10 kB"')
    write("train.py", "x = 1\n" * 2000)
    assert "holds more than 0.01 MB" in check("train.py").stdout


@pytest.mark.parametrize("name", ["none.py", "none/", "none/train.py"])
def test_what_is_not_there_is_two_and_one_line(name: str) -> None:
    write("train.py", 'flag("PML607")  # torch.optim')
    result = check(name, "train.py")
    assert result.exit_code == 2
    assert result.stderr == f"error: {name.rstrip('/')}: no such file or directory\n"
    assert "train.py:1:1: PML607" in result.stdout


@posix
def test_links_that_lead_nowhere() -> None:
    os.symlink("gone.py", "dangling.py")
    os.symlink("b.py", "a.py")
    os.symlink("a.py", "b.py")
    write("train.py")
    assert check(".").stdout == "All checks passed: 1 file\n"
    result = check("dangling.py", "a.py")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: dangling.py: no such file or directory",
        "error: a.py: too many levels of symbolic links",
    ]


@posix
def test_folders_that_lead_back_to_themselves() -> None:
    write("src/train.py")
    os.symlink("..", "src/again")
    assert check("src").stdout == "All checks passed: 1 file\n"


def failing(error: OSError) -> Callable[..., bytes]:
    def read(path: str, limit: int) -> bytes:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory"), "no such file or directory"),
        (PermissionError(13, "Permission denied"), "permission denied"),
        (IsADirectoryError(21, "Is a directory"), "is a directory"),
    ],
)
def test_a_file_that_vanishes_or_may_not_be_read(error: OSError, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("train.py")
    monkeypatch.setattr("paramlint.cli.sources._read", failing(error))
    result = check(".")
    assert (result.exit_code, result.stderr, result.stdout) == (2, f"error: train.py: {said}\n", "")


def test_a_device_that_never_ends() -> None:
    if not os.path.exists("/dev/zero"):
        pytest.skip("no such device here")
    assert "PML001 not read: it holds more than 5 MB" in check("/dev/zero").stdout


# Which files


def tree(*paths: str) -> None:
    for path in paths:
        write(path)


def found(folder: str = ".", left_out: LeftOut | None = None) -> list[str]:
    return [path.replace(os.sep, "/") for path in in_folder(folder, left_out or LeftOut())]


SKIPPED = (
    *(".git/hooks/a.py", ".venv/lib/a.py", "venv/a.py", "node_modules/a.py", "__pycache__/a.py", "build/a.py"),
    *("dist/a.py", ".tox/a.py", "deep/.cache/a.py", "deep/site-packages/a.py"),
)


def test_folders_are_walked_in_order_and_some_are_skipped() -> None:
    tree("b.py", "a.py", "src/z.py", "src/deep/m.py", "src/notes.txt", "src/a.pyi", *SKIPPED)
    write("ours/pyvenv.cfg")
    tree("ours/lib/a.py")
    assert found() == ["a.py", "b.py", "src/deep/m.py", "src/z.py"]
    assert found("src") == ["src/deep/m.py", "src/z.py"]
    assert found(str(Path("src").absolute())) == [str(Path("src").absolute() / p) for p in ("deep/m.py", "z.py")]


def test_a_skipped_folder_that_is_named_is_walked() -> None:
    tree("build/a.py", ".hidden/b.py")
    assert found("build") == ["build/a.py"] and found(".hidden") == [".hidden/b.py"]


def test_a_folder_inside_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tree("a.py", "locked/b.py")
    scan = os.scandir

    def scandir(path: str) -> object:
        if os.path.basename(path) == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    done = check(".")
    assert done.exit_code == 2 and "error: locked: permission denied" in done.stderr
    assert "1 file" in done.stdout, "the others are read"


def git(*arguments: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    subprocess.run(["git", *arguments], check=True, capture_output=True, env=environment)


def test_what_git_ignores_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "-q", ".")
    write(".gitignore", "generated/\nsecret.py\n")
    tree("a.py", "secret.py", "generated/b.py", "src/c.py", "gone.py", "ours/lib/a.py", *SKIPPED[1:])
    write("ours/pyvenv.cfg")
    git("add", "a.py", "gone.py")
    Path("gone.py").unlink()
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as inside a hook of another repository
    assert found() == ["a.py", "src/c.py"]
    assert found("src") == ["src/c.py"]
    assert found("generated") == ["generated/b.py"]  # named, and nothing else is in it
    monkeypatch.setenv("PATH", "")
    assert found() == ["a.py", "generated/b.py", "secret.py", "src/c.py"]


def test_git_runs_no_program_that_a_repository_names(here: Path) -> None:
    git("init", "-q", ".")
    git("config", "core.fsmonitor", f"touch {here}/ran; false")
    tree("a.py")
    assert found() == ["a.py"]
    assert not (here / "ran").exists()


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("gen", "src/gen/a.py", True),
        ("gen", "src/general/a.py", False),
        ("*_pb2.py", "src/deep/a_pb2.py", True),
        ("tests/*", "tests/deep/a.py", True),
        ("tests/*", "src/tests/a.py", False),
        ("./src/gen/", "src/gen/deep/a.py", True),
        ("src/**/x.py", "src/a/b/x.py", True),
        ("/a.py", "a.py", True),
        ("/a.py", "src/a.py", False),
        ("*.py", "../outside.py", True),
    ],
)
def test_patterns(glob: str, path: str, matches: bool, here: Path) -> None:
    assert Patterns(here, (glob,)).match(path) is matches


def test_excluded_files_are_read_only_where_they_are_named() -> None:
    write("pyproject.toml", '[tool.paramlint]\nextend-exclude = ["gen", "src/old/*"]')
    tree("a.py", "gen/b.py", "src/old/c.py", "src/d.py", "build/e.py")
    named = ("gen/b.py", "src/old/c.py", "build/e.py")
    assert check(".").stdout == "All checks passed: 2 files\n"
    assert check(*named).stdout == "All checks passed: 3 files\n"
    result = check("--force-exclude", *named)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no Python files to read" in result.stderr
    write("pyproject.toml", '[tool.paramlint]\nexclude = ["gen"]')
    assert check(".").stdout == "All checks passed: 4 files\n"


def test_a_file_is_read_once_however_often_it_is_named() -> None:
    tree("src/a.py")
    assert check("src", "src/a.py", "./src/../src/a.py").stdout == "All checks passed: 1 file\n"


def test_scripts_without_a_suffix_and_notebooks() -> None:
    write("train", '#!/usr/bin/env python\nflag("PML607")  # torch.optim\n')
    write("look.ipynb", "{}")
    result = check("train", "look.ipynb", "look.ipynb")
    assert "train:2:1: PML607" in result.stdout
    assert result.stderr == "note: notebooks are not read: look.ipynb\n"


# What is parsed at all


@pytest.mark.parametrize(
    "text",
    [
        "from muon import Muon\n",
        "opt = torch.optim.AdamW(model.parameters())\n",
        "from torch import optim\n",
        "class Lion(Optimizer):\n",
        "for n, p in model.named_parameters():\n",
        'groups = [{"params": matrices}]\n',
        "groups = [{'params': matrices}]\n",
        "for g in opt.param_groups:\n",
        "opt = SingleDeviceMuonWithAuxAdam(groups)\n",
        "x = 1  # paramlint: ignore[PML607]\n",
        "x = 1  # noqa: PML607\n",
    ],
)
def test_files_that_a_rule_could_speak_of(text: str) -> None:
    assert concerns(text.encode())


def test_a_broken_file_that_no_rule_could_speak_of_is_told_where_it_is_named() -> None:
    write("src/model.py", "def f(:\n")
    assert not concerns(Path("src/model.py").read_bytes())
    assert check("src").stdout == "All checks passed: 1 file\n"
    assert "PML001" in check("src/model.py").stdout
    write("src/train.py", "import torch.optim\ndef f(:\n")
    assert "src/train.py:2:7: PML001" in check("src").stdout


def test_every_example_of_a_rule_on_source_is_one_that_is_parsed() -> None:
    pages = [read_page(p.read_text(encoding="utf-8")) for p in sorted(rules_dir().glob("PML[0356]*.md"))]
    fences = [f for p in pages for f in p.fences if any(e.severity != "todo" for e in f.expected)]
    assert fences
    assert [str(f) for f in fences if not concerns(f.source.encode())] == []
