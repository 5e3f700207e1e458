"""Source files: which there are, and what is found in each. Nothing of yours is run, but the models scripts name."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from paramlint import selection
from paramlint.cli.failure import note, report
from paramlint.cli.options import ModelOptions, SourceOptions
from paramlint.config import Config, TargetConfig
from paramlint.errors import ParamlintError
from paramlint.linting import Linter
from paramlint.record import dataclass
from paramlint.registry import matches
from paramlint.run import FileRun, Files
from paramlint.selection import Selection
from paramlint.source.discovery import in_folder
from paramlint.source.interpreter import disk
from paramlint.source.reading import Unreadable, concerns, decoded
from paramlint.suppress import of_other_parameters, tied_to
from paramlint.toml_table import shown

if TYPE_CHECKING:
    from paramlint.knowledge import Knowledge
    from paramlint.parameter import Inventory

STDIN = "-"
_SUFFIXES = (".py", ".pyi", ".pyw", ".ipynb")


def is_source(text: str, config: Config) -> bool:
    """Whether a target of the command line is a source file or a folder of them, rather than a model."""
    if text in config.targets:
        return False
    return text == STDIN or os.path.lexists(text) or (":" not in text and text.endswith((*_SUFFIXES, "/", os.sep)))


@dataclass(frozen=True)
class Found:
    """What there is to say of source files. `failures` are those that could not be read, which are reported already.
    `diff` is what would change, `text` what standard input should be, where that is wanted."""

    files: Files
    failures: Mapping[str, ParamlintError]
    diff: str = ""
    text: str | None = None


def look(
    targets: Sequence[str], given: SourceOptions, options: ModelOptions, config: Config, chosen: Selection
) -> Found:
    """Reads and checks all files of these targets, and mends them where that is wanted.

    Raises:
        ParamlintError: the inventory or the knowledge cannot be read.
    """
    return _Looking(given, options, config, chosen).all(targets)


@dataclass
class _Looking:
    """One call: what it was asked, and what it has found so far."""

    given: SourceOptions
    options: ModelOptions
    config: Config
    chosen: Selection
    failures: dict[str, ParamlintError] = field(default_factory=dict)
    models: dict[str, Inventory | None] = field(default_factory=dict)
    diffs: list[str] = field(default_factory=list)
    text: str | None = None

    def __post_init__(self) -> None:
        self.linter = Linter(self._known, self.config.sources.largest)
        self.on = selection.codes((self.config.settings.selection, self.chosen))
        self.snapshot = _snapshot(self.given.inventory)

    def all(self, targets: Sequence[str]) -> Found:
        runs, read = [], 0
        gc.freeze()  # what is imported stays: garbage is only looked for in what files leave behind
        with disk.shared():
            for path, named in self._paths(targets):
                run = self._file(path, named)
                if run is not None:
                    read += 1
                    runs += [run] if run.findings or run.fixed else []
        if targets and not read and not self.failures and not self.options.quiet:
            note(f"no Python files to read: {', '.join(targets)}")
        return Found(Files(tuple(runs), read), self.failures, "".join(self.diffs), self.text)

    def _known(self) -> Knowledge:
        from paramlint import knowledge

        return knowledge.load(self.config.knowledge)

    # Which files

    def _paths(self, targets: Sequence[str]) -> Iterator[tuple[str, bool]]:
        """Each file once, and whether it was named itself."""
        seen: set[str] = set()
        notebooks = []
        for target in targets:
            try:
                left_out = self.config.sources.left_out
                found = in_folder(target, left_out, self._fails_inside) if os.path.isdir(target) else [target]
            except OSError as e:
                self._fails(target, e)
                continue
            named = found == [target]
            for path in map(_shown, found) if target != STDIN else (STDIN,):
                if path.endswith(".ipynb"):
                    notebooks.append(path)
                elif path not in seen and not (named and self._left_out(path)):
                    seen.add(path)
                    yield path, named
        if notebooks and not self.options.quiet:
            note(f"notebooks are not read: {', '.join(dict.fromkeys(notebooks))}")

    def _left_out(self, path: str) -> bool:
        name = self.given.stdin_filename if path == STDIN else path
        return self.given.force_exclude and name is not None and self.config.sources.left_out.has(name)

    # What is in them

    def _file(self, path: str, named: bool) -> FileRun | None:
        """What is found in a file; None for one that cannot be read. One that only lies in a folder is not looked at
        any further where no rule could speak of it."""
        try:
            data = _read(path, self.config.sources.largest)
        except OSError as e:
            self._fails(path, e)
            return None
        name = (self.given.stdin_filename or STDIN) if path == STDIN else path
        if not named and not concerns(data):
            return FileRun(name)
        silent = self.config.sources.ignored(name)
        codes = frozenset(c for c in self.on if matches(c, silent) is None) if silent else self.on
        try:
            inventory, tied = self._model(data, name)
            run = self._kept(self.linter.file(data, name, codes, inventory=inventory, tied=tied))
            if path == STDIN and self.given.fix:
                self.text = _text(data, self.config.sources.largest)
            if any(f.fix for f in run.findings):
                run = self._mended(data, path, run, codes, inventory, tied)
            return run
        except ParamlintError as e:
            report(e)
            self.failures[name] = e
        except Exception as e:  # a fault of our own in one file keeps nobody from the others
            error = _fault(e, name)
            report(error)
            self.failures[name] = error
        return None

    def _kept(self, run: FileRun) -> FileRun:
        """Without what is ignored for some parameters."""
        if not self.config.ignored:
            return run
        pairs = [
            (kept, spot)
            for f, spot in zip(run.findings, run.spots, strict=True)
            for kept in of_other_parameters((f,), self.config.ignored)
        ]
        return replace(run, findings=tuple(f for f, _ in pairs), spots=tuple(s for _, s in pairs))

    def _mended(
        self,
        data: bytes,
        path: str,
        run: FileRun,
        codes: frozenset[str],
        inventory: Inventory | None,
        tied: bool,
    ) -> FileRun:
        """The run after the fixes, which are written, shown, or only told, as the options say."""
        from paramlint.cli import fixing

        text = decoded(data, self.config.sources.largest)
        if not (self.given.fix or self.given.diff):
            return fixing.with_edits(text, run) if self.options.output_format == "sarif" else run

        def again(new: str) -> FileRun:
            return self._kept(self.linter.text(new, run.path, codes, inventory=inventory, tied=tied))

        done = fixing.mended(text, again, run, unsafe=self.given.unsafe_fixes)
        if not self.options.quiet:
            for line in done.left:
                note(line)
        if done.text == text:
            return run
        from paramlint.codegen import source_file

        if self.given.diff:
            self.diffs.append(source_file.diff(text, done.text, run.path))
        elif path == STDIN:
            self.text = done.text
        else:
            source_file.replace_file(Path(path), done.text)
        return done.run

    def _fails(self, path: str, e: OSError) -> None:
        error = ParamlintError((e.strerror or str(e)).lower(), where=path)
        report(error)
        self.failures[path] = error

    def _fails_inside(self, e: OSError) -> None:
        self._fails(_shown(str(e.filename)), e)

    # The model that a script is for

    def _model(self, data: bytes, path: str) -> tuple[Inventory | None, bool]:
        """The inventory that a script is checked against, and whether the script says that there is one."""
        if self.snapshot is not None:
            return self.snapshot, True
        entry = self._tied(data, path)
        if entry is None or not self.given.build:
            return None, entry is not None
        if entry.name not in self.models:
            self.models[entry.name] = self._built(entry.name, path)
        return self.models[entry.name], True

    def _tied(self, data: bytes, path: str) -> TargetConfig | None:
        if b"paramlint:" in data and b"target" in data:
            try:
                found = tied_to(decoded(data, self.config.sources.largest))
            except Unreadable:
                return None
            if found:
                text = _beside(found[0], path)
                return self.config.target(text) or TargetConfig(text, text)
        return self.config.of_script(path)

    def _built(self, name: str, path: str) -> Inventory | None:
        from paramlint import pipeline
        from paramlint.cli.jobs import jobs, progress

        try:
            (job,) = jobs(replace(self.options, target=name), self.config)
            with progress(f"building {job.target}", self.options):
                return pipeline.analyse(job, checks=False).inventory
        except ParamlintError as e:
            if not self.options.quiet:
                note(f"{path}: only the rules that need no model speak, since {name} cannot be built: {e}")
            return None


def _fault(e: Exception, path: str) -> ParamlintError:
    import traceback

    return ParamlintError(
        f"internal error: {type(e).__name__}: {e}",
        where=path,
        hint="run with --traceback and report it",
        traceback="".join(traceback.format_exception(e)),
    )


def _snapshot(path: Path | None) -> Inventory | None:
    if path is None:
        return None
    from paramlint import snapshot

    return snapshot.read(path)


def _read(path: str, limit: int) -> bytes:
    """No more than tells that a file is larger than the limit: some devices never end."""
    if path == STDIN:
        return sys.stdin.buffer.read(limit + 1)
    with open(path, "rb") as stream:
        return stream.read(limit + 1)


def _text(data: bytes, limit: int) -> str | None:
    try:
        return decoded(data, limit)
    except Unreadable:
        return None


def _shown(path: str) -> str:
    """Relative to the working folder for what lies in it, else as it was given."""
    relative = shown(path)
    return path if relative.startswith("..") else relative


def _beside(target: str, script: str) -> str:
    """A target with the path of a file is relative to the script, where such a file lies there."""
    source, colon, attribute = target.rpartition(":")
    beside = os.path.join(os.path.dirname(script), source)
    return f"{_shown(beside)}{colon}{attribute}" if source.endswith(".py") and os.path.exists(beside) else target
